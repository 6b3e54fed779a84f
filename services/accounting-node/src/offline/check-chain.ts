/**
 * One chain of a node's folder, checked from its files alone: the log is executed again from genesis into a store of its own, and every
 * other file is compared with what comes of that. Nothing in the folder is changed.
 */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { parseCheckpoint, verifyCheckpoint } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { ReadFile } from '../adapters/read-file.ts'
import { readRecords } from '../core/journal.ts'
import { parseRecord } from '../core/log.ts'
import type { Memberships } from '../core/members.ts'
import { parsePromise, promiseSizeBytesMax } from '../core/promise.ts'
import { parseStaged } from '../core/staged.ts'
import { parseBlock } from '../core/wire.ts'
import { Tiles } from '../reading/tiles.ts'
import { compareStores } from './compare-stores.ts'
import type { FindingList } from './findings.ts'

/** What a chain is checked with. */
export interface ChainCheckOptions {
  readonly chain: ChainName
  /** The chain's folder. */
  readonly dir: string
  /** A folder for what is made anew; removed by the caller. */
  readonly workDir: string
  /** Over stores in `workDir`, at genesis. Userchain is executed before Docchain. */
  readonly ledger: Ledger
  readonly members: Memberships
  readonly findings: FindingList
}

interface Place {
  readonly offset: number
  readonly length: number
}

/** Checks one chain. */
export class ChainCheck {
  readonly #options: ChainCheckOptions
  readonly #places: Place[] = []
  readonly #file: ReadFile

  constructor(options: ChainCheckOptions) {
    this.#options = options
    this.#file = new ReadFile(join(options.dir, 'log/blocks'))
  }

  /** Runs all checks of the chain. */
  async run(): Promise<void> {
    try {
      this.#scanLog()
      await this.#replay()
      // Without a single record there is nothing to derive them from, and that is what is said.
      if (this.#places.length > 0) this.#checkTiles()
      this.#checkCheckpoint()
      this.#checkPromise()
      this.#checkStaged()
    } finally {
      this.#file.close()
    }
  }

  #find(code: string, file: string, message: string, place: { height?: number; index?: number } = {}): void {
    this.#options.findings.add({
      code,
      chain: this.#options.chain,
      file: `${this.#options.chain}/${file}`,
      message,
      ...place,
    })
  }

  /** Records of the log; a torn last one was promised to nobody, and is cut off by the next start. */
  #scanLog(): void {
    const { endAt, end } = readRecords(this.#file, (payload, offset) => {
      this.#places.push({ offset, length: payload.length })
    })
    const left = this.#file.size() - endAt
    if (end === 'damaged')
      this.#find(
        'log-damaged',
        'log/blocks',
        `the record at byte ${endAt} does not hold: it is damaged, or the power failed before it was on the disk. The ${left} bytes from there on were not looked at; the next start cuts them off, and the others give their blocks again`,
        { height: this.#places.length },
      )
    else if (end === 'torn')
      this.#options.findings.note(
        `${this.#options.chain}: a torn last record of ${left} bytes, which was promised to nobody, unless its length is what is damaged`,
      )
  }

  /** Executes the log, and compares the stored state where it stands. */
  async #replay(): Promise<void> {
    const { chain, ledger, members } = this.#options
    const storedHeight = this.#storedHeight()
    if (storedHeight === 0) this.#compareState()
    for (const [height, place] of this.#places.entries()) {
      try {
        const { blockBytes, acks } = parseRecord(this.#file.read(place.offset, place.length))
        const leaves = parseBlock(blockBytes)
        if (height === 0) {
          this.#checkFirst(leaves)
          continue
        }
        const transactions = leaves.slice(0, -1).map((leaf) => parseTransactionLeaf(leaf))
        await ledger.preverify(chain, transactions)
        const pending = ledger.checkBlock({ chain, leaves, parsed: transactions })
        if (!members.at(height).isDecided(pending.head, acks)) {
          this.#find('acks-invalid', 'log/blocks', `block ${height} is not proved by a quorum's acks`, { height })
        }
        ledger.commit(pending)
      } catch (error) {
        const index =
          error instanceof ChainError && 'index' in error.detail ? { index: error.detail.index as number } : {}
        this.#find('block-invalid', 'log/blocks', `block ${height}: ${messageOf(error)}`, { height, ...index })
        return
      }
      if (height === storedHeight) this.#compareState()
    }
    if (storedHeight !== undefined && storedHeight > ledger.head(chain).height) {
      this.#find(
        'state-damaged',
        'state.db',
        `the stored state is of block ${storedHeight}, which the log does not have`,
      )
    }
  }

  #checkFirst(leaves: readonly Uint8Array[]): void {
    const head = this.#options.ledger.head(this.#options.chain)
    const [, seal] = leaves
    if (leaves.length === head.size && seal !== undefined && equalBytes(parseSealLeaf(seal).st, head.stateRoot)) return
    throw new TypeError('block 0 is not what genesis fixes')
  }

  /** Height of the stored state; undefined if there is none. */
  #storedHeight(): number | undefined {
    const path = join(this.#options.dir, 'state.db')
    if (!existsSync(path)) {
      this.#options.findings.note(`${this.#options.chain}: no stored state; it is made anew from the log`)
      return undefined
    }
    const height = compareStores.heightOf(path)
    if (typeof height === 'number') return height
    this.#find('state-damaged', 'state.db', height.fault)
    return undefined
  }

  #compareState(): void {
    const paths = { stored: join(this.#options.dir, 'state.db'), executed: join(this.#options.workDir, 'state.db') }
    for (const { table, message } of compareStores.differences(paths)) {
      this.#find(table === 'leaf' || table === 'head' ? 'state-damaged' : 'index-damaged', 'state.db', message)
    }
  }

  /** Leaf bytes of [from, to), as the log has them. */
  #entries(from: number, to: number): Uint8Array[] {
    const index = this.#options.ledger.index(this.#options.chain)
    const found: Uint8Array[] = []
    for (let at = from; at < to; ) {
      const boundary = index.boundaryAfter(at)
      if (boundary === undefined) break
      const place = this.#places[boundary.height] as Place
      const leaves = parseBlock(parseRecord(this.#file.read(place.offset, place.length)).blockBytes)
      const first = boundary.size - leaves.length
      for (const leaf of leaves.slice(at - first, to - first)) found.push(leaf)
      at = boundary.size
    }
    return found
  }

  /** Derives all full tiles again and compares the files. Absent ones are derived when they are asked for. */
  #checkTiles(): void {
    const own = join(this.#options.workDir, 'tiles')
    const tiles = new Tiles({ dir: own, entries: (from, to) => this.#entries(from, to), onFault: () => {} })
    const { size, root } = this.#options.ledger.head(this.#options.chain)
    tiles.open(0)
    if (!equalBytes(tiles.grow(size), root))
      this.#find('tree-damaged', 'log/blocks', 'the leaves do not make the executed root')
    const dir = join(this.#options.dir, 'tiles')
    if (!existsSync(dir)) return
    for (const name of readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
      const path = join(dir, name)
      if (name.endsWith('.new') || !statSync(path).isFile()) continue
      const derived = join(own, name)
      if (existsSync(derived) && readFileSync(derived).equals(readFileSync(path))) continue
      this.#find(
        'tile-damaged',
        `tiles/${name}`,
        existsSync(derived) ? 'the tile is not that of the entries' : 'there is no such tile',
      )
    }
  }

  #rootAt(size: number): Uint8Array | undefined {
    return this.#options.ledger.index(this.#options.chain).boundary(size)?.root
  }

  /** The published note: of this ledger, cosigned by a quorum, and over what the log holds. */
  #checkCheckpoint(): void {
    const path = join(this.#options.dir, 'checkpoint')
    if (!existsSync(path)) return
    try {
      const note = readFileSync(path, 'utf8')
      const { size, root } = parseCheckpoint(note)
      const boundary = this.#options.ledger.index(this.#options.chain).boundary(size)
      this.#verifyNote(note, boundary?.height)
      if (boundary === undefined) {
        const words = `the published checkpoint has ${size} entries, the log ends before: it was rolled back`
        this.#find('log-behind', 'checkpoint', words)
      } else if (!equalBytes(boundary.root, root)) {
        this.#find('checkpoint-conflict', 'checkpoint', `the published root at size ${size} is not the executed one`)
      }
    } catch (error) {
      this.#find('checkpoint-damaged', 'checkpoint', messageOf(error))
    }
  }

  /** Whoever may cosign the head of the height must have done so; of a height that the log does not have, whoever decides the next. */
  #verifyNote(note: string, height: number | undefined): void {
    const { members } = this.#options
    const groups = height === undefined ? [members.next] : members.cosignersOf(height)
    let fault: unknown
    for (const { origin, policy } of groups) {
      try {
        verifyCheckpoint({ note, origin, policy })
        return
      } catch (error) {
        fault = error
      }
    }
    throw fault
  }

  /** The node's word: not another root than the log has. */
  #checkPromise(): void {
    const newest = this.#newestOf('promise', parsePromise, promiseSizeBytesMax)
    if (newest === undefined || newest.size === 0) return
    const executed = this.#rootAt(newest.size)
    if (executed === undefined) {
      this.#options.findings.note(
        `${this.#options.chain}: the node promised size ${newest.size}, which its log does not have; it catches up before it signs`,
      )
    } else if (!equalBytes(executed, newest.root)) {
      this.#find(
        'promise-conflict',
        'promise',
        `the node cosigned another root at size ${newest.size} than the log has (${toHex(executed)})`,
      )
    }
  }

  /** The block that was acked last: its ack is this node's, over these bytes. */
  #checkStaged(): void {
    const newest = this.#newestOf('staged/blocks', parseStaged)
    if (newest === undefined) return
    const { height, size, root, term, signature } = newest
    const members = this.#options.members.at(height)
    const isSigned = members.nodes.some(({ rank }) => members.isAck({ height, size, root }, { rank, term, signature }))
    if (!isSigned) this.#find('staged-damaged', 'staged/blocks', `the ack of block ${height} is no node's`, { height })
    const boundary = this.#options.ledger.index(this.#options.chain).boundaryAt(height)
    const isOther = boundary !== undefined && (boundary.size !== size || !equalBytes(boundary.root, root))
    if (isOther)
      this.#options.findings.note(`${this.#options.chain}: another block ${height} was staged last than was decided`)
  }

  /** The last record of a journal. */
  #newestOf<T>(name: string, parse: (payload: Uint8Array) => T, recordSizeBytesMax?: number): T | undefined {
    const path = join(this.#options.dir, name)
    if (!existsSync(path)) return undefined
    const file = new ReadFile(path)
    let newest: T | undefined
    try {
      const visit = (payload: Uint8Array): void => {
        newest = parse(payload)
      }
      const { end, endAt } = readRecords(file, visit, recordSizeBytesMax)
      if (end === 'damaged') this.#find(`${name.split('/')[0]}-damaged`, name, `the record at byte ${endAt} is damaged`)
    } catch (error) {
      this.#find(`${name.split('/')[0]}-damaged`, name, messageOf(error))
    } finally {
      file.close()
    }
    return newest
  }
}
