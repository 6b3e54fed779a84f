/** A sample of the stored blocks that the ledgers name: whether the private IPFS still has them. */
import type { ChainName } from '@healthblock/chain/chains'
import type { Transaction } from '@healthblock/chain/transaction'
import { compareBytes, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { isRemovalOverdue, type RecordName } from './erasures.ts'
import type { FindingList } from './report.ts'

/** A block that is asked for. `codec`: what its CID says of it. */
export interface StoredSample {
  readonly chain: ChainName
  readonly index: number
  readonly height: number
  /** SHA-256 of the block: 32 bytes. */
  readonly digest: Uint8Array
  readonly codec: 'raw' | 'dag-pb'
  /** The record that names it, which its patient may erase; absent for what doctors write. */
  readonly record?: RecordName
}

/** What a sample is judged by. */
export interface SampleContext {
  readonly findings: FindingList
  readonly nowMs: number
  /** When the record was erased; undefined if it was not. */
  readonly erasedMs: (record: RecordName) => number | undefined
}

/** Asks the storage nodes. */
export interface StorageProbe {
  /** True if some node has the block; it rejects if no node could be asked. */
  has(sample: StoredSample): Promise<boolean>
}

/** Blocks asked for, of both chains together; and of those that were missing, in each look. */
export const samplesMax = 64
/** Missing blocks that are kept in mind: more than are listed as findings. */
const missingMax = 1_000
/** Bytes of a digest that are ranked. */
const rankSizeBytes = 8
/** Records of a whole file, whose CID names a dag-pb root. */
const fileKind = 3
const gapKind = 2

/**
 * Keeps the blocks whose digest is nearest to a salt: a fair draw, as digests are hashes, that nobody could foresee who
 * put them on record, as the salt is a later root.
 */
export class Samples {
  readonly #salt: Uint8Array
  /** Ascending by rank: the first bytes of the digest, XOR those of the salt. */
  readonly #kept: { readonly rank: Uint8Array; readonly sample: StoredSample }[] = []
  /** Blocks that were named altogether. */
  count = 0
  #missing: readonly StoredSample[]

  /** @param missing - what the look before missed: asked for again. */
  constructor(salt: Uint8Array, missing: readonly StoredSample[] = []) {
    this.#salt = salt
    this.#missing = missing
  }

  /** Blocks that no node had when they were last asked for. */
  get missing(): readonly StoredSample[] {
    return this.#missing
  }

  /** Notes the blocks that a transaction names. */
  note(chain: ChainName, place: { index: number; height: number }, { body }: Transaction): void {
    if (body.t === 'iot') {
      for (const [stream, sequence, , , kind, , digest] of body.r) {
        if (kind === gapKind || !this.#isDrawn(digest)) continue
        const record = { patient: body.a, stream, sequence }
        this.#keep({ chain, ...place, digest, codec: kind === fileKind ? 'dag-pb' : 'raw', record })
      }
    } else if (body.t === 'diagnosis' || (body.t === 'amend' && body.act !== 1)) {
      const digest = body.cid
      if (this.#isDrawn(digest)) this.#keep({ chain, ...place, digest, codec: 'raw' })
    }
  }

  /** Counts a block; true if it is nearer than the farthest of as many as are kept. Nearly all are not, so nothing is made for them. */
  #isDrawn(digest: Uint8Array): boolean {
    this.count++
    const farthest = this.#kept[samplesMax - 1]?.rank
    if (farthest === undefined) return true
    for (let i = 0; i < rankSizeBytes; i++) {
      const difference = ((digest[i] as number) ^ (this.#salt[i] as number)) - (farthest[i] as number)
      if (difference !== 0) return difference < 0
    }
    return false
  }

  #keep(sample: StoredSample): void {
    const rank = sample.digest.slice(0, rankSizeBytes).map((byte, i) => byte ^ (this.#salt[i] as number))
    const at = this.#kept.findIndex((other) => compareBytes(other.rank, rank) > 0)
    this.#kept.splice(at === -1 ? this.#kept.length : at, 0, { rank, sample })
    if (this.#kept.length > samplesMax) this.#kept.pop()
  }

  /** Asks for each. What was erased need not be there, and must be nowhere in the end. Returns in words what was not checked. */
  async check(probe: StorageProbe | undefined, context: SampleContext): Promise<string> {
    const unopened = 'what stored blocks hold was not read, but for disclosed ones: the auditor has no keys'
    if (probe === undefined) return `no storage node was asked for the ${this.count} blocks that the ledgers name`
    const [again, others] = [this.#missing.slice(0, samplesMax), this.#missing.slice(samplesMax)]
    let unanswered = 0
    let reason = ''
    const ask = async (sample: StoredSample): Promise<boolean | undefined> => {
      try {
        return await probe.has(sample)
      } catch (error) {
        reason = messageOf(error)
        return undefined
      }
    }
    // Those that were asked for longest ago come first. What nobody answers about is missing as before.
    const missing = others.filter((sample) => judge(sample, false, context))
    for (const sample of again) if (judge(sample, (await ask(sample)) ?? false, context)) missing.push(sample)
    for (const { sample } of this.#kept) {
      const isThere = await ask(sample)
      if (isThere === undefined) unanswered++
      else if (judge(sample, isThere, context)) missing.push(sample)
    }
    this.#missing = missing.slice(-missingMax)
    const asked = this.#kept.length - unanswered
    const words = `stored blocks, but for ${asked} of ${this.count}, which were asked for; ${unopened}`
    return unanswered === 0 ? words : `${words}; ${unanswered} questions had no answer (${reason})`
  }
}

/** Adds a finding if something is wrong with it. True if it should be there and is not. */
function judge(sample: StoredSample, isThere: boolean, { findings, nowMs, erasedMs }: SampleContext): boolean {
  const { chain, index, height, digest, record } = sample
  const erased = record === undefined ? undefined : erasedMs(record)
  const name = `block ${toHex(digest)}, which entry ${index} of ${chain} names`
  if (erased === undefined && !isThere) {
    const subject = toHex(digest)
    findings.add({ code: 'storage.missing', chain, index, height, subject, message: `no storage node has ${name}` })
    return true
  }
  if (erased !== undefined && isThere && isRemovalOverdue(erased, nowMs)) {
    const since = new Date(erased).toISOString()
    const message = `${name}, was erased at ${since}, and a storage node still has it`
    findings.add({ code: 'storage.kept', chain, index, height, message })
  }
  return false
}
