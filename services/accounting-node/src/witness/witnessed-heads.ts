/**
 * Heads of one chain that witnesses cosigned, with their lines: the newest few. The file is derived: what of it does not hold is left out
 * when it is read, and witnesses sign again.
 */
import { renameSync, writeFileSync } from 'node:fs'
import type { NoteKey } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import {
  addWitnessLines,
  type WitnessCosignature,
  withoutWitnessLines,
  witnessCosignatures,
} from '@healthblock/chain/witness'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { readFileIfPresent } from '@healthblock/runtime/files'
import type { PublishedHead } from '../core/chain-core.ts'

/** Heads that are kept. */
const headsMax = 8

/** A published head, and by the names of witnesses their cosignatures over it. */
interface WitnessedHead extends PublishedHead {
  readonly cosignatures: ReadonlyMap<string, WitnessCosignature>
}

/** What is read from the file is held against. */
export interface HeadsContext {
  readonly keys: readonly NoteKey[]
  /** Root of the published log at a SEAL boundary, undefined for any other size. */
  readonly rootAt: (size: number) => Uint8Array | undefined
  /** Throws {ChainError} unless a quorum and a log key signed it. */
  readonly verify: (checkpoint: string) => void
}

interface FileHead {
  readonly height: number
  readonly size: number
  readonly root: string
  /** With the lines of witnesses at its end. */
  readonly checkpoint: string
}

/** The heads of one chain. */
export class WitnessedHeads {
  readonly #path: string
  readonly #onFault: (error: unknown) => void
  /** Ascending by size. */
  #heads: WitnessedHead[] = []

  constructor(path: string, onFault: (error: unknown) => void) {
    this.#path = path
    this.#onFault = onFault
  }

  /** Takes up what the file holds of heads of this log, as far as these witnesses signed them. */
  open(context: HeadsContext): void {
    let heads: FileHead[]
    try {
      const bytes = readFileIfPresent(this.#path)
      heads = bytes === undefined ? [] : (JSON.parse(new TextDecoder().decode(bytes)) as FileHead[])
      for (const head of heads) this.#take(head, context)
    } catch (error) {
      this.#onFault(error)
    }
  }

  #take({ height, size, root, checkpoint }: FileHead, { keys, rootAt, verify }: HeadsContext): void {
    const known = rootAt(size)
    if (known === undefined || toHex(known) !== root) return
    try {
      const signed = witnessCosignatures(checkpoint, keys)
      const cosignatures = new Map<string, WitnessCosignature>()
      for (const [i, { name }] of keys.entries()) if (signed[i] !== undefined) cosignatures.set(name, signed[i])
      if (cosignatures.size > 0) {
        const own = withoutWitnessLines(checkpoint)
        verify(own)
        this.#put({ height, size, root: fromHex(root), checkpoint: own, cosignatures })
      }
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      this.#onFault(error)
    }
  }

  #put(head: WitnessedHead): void {
    this.#heads = [...this.#heads.filter(({ size }) => size !== head.size), head]
      .sort((a, b) => a.size - b.size)
      .slice(-headsMax)
  }

  #of(head: PublishedHead): WitnessedHead | undefined {
    return this.#heads.find(({ size, root }) => size === head.size && equalBytes(root, head.root))
  }

  /** Keeps a witness's cosignature over a published head. */
  add(name: string, head: PublishedHead, cosignature: WitnessCosignature): void {
    const cosignatures = new Map(this.#of(head)?.cosignatures ?? []).set(name, cosignature)
    this.#put({ ...head, cosignatures })
    this.#write()
  }

  /** Forgets a witness. */
  remove(name: string): void {
    this.#heads = this.#heads.flatMap((head) => {
      const cosignatures = new Map(head.cosignatures)
      cosignatures.delete(name)
      return cosignatures.size === 0 ? [] : [{ ...head, cosignatures }]
    })
    this.#write()
  }

  /** The checkpoint of a head with the lines of its witnesses at the end. */
  noteOf(head: PublishedHead): string {
    const witnessed = this.#of(head)
    // A heartbeat renews the nodes' lines, the witnesses' stay good.
    return witnessed === undefined ? head.checkpoint : withLines({ ...witnessed, checkpoint: head.checkpoint })
  }

  /** Of the heads beyond an entry the one that most witnesses cosigned, the newest of several, with their lines. */
  best(index: number): PublishedHead | undefined {
    let best: WitnessedHead | undefined
    for (const head of this.#heads) {
      if (head.size <= index) continue
      if (best === undefined || head.cosignatures.size >= best.cosignatures.size) best = head
    }
    return best === undefined ? undefined : { ...best, checkpoint: withLines(best) }
  }

  /** The newest head, with the lines of its witnesses. */
  newest(): PublishedHead | undefined {
    const head = this.#heads.at(-1)
    return head === undefined ? undefined : { ...head, checkpoint: withLines(head) }
  }

  /** The newest head that a witness cosigned, and when. */
  newestOf(name: string): { readonly size: number; readonly ms: number } | undefined {
    const head = this.#heads.findLast(({ cosignatures }) => cosignatures.has(name))
    return head === undefined
      ? undefined
      : { size: head.size, ms: (head.cosignatures.get(name) as WitnessCosignature).time }
  }

  /** Not synced: whatever is lost is signed again. The rename keeps halves out of sight. */
  #write(): void {
    const heads = this.#heads.map((head): FileHead => {
      const { height, size, root } = head
      return { height, size, root: toHex(root), checkpoint: withLines(head) }
    })
    try {
      writeFileSync(`${this.#path}.new`, JSON.stringify(heads), { mode: 0o600 })
      renameSync(`${this.#path}.new`, this.#path)
    } catch (error) {
      this.#onFault(error)
    }
  }
}

function withLines({ checkpoint, cosignatures }: WitnessedHead): string {
  return addWitnessLines(checkpoint, [...cosignatures.values()])
}
