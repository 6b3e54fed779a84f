/**
 * Successions that a node knows (SPEC.md §6): the one by which its ledger came to be, and those to the ledgers that carry its own on. From
 * the first of the latter on this node neither stages nor cosigns: the ledger has ended, and goes on being read.
 */
import { readdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ChainError } from '@healthblock/chain/errors'
import type { Genesis } from '@healthblock/chain/genesis'
import {
  beyondSuccession,
  rivalApprovals,
  type VerifiedSuccession,
  verifySuccession,
} from '@healthblock/chain/succession'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
import { AccountingError } from './errors.ts'

/** Most successions of this ledger that are kept: two are enough to convict. */
const successionsMax = 8
/** Largest file that a node keeps. */
export const successionSizeBytesMax = 512 * 1024

/** A succession and its file. */
export interface KeptSuccession extends VerifiedSuccession {
  readonly bytes: Uint8Array
}

/** A head that this node has published. */
export interface OwnHead {
  readonly chain: 'userchain' | 'docchain'
  readonly size: number
  readonly root: Uint8Array
}

/** What the keeper works with. */
export interface SuccessionsOptions {
  /** The node's folder; files lie in `successions/`. */
  readonly dir: string
  readonly genesis: Genesis
  /** Path of the genesis file that the node is started with: its ledger's succession lies beside it at the first start. */
  readonly genesisFile: string
}

function invalid(reason: string, cause?: unknown): AccountingError {
  return new AccountingError(`succession: ${reason}`, { code: 'ERR_SUCCESSION_INVALID', reason }, { cause })
}

/** Keeps successions. */
export class Successions {
  readonly #dir: string
  readonly #genesis: Genesis
  /** By which this ledger came to be. */
  readonly own: KeptSuccession | undefined
  /** To ledgers that carry this one on, in the order in which they came. */
  readonly #next: KeptSuccession[] = []

  /**
   * @throws {AccountingError} `ERR_SUCCESSION_INVALID` for a file that does not hold, and for a successor's node that has none: nobody could
   *   tell by whose decision its ledger stands.
   */
  constructor({ dir, genesis, genesisFile }: SuccessionsOptions) {
    this.#dir = join(dir, 'successions')
    this.#genesis = genesis
    ensureFolder(this.#dir)
    const names = readdirSync(this.#dir).filter((name) => name.endsWith('.json'))
    for (const name of names.sort()) {
      if (name === 'own.json') continue
      const bytes = readFileIfPresent(join(this.#dir, name))
      if (bytes !== undefined) this.#next.push(this.#verify(bytes, name, 'prior'))
    }
    if (genesis.body.prior !== undefined) this.own = this.#openOwn(genesisFile)
  }

  #openOwn(genesisFile: string): KeptSuccession {
    const path = join(this.#dir, 'own.json')
    const beside = join(dirname(genesisFile), 'succession.json')
    const kept = readFileIfPresent(path)
    const bytes = kept ?? readFileIfPresent(beside)
    if (bytes === undefined) throw invalid(`genesis names a ledger before it, and there is no file at ${beside}`)
    const own = this.#verify(bytes, kept === undefined ? beside : path, 'successor')
    if (kept === undefined) writeFileDurably(path, bytes)
    return own
  }

  #verify(bytes: Uint8Array, what: string, as: 'prior' | 'successor'): KeptSuccession {
    const { ledgerId } = this.#genesis
    try {
      const trusted = as === 'prior' ? { prior: ledgerId } : { successor: ledgerId }
      return { ...verifySuccession({ bytes, ...trusted }), bytes }
    } catch (cause) {
      if (!(cause instanceof ChainError)) throw cause
      throw invalid(`${what}: ${cause.message}`, cause)
    }
  }

  /** The successor of this ledger, once one was proved here: from then on this node takes no part in ordering. */
  get endedBy(): KeptSuccession | undefined {
    return this.#next[0]
  }

  /** All that is known. */
  list(): readonly KeptSuccession[] {
    return this.own === undefined ? [...this.#next] : [this.own, ...this.#next]
  }

  /**
   * Takes a succession of this ledger. The first one ends the ledger at this node; the same again changes nothing.
   *
   * @param heads - What this node has published.
   * @throws {AccountingError} `ERR_SUCCESSION_INVALID`; `ERR_SUCCESSION_BEHIND` for one that leaves out what this node has published, which is
   *   not kept; `ERR_SUCCESSION_RIVAL` for a second one to another ledger, which is kept as evidence.
   */
  take(bytes: Uint8Array, heads: readonly OwnHead[]): KeptSuccession {
    const succession = this.#verify(bytes, 'the file', 'prior')
    const { ledgerId } = succession.successor
    const known = this.#next.find(({ successor }) => equalBytes(successor.ledgerId, ledgerId))
    if (known !== undefined) return known
    for (const head of heads) {
      const reason = beyondSuccession(succession, head)
      if (reason !== undefined) {
        throw new AccountingError(`succession: ${reason}`, { code: 'ERR_SUCCESSION_BEHIND', reason })
      }
    }
    const [first] = this.#next
    if (this.#next.length < successionsMax) {
      // The number in the name keeps the order over a restart.
      writeFileDurably(join(this.#dir, `${this.#next.length}-${toHex(ledgerId)}.json`), bytes)
      this.#next.push(succession)
    }
    if (first !== undefined) {
      const both = (rivalApprovals(first, succession) ?? []).map(toHex)
      const other = toHex(first.successor.ledgerId)
      const words = `ledger ${other} carries this one on already; ${both.length} organisations approved both`
      throw new AccountingError(words, { code: 'ERR_SUCCESSION_RIVAL', successor: other, organisations: both })
    }
    return succession
  }
}
