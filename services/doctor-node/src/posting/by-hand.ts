/** What the doctor writes: diagnoses by hand, and signing, correcting or withdrawing what is on record. */
import { setTimeout as delay } from 'node:timers/promises'
import type { Ledger } from '@healthblock/chain/block'
import { docTables, userTables } from '@healthblock/chain/tables'
import type { SequenceRange } from '@healthblock/chain/transaction'
import { encodeFitting } from '@healthblock/diagnosis/document'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { OutboxEntry } from '@healthblock/runtime/outbox'
import type { Database } from '@healthblock/runtime/sqlite'
import { DoctorNodeError } from '../errors.ts'
import type { Grant, Grants } from '../watch/grants.ts'
import { type Composer, handAlgorithm, handDocument, type SealingPlace } from './compose.ts'
import type { Postings } from './postings.ts'

/** Acts of `amend`. */
export const amendActs = { sign: 1, correct: 2, withdraw: 3 } as const
/** Name of an act. */
export type AmendAct = keyof typeof amendActs

/** A transaction on record. */
export interface Posted {
  readonly transactionId: string
  /** Path of the receipt's file. */
  readonly receipt: string
}

interface Dependencies {
  readonly database: Database
  readonly ledger: Ledger
  readonly grants: Grants
  readonly composer: Composer
  readonly postings: Postings
  readonly nowMs: () => number
}

const answerTimeoutMs = 50_000
/** How long a record may be on its way from the ledger to this node. */
const recordsTimeoutMs = 5_000
const recordsPollMs = 50

/** Posts for the doctor and waits for the ledger's answer. */
export class ByHand {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Posts a diagnosis. It is tried also when access has ended: then the refusal is the ledger's own, signed.
   *
   * @throws {DoctorNodeError} `ERR_INPUT_UNKNOWN`, `ERR_GRANT_NONE`, `ERR_DIAGNOSIS_KEY_NONE`, `ERR_STILL_PENDING`, `ERR_REFUSED`.
   */
  async diagnose(request: { patient: Uint8Array; inputs: readonly SequenceRange[]; text: string }): Promise<Posted> {
    const { composer, postings, database, nowMs } = this.#deps
    const { patient, inputs, text } = request
    const signal = AbortSignal.timeout(answerTimeoutMs)
    for (const range of inputs) await this.#requireRecords(patient, range)
    const tx = await postings.exclusively(patient, async () => {
      await postings.free(patient, signal)
      const { grant, place } = await this.#placeFor(patient, inputs)
      const plaintext = encodeFitting(handDocument({ text, atMs: nowMs(), inputs }))
      const sequence = postings.nextSequence(patient)
      const block = composer.seal({ patient, place, sequence, kind: 'diagnosis', plaintext })
      place.epochKey.fill(0)
      const { generation, epoch } = place
      const { gid } = grant
      const algorithm = handAlgorithm.hash
      const signed = composer.sign({
        ...{ v: 1, t: 'diagnosis', a: composer.account(), pat: patient, g: gid, basis: composer.basis(), in: inputs },
        ...{ gen: generation, epoch, seq: sequence, alg: algorithm, cid: block.cid, len: block.block.length },
      })
      database.transaction(() =>
        postings.add({
          ...{ ...signed, what: 'diagnosis', patient, gid, generation, epoch, sequence, byHand: true },
          ...{ algorithm, inputs, block },
        }),
      )
      // The stream belongs to this entry until its answer is there: the next one needs to know its sequence.
      await postings.free(patient, signal)
      return signed.tx
    })
    return this.#answer(tx, signal)
  }

  /**
   * The ledger defers what is about records that it does not know yet, and nothing else of the patient's stream is posted
   * meanwhile: a slip of the pen must not get that far. What was recorded a moment ago is waited for.
   */
  async #requireRecords(patient: Uint8Array, [stream, from, to]: SequenceRange): Promise<void> {
    const index = this.#deps.ledger.index('userchain')
    const isKnown = (): boolean => index.record(patient, stream, to) !== undefined
    const deadline = performance.now() + recordsTimeoutMs
    while (from <= to && !isKnown() && performance.now() < deadline) await delay(recordsPollMs)
    if (from <= to && isKnown()) return
    const [last] = userTables.last.get(this.#deps.ledger.state('userchain'), patient, stream) ?? [0]
    const name = toHex(stream)
    const reason = last === 0 ? 'this patient has no records of that stream' : `its last one is ${last}`
    throw new DoctorNodeError(`there are no records ${from} to ${to} of stream ${name}: ${reason}`, {
      ...{ code: 'ERR_INPUT_UNKNOWN', stream: name, last },
    })
  }

  /** The newest grant that covers what is judged and whose keys seal, live ones first. */
  async #placeFor(
    patient: Uint8Array,
    inputs: readonly SequenceRange[],
  ): Promise<{ grant: Grant; place: SealingPlace }> {
    const { grants, composer } = this.#deps
    const all = grants.all(patient).reverse()
    if (all.length === 0) {
      throw new DoctorNodeError('this patient never gave this doctor access', {
        code: 'ERR_GRANT_NONE',
        patient: toHex(patient),
      })
    }
    const rank = (grant: Grant): number => {
      const isCovering = inputs.every(([stream]) => grant.streams.some((granted) => equalBytes(granted, stream)))
      return (grants.stateOf(grant) === 'live' ? 2 : 0) + (isCovering ? 1 : 0)
    }
    for (const grant of all.toSorted((a, b) => rank(b) - rank(a))) {
      const place = await composer.placeOf(grant)
      if (place !== undefined) return { grant, place }
    }
    throw new DoctorNodeError('there is no key to seal a diagnosis for this patient with', {
      code: 'ERR_DIAGNOSIS_KEY_NONE',
      patient: toHex(patient),
    })
  }

  /**
   * Signs, corrects or withdraws one of the doctor's own diagnoses; no live grant is needed.
   *
   * @throws {DoctorNodeError} `ERR_DIAGNOSIS_UNKNOWN`, `ERR_DIAGNOSIS_PENDING`, `ERR_TEXT_MISSING`, `ERR_DIAGNOSIS_KEY_NONE`, `ERR_STILL_PENDING`, `ERR_REFUSED`.
   */
  async amend(request: { of: Uint8Array; act: AmendAct; text: string }): Promise<Posted> {
    const { postings, database, composer, ledger } = this.#deps
    const { of, act, text } = request
    const target = postings.find(of)
    const unknown = { code: 'ERR_DIAGNOSIS_UNKNOWN', diagnosis: toHex(of) } as const
    if (target === undefined || target.what !== 'diagnosis')
      throw new DoctorNodeError('this node made no such diagnosis', unknown)
    if (target.state !== 'committed') {
      throw new DoctorNodeError('this diagnosis is not on record', {
        code: 'ERR_DIAGNOSIS_PENDING',
        diagnosis: toHex(of),
      })
    }
    if (act === 'correct' && text === '')
      throw new DoctorNodeError('a correction needs its text', { code: 'ERR_TEXT_MISSING' })
    const patient = target.patient as Uint8Array
    const recorded = docTables.diagnosis.get(ledger.state('docchain'), of)
    const { generation, epoch } = {
      generation: recorded?.gen ?? Number(target.generation),
      epoch: recorded?.epoch ?? Number(target.epoch),
    }
    const signal = AbortSignal.timeout(answerTimeoutMs)
    const tx = await postings.exclusively(patient, async () => {
      await postings.free(patient, signal)
      const sequence = postings.nextSequence(patient)
      const block =
        act === 'sign' ? undefined : await this.#sealAmendment({ patient, generation, epoch, sequence, text })
      const signed = composer.sign({
        ...{ v: 1, t: 'amend', a: composer.account(), of, act: amendActs[act], gen: generation, epoch, seq: sequence },
        ...{ cid: block?.cid ?? new Uint8Array(32), len: block?.block.length ?? 0 },
      })
      database.transaction(() =>
        postings.add({
          ...{ ...signed, what: 'amend', patient, gid: target.gid as Uint8Array, generation, epoch, sequence },
          ...{ byHand: true, algorithm: handAlgorithm.hash, inputs: [], amends: { of, act: amendActs[act] } },
          ...(block === undefined ? {} : { block }),
        }),
      )
      await postings.free(patient, signal)
      return signed.tx
    })
    return this.#answer(tx, signal)
  }

  async #sealAmendment(entry: {
    patient: Uint8Array
    generation: number
    epoch: number
    sequence: number
    text: string
  }): Promise<{ block: Uint8Array; cid: Uint8Array }> {
    const { composer, nowMs } = this.#deps
    const { patient, generation, epoch, sequence, text } = entry
    const epochKey = await composer.keyOf(patient, { generation, epoch })
    if (epochKey === undefined) {
      throw new DoctorNodeError('the key of that diagnosis is gone', {
        code: 'ERR_DIAGNOSIS_KEY_NONE',
        patient: toHex(patient),
      })
    }
    const plaintext = encodeFitting(handDocument({ text, atMs: nowMs(), inputs: [] }))
    const place = { generation, epoch, epochKey }
    const sealed = composer.seal({ patient, place, sequence, kind: 'amend', plaintext })
    epochKey.fill(0)
    return sealed
  }

  async #answer(tx: Uint8Array, signal: AbortSignal): Promise<Posted> {
    const entry: OutboxEntry = await this.#deps.postings.final(tx, signal)
    if (entry.status === 'refused') {
      throw new DoctorNodeError(`the ledger refused it by rule ${entry.rule}`, { code: 'ERR_REFUSED', entry })
    }
    return { transactionId: entry.id, receipt: entry.receiptPath ?? '' }
  }
}
