/** Everything that one version of an algorithm ever said, from the ledgers alone: nothing is opened, and nothing is believed but replay. */
import type { ChainName } from '@healthblock/chain/chains'
import { type TransactionBody, transactionId } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'
import type { AuditedBlock } from './rules.ts'

/** A registration of the algorithm; one version may have been registered with several hashes, and its hash under another name. */
export interface RecalledAlgorithm {
  /** As it was registered. */
  readonly name: string
  readonly version: string
  /** Hash of the algorithm's files, lower-case hex. */
  readonly hash: string
  /** Account of the organisation that registered it. */
  readonly organisation: string
  readonly registeredAt: string
  /** Absent while it may be used. */
  readonly withdrawnAt?: string
}

/** A diagnosis by the algorithm. Ids and accounts in lower-case hex, times in ISO 8601. */
export interface RecalledDiagnosis {
  readonly transactionId: string
  readonly patient: string
  readonly doctor: string
  readonly at: string
  readonly height: number
  readonly index: number
  readonly algorithm: string
  readonly in: readonly { readonly stream: string; readonly from: number; readonly to: number }[]
  readonly cid: string
  /** What its doctor did with it since: the newest amendment counts. */
  readonly status: 'preliminary' | 'signed' | 'corrected' | 'withdrawn'
}

const statusOf = { 1: 'signed', 2: 'corrected', 3: 'withdrawn' } as const
const actAdd = 1

type Place = { readonly height: number; readonly index: number; readonly ms: number }
type BodyOfType<T extends TransactionBody['t']> = Extract<TransactionBody, { t: T }>

/** What is recalled: by name and version, by hash in lower-case hex, or whatever is either. */
export interface RecallQuery {
  readonly name?: string
  readonly version?: string
  readonly hash?: string
}

/** Collects from the blocks of a replay, Userchain whole before Docchain (`AuditRequest.onBlock`). */
export class Recall {
  readonly #ledgerId: Uint8Array
  readonly #wanted: RecallQuery
  readonly #algorithms = new Map<string, RecalledAlgorithm>()
  readonly #diagnoses = new Map<string, RecalledDiagnosis>()

  constructor(ledgerId: Uint8Array, wanted: RecallQuery) {
    this.#ledgerId = ledgerId
    this.#wanted = wanted
  }

  /** Registrations, in their order. */
  get algorithms(): readonly RecalledAlgorithm[] {
    return [...this.#algorithms.values()]
  }

  /** Diagnoses, in their order on Docchain. */
  get diagnoses(): readonly RecalledDiagnosis[] {
    return [...this.#diagnoses.values()]
  }

  /** Takes the next block. */
  block({ chain, seal, firstIndex, transactions }: AuditedBlock): void {
    for (const [position, { body, bodyBytes }] of transactions.entries()) {
      const place = { height: seal.h, index: firstIndex + position, ms: seal.ms }
      if (body.t === 'algorithm') this.#register(body, place)
      else if (body.t === 'diagnosis') this.#diagnosis(body, place, this.#idOf(chain, bodyBytes))
      else if (body.t === 'amend') this.#amend(body)
    }
  }

  #idOf(chain: ChainName, bodyBytes: Uint8Array): string {
    return toHex(transactionId({ ledgerId: this.#ledgerId, chain, bodyBytes }))
  }

  #register({ id, version, hash, act, a }: BodyOfType<'algorithm'>, { ms }: Place): void {
    const key = toHex(hash)
    const at = new Date(ms).toISOString()
    const known = this.#algorithms.get(key)
    const { name, version: wantedVersion, hash: wantedHash } = this.#wanted
    const isWanted = key === wantedHash || (id === name && version === wantedVersion)
    if (act === actAdd && isWanted) {
      this.#algorithms.set(key, { name: id, version, hash: key, organisation: toHex(a), registeredAt: at })
    } else if (act !== actAdd && known !== undefined) this.#algorithms.set(key, { ...known, withdrawnAt: at })
  }

  #diagnosis(body: BodyOfType<'diagnosis'>, { height, index, ms }: Place, id: string): void {
    const algorithm = toHex(body.alg)
    if (!this.#algorithms.has(algorithm)) return
    this.#diagnoses.set(id, {
      transactionId: id,
      patient: toHex(body.pat),
      doctor: toHex(body.a),
      at: new Date(ms).toISOString(),
      height,
      index,
      algorithm,
      in: body.in.map(([stream, from, to]) => ({ stream: toHex(stream), from, to })),
      cid: toHex(body.cid),
      status: 'preliminary',
    })
  }

  #amend({ of, act }: BodyOfType<'amend'>): void {
    const id = toHex(of)
    const known = this.#diagnoses.get(id)
    const status = statusOf[act as keyof typeof statusOf]
    if (known !== undefined && status !== undefined) this.#diagnoses.set(id, { ...known, status })
  }
}
