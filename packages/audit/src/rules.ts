/**
 * What the auditor checks on a second path, besides replay (SPEC.md §3, `rule.…`): from the transactions as they come and
 * the recomputed state, without the code of the rules. State is read only in records that gain nothing but `c`, so that a
 * state of a later height gives the same answers.
 */
import type { Ledger } from '@healthblock/chain/block'
import { ByteMap, byteKey } from '@healthblock/chain/byte-map'
import type { ChainName } from '@healthblock/chain/chains'
import { inForceAt, liveAt } from '@healthblock/chain/live-at'
import type { Boundary } from '@healthblock/chain/log-index'
import type { Seal } from '@healthblock/chain/seal'
import { userTables } from '@healthblock/chain/tables'
import type { AlgorithmBody, EnvelopeBody, IotBody, KeyBody, Transaction } from '@healthblock/chain/transaction'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { toHex } from '@healthblock/encoding/bytes'
import type { FindingList } from './report.ts'

/** A Docchain block must not be anchored below a Userchain SEAL that is older than this. */
export const anchorLagMsMax = 10_000
/** Docchain must be anchored beyond a Userchain block that wakes it within this time: a takeover and a hard start are in it. */
export const anchorDueMsMax = 30_000
/** A live grant must have its envelope within this time. */
export const envelopeLateMs = 600_000

/** A block as it stands in the log. */
export interface AuditedBlock {
  readonly chain: ChainName
  readonly firstIndex: number
  readonly seal: Seal
  readonly transactions: readonly Transaction[]
}

/** An envelope that a patient owes. */
interface Due {
  readonly patient: Uint8Array
  readonly gid: Uint8Array
  readonly gen: number
  readonly index: number
  readonly deadlineMs: number
}

interface OpenGrant {
  readonly gid: Uint8Array
  readonly until: number
}

interface Place {
  readonly index: number
  readonly height: number
}

const accountSizeBytes = 32
const streamSizeBytes = 8
/** Role of a doctor's account: only such a grant depends on a licence. */
const doctorRole = 2

/** Applies the rules to block after block. Userchain before Docchain; one instance for one audit. */
export class AuditRules {
  readonly #ledger: Ledger
  readonly #findings: FindingList
  /** By patient: open grants, by gid. */
  readonly #open = new Map<string, Map<string, OpenGrant>>()
  /** By patient, gid and generation, in the order of their deadlines. */
  readonly #due = new Map<string, Due>()
  /** By patient and stream: its newest record. */
  readonly #streams = new ByteMap<{ sequence: number; generation: number }>()
  /** Where a key of `#streams` is joined. */
  readonly #stream = new Uint8Array(accountSizeBytes + streamSizeBytes)

  constructor(ledger: Ledger, findings: FindingList) {
    this.#ledger = ledger
    this.#findings = findings
  }

  /** Takes the next block, which the ledger has committed. */
  block(block: AuditedBlock): void {
    const { chain, seal, firstIndex, transactions } = block
    if (chain === 'docchain') this.#anchor(block)
    else this.#settleDue(seal.ms)
    for (const [position, { body }] of transactions.entries()) {
      const place = { index: firstIndex + position, height: seal.h }
      if (body.t === 'key') this.#key(body, place, seal.ms)
      else if (body.t === 'envelope') this.#envelopes(body.a, body.env, place)
      else if (body.t === 'iot') this.#records(body, place)
      else if (body.t === 'diagnosis' || body.t === 'unreadable') this.#judgement(body, seal, place)
      else if (body.t === 'algorithm') this.#algorithm(body, place)
    }
  }

  /** After the last Userchain block: envelopes that are overdue now. */
  finish(nowMs: number): void {
    this.#settleDue(nowMs)
  }

  /**
   * The oldest Userchain block that ends an access or changes who may do what, and that no Docchain block is anchored beyond although its time
   * is over at `nowMs`; undefined if there is none. The newest such block would not do: with a revocation every minute it is never old.
   */
  overdueAnchor(nowMs: number): Boundary | undefined {
    const index = this.#ledger.index('userchain')
    const anchored = this.#ledger.head('docchain').anchor?.size ?? 0
    const holdsOne = (size: number): boolean => (index.newestWake(size) ?? 0) > anchored
    let [low, high] = [anchored, this.#ledger.head('userchain').size]
    if (!holdsOne(high)) return undefined
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if (holdsOne(middle)) high = middle
      else low = middle
    }
    const oldest = index.boundary(high)
    return oldest !== undefined && nowMs - oldest.ms > anchorDueMsMax ? oldest : undefined
  }

  #add(code: string, chain: ChainName, place: Place, message: string): void {
    this.#findings.add({ code: `rule.${code}`, chain, ...place, message })
  }

  #anchor({ seal, firstIndex }: AuditedBlock): void {
    const size = seal.anchor?.[0]?.[0]
    if (size === undefined || seal.h === 0) return
    const newer = this.#ledger.index('userchain').boundaryAfter(size)
    if (newer === undefined || seal.ms - newer.ms <= anchorLagMsMax) return
    const lag = Math.round((seal.ms - newer.ms) / 1000)
    const place = { index: firstIndex + seal.k, height: seal.h }
    this.#add(
      'anchor-lag',
      'docchain',
      place,
      `block ${seal.h} of docchain passes over a userchain block that was ${lag} s old`,
    )
  }

  #key(body: KeyBody, place: Place, ms: number): void {
    const patient = toHex(body.a)
    const state = this.#ledger.state('userchain')
    const opened = userTables.generation.get(state, body.a, body.gen)
    const isRotation = opened?.o === place.index
    this.#cuts(body, place)
    for (const gid of body.close) {
      const grant = userTables.grant.get(state, body.a, gid)
      if (grant?.c === place.index && !isRotation) {
        const message = `grant ${toHex(gid)} is closed without new keys`
        this.#add('close-without-rotation', 'userchain', place, message)
      }
      this.#closed(patient, gid)
    }
    const grants = this.#open.get(patient) ?? new Map<string, OpenGrant>()
    if (body.open.length > 0) this.#open.set(patient, grants)
    for (const [gid, , , , until] of body.open) grants.set(toHex(gid), { gid, until })
    const owed = isRotation ? [...grants.values()] : body.open.map(([gid]) => ({ gid }))
    for (const { gid } of owed) {
      const due = { patient: body.a, gid, gen: body.gen, index: place.index, deadlineMs: ms + envelopeLateMs }
      this.#due.set(`${patient}${toHex(gid)}${body.gen}`, due)
    }
    this.#envelopes(body.a, body.env, place)
  }

  /** A closed grant is owed nothing any more. */
  #closed(patient: string, gid: Uint8Array): void {
    this.#open.get(patient)?.delete(toHex(gid))
    const prefix = `${patient}${toHex(gid)}`
    for (const key of [...this.#due.keys()]) if (key.startsWith(prefix)) this.#due.delete(key)
  }

  /** Every generation of a stream up to the one that is cut has its cut, and the cuts never go back. */
  #cuts(body: KeyBody, place: Place): void {
    const state = this.#ledger.state('userchain')
    for (const [stream, gen, last] of body.cut) {
      const record = userTables.stream.get(state, body.a, stream)
      // A closed stream needs no further cuts, so those that come all the same may leave generations out.
      if (record?.c !== undefined || gen <= Math.max(record?.gen ?? gen, 1)) continue
      const before = userTables.cut.get(state, body.a, stream, gen - 1)
      if (before !== undefined && before.last <= last) continue
      const words = before === undefined ? `generation ${gen - 1} has no cut` : `the cut before lies higher`
      this.#add('cut-gap', 'userchain', place, `stream ${toHex(stream)} is cut in generation ${gen}: ${words}`)
    }
  }

  #envelopes(patient: Uint8Array, envelopes: EnvelopeBody['env'], place: Place): void {
    const state = this.#ledger.state('userchain')
    for (const [gid, gen] of envelopes) {
      this.#due.delete(`${toHex(patient)}${toHex(gid)}${gen}`)
      const grant = userTables.grant.get(state, patient, gid)
      if (grant !== undefined && (grant.c === undefined || grant.c > place.index)) continue
      const words = grant === undefined ? 'which is unknown' : `which was closed at index ${grant.c}`
      const message = `an envelope is addressed to grant ${toHex(gid)}, ${words}`
      this.#add('envelope-after-close', 'userchain', place, message)
    }
  }

  #records(body: IotBody, place: Place): void {
    const state = this.#ledger.state('userchain')
    this.#stream.set(body.a)
    for (const [stream, sequence, generation] of body.r) {
      this.#stream.set(stream, accountSizeBytes)
      const key = byteKey(this.#stream)
      const before = this.#streams.get(key)
      const expected = (before?.sequence ?? 0) + 1
      if (sequence !== expected) {
        const message = `record ${sequence} of stream ${toHex(stream)} stands where ${expected} belongs`
        this.#add('record-sequence', 'userchain', place, message)
      }
      if (before !== undefined && generation !== before.generation) {
        const cut = userTables.cut.get(state, body.a, stream, generation - 1)
        if (cut === undefined || sequence <= cut.last) {
          const message = `record ${sequence} of stream ${toHex(stream)} is in generation ${generation} without a cut before it`
          this.#add('record-outside-cut', 'userchain', place, message)
        }
      }
      if (before === undefined) this.#streams.set(key, { sequence, generation })
      else {
        before.sequence = sequence
        before.generation = generation
      }
    }
  }

  /** A program under a name that is not its own: whoever recalls it by its name misses what it said, and its maker cannot register it any more. */
  #algorithm({ a, id, version, hash }: AlgorithmBody, place: Place): void {
    if (toHex(hash) !== algorithmHashHex || (id === algorithmName && version === algorithmVersion)) return
    const own = `${algorithmName} ${algorithmVersion} (hash ${algorithmHashHex})`
    const words = `${own} is on record as ${id} ${version}, by organisation ${toHex(a)}`
    this.#add('algorithm-name', 'userchain', place, words)
  }

  #judgement(body: { readonly pat: Uint8Array; readonly g: Uint8Array }, seal: Seal, place: Place): void {
    const size = seal.anchor?.[0]?.[0] ?? 0
    const grant = userTables.grant.get(this.#ledger.state('userchain'), body.pat, body.g)
    if (grant !== undefined && inForceAt(grant, size)) return
    const words = grant === undefined ? 'that nobody gave' : `that was closed at index ${grant.c ?? 0}`
    this.#add('diagnosis-after-close', 'docchain', place, `a diagnosis is posted under grant ${toHex(body.g)} ${words}`)
  }

  /** Envelopes whose time is over: those of grants that were live then are findings. */
  #settleDue(ms: number): void {
    for (const [key, due] of this.#due) {
      // Deadlines ascend with the blocks that set them; a replaced entry may stand early, never late.
      if (due.deadlineMs > ms) break
      this.#due.delete(key)
      if (!this.#wasLive(due)) continue
      const height = this.#ledger.index('userchain').boundaryAfter(due.index)?.height ?? 0
      const message = `grant ${toHex(due.gid)} had no envelope of generation ${due.gen} after 10 min`
      this.#add('envelope-late', 'userchain', { index: due.index, height }, message)
    }
  }

  /** As of the deadline: what was closed or suspended later was owed its envelope. */
  #wasLive({ patient, gid, deadlineMs }: Due): boolean {
    const state = this.#ledger.state('userchain')
    const s = this.#sizeAt(deadlineMs)
    const grant = userTables.grant.get(state, patient, gid)
    if (grant === undefined || !inForceAt(grant, s) || grant.until <= deadlineMs) return false
    if (userTables.account.get(state, grant.to)?.role !== doctorRole) return true
    return liveAt(state, { patient, gid, s, timeMs: deadlineMs }) !== undefined
  }

  /** Size of Userchain at a time: the end of the newest block that is not younger. */
  #sizeAt(ms: number): number {
    const index = this.#ledger.index('userchain')
    let [low, high] = [0, this.#ledger.head('userchain').height + 1]
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2)
      if ((index.boundaryAt(middle)?.ms ?? Number.POSITIVE_INFINITY) <= ms) low = middle
      else high = middle
    }
    return index.boundaryAt(low)?.size ?? 0
  }
}
