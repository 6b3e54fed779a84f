/**
 * Judges a patient's records and decides when that is to be said. Between two diagnoses the analysis goes on record by
 * record, to see whether anything changed; what is posted comes from one run over all records since the last diagnosis on
 * record, with the state that it carries, so that an auditor who gets the same records gets the same bytes.
 */
import type { Ledger } from '@healthblock/chain/block'
import { algorithmAt, grantRights } from '@healthblock/chain/live-at'
import type { SequenceRange } from '@healthblock/chain/transaction'
import { sha256 } from '@healthblock/crypto/hash'
import { openPayload, payloadKinds } from '@healthblock/crypto/payload'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { type DiagnosisRecord, diagnose, type Parameters } from '@healthblock/diagnosis/diagnose'
import { type DiagnosisDocument, encodeFitting, parseDiagnosis } from '@healthblock/diagnosis/document'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import type { Finding } from '@healthblock/diagnosis/findings'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import type { Logger } from '@healthblock/runtime/logger'
import { isYetToCome } from '@healthblock/runtime/pauses'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { Composer } from '../posting/compose.ts'
import type { Postings } from '../posting/postings.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import type { Grant, Grants } from '../watch/grants.ts'
import type { Alarms } from './alarms.ts'
import type { PatientLimits } from './patient-limits.ts'
import { backlogMax, type LedgerRecord, openRecord, recordOf, streamKinds } from './reader.ts'

interface Dependencies {
  readonly database: Database
  readonly ledger: Ledger
  readonly grants: Grants
  readonly envelopes: Envelopes
  readonly composer: Composer
  readonly postings: Postings
  readonly alarms: Alarms
  readonly limits: PatientLimits
  readonly logger: Logger
  readonly nowMs: () => number
  readonly postIntervalMs: number
}

/** The diagnosis that the next one carries on. */
interface Base {
  readonly tx: Uint8Array
  readonly atMs: number
  readonly document: DiagnosisDocument
}

/** How far the analysis of a patient has come since the last diagnosis on record. */
interface Progress {
  readonly baseTx: string
  readonly upTo: Map<string, number>
  state: Uint8Array | undefined
  hasChanged: boolean
}

const rangesMax = 16
/** Minutes of ECG of one run, 6 to 11 ms each: nothing else is done meanwhile, and nobody is to wait for somebody's backlog. */
const runMinutesMax = 240
/** A MiB of vital signs, as many as fit into it, takes as long as so many minutes of ECG. */
const minutesPerMiB = 45
const silenceCheckMs = 5_000
const retryMsMin = 2_000
const retryMsMax = 300_000
const algorithmHash = fromHex(algorithmHashHex)

/** What makes a finding another one for whoever was told of it. */
function findingKey({ code, fromMs, severity, isOpen }: Finding): string {
  return `${code}:${fromMs}:${severity}:${isOpen ? 1 : 0}`
}

/** Sequences as ranges without holes, at most 16, and the records that they take in. */
export function rangesOf(records: readonly LedgerRecord[]): { ranges: SequenceRange[]; records: LedgerRecord[] } {
  const ranges: [Uint8Array, number, number][] = []
  const taken: LedgerRecord[] = []
  for (const record of records) {
    const last = ranges.at(-1)
    if (last !== undefined && equalBytes(last[0], record.stream) && record.sequence === last[2] + 1) {
      last[2] = record.sequence
    } else if (ranges.length < rangesMax) ranges.push([record.stream, record.sequence, record.sequence])
    else break
    taken.push(record)
  }
  return { ranges, records: taken }
}

/** How long it takes to judge a record, in minutes of ECG. */
export function costOf({ kind, streamkind, size, start, until }: SqlRow): number {
  if (Number(kind) !== payloadKinds.data) return 0
  if (Number(streamkind) !== streamKinds.ecg) return (Number(size) / 2 ** 20) * minutesPerMiB
  return Math.max(0, Number(until) - Number(start)) / 60_000
}

/** Judges patients, one call at a time. */
export class Judge {
  readonly #deps: Dependencies
  readonly #progress = new Map<string, Progress>()
  readonly #requested = new Set<string>()
  readonly #silenceDue = new Map<string, number>()
  readonly #refusals = new Map<string, { count: number; retryAtMs: number }>()
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** A diagnosis of this patient was refused: the next try waits, longer each time. */
  holdBack(patient: Uint8Array): void {
    const name = toHex(patient)
    const count = (this.#refusals.get(name)?.count ?? 0) + 1
    const pauseMs = Math.min(retryMsMax, retryMsMin * 2 ** Math.min(count, 10))
    this.#refusals.set(name, { count, retryAtMs: this.#deps.nowMs() + pauseMs })
    this.#progress.delete(name)
  }

  /** The next round posts a diagnosis of this patient, if anything new was read. */
  request(patient: Uint8Array): void {
    this.#requested.add(toHex(patient))
  }

  /** The patient's limits are others now: what was read since the last diagnosis on record is judged again by them. */
  restart(patient: Uint8Array): void {
    this.#progress.delete(toHex(patient))
  }

  /** A diagnosis of this patient is on record. */
  goOn(patient: Uint8Array): void {
    this.#refusals.delete(toHex(patient))
  }

  /** Judges what was read of a patient, and writes the next diagnosis down if it is due. */
  async judge(patient: Uint8Array): Promise<void> {
    const { postings, grants, alarms, nowMs } = this.#deps
    const live = grants.live(patient, grantRights.read | grantRights.diagnose)
    const silenceDueMs = this.#silenceDue.get(toHex(patient)) ?? 0
    if (!isYetToCome(silenceDueMs, { nowMs: nowMs(), lengthMs: silenceCheckMs })) {
      this.#silenceDue.set(toHex(patient), nowMs() + silenceCheckMs)
      for (const grant of live) for (const stream of grant.streams) alarms.watchSilence(patient, stream)
    }
    for (const grant of live) {
      // A person who writes goes first: the round does not wait for the ledger's answer to him.
      if (postings.isTaken(patient)) return
      const isWritten = await postings.exclusively(patient, () => this.#judgeGrant(grant))
      if (isWritten) return
    }
  }

  async #judgeGrant(grant: Grant): Promise<boolean> {
    const { postings, nowMs } = this.#deps
    if (postings.underWay(grant.patient) !== undefined) return false
    const found = this.#candidates(grant)
    const { ranges, records } = rangesOf(found.records)
    if (records.length === 0) return false
    const base = await this.#base(grant.patient)
    await this.#follow(grant.patient, records, base)
    const { hasChanged } = this.#progress.get(toHex(grant.patient)) as Progress
    const last = this.#lastOf(grant)
    const isFull = found.isFull || records.length < found.records.length
    const isRequested = this.#requested.has(toHex(grant.patient))
    const isOld = last === undefined || Math.abs(nowMs() - last) >= this.#deps.postIntervalMs
    const isDue = isOld || hasChanged || isFull || isRequested
    if (!isDue || !this.#mayPost(grant.patient)) return false
    return this.#write(grant, { ranges, records, base })
  }

  #mayPost(patient: Uint8Array): boolean {
    const { ledger, nowMs, logger } = this.#deps
    const refusal = this.#refusals.get(toHex(patient))
    if (refusal !== undefined && isYetToCome(refusal.retryAtMs, { nowMs: nowMs(), lengthMs: retryMsMax })) return false
    const size = ledger.head('userchain').size
    const isRegistered = algorithmAt(ledger.state('userchain'), algorithmHash, size) !== undefined
    if (!isRegistered) logger.debug({ algorithm: algorithmHashHex }, 'the algorithm is not on record yet')
    return isRegistered
  }

  /** When the last automatic diagnosis under a grant was made. */
  #lastOf(grant: Grant): number | undefined {
    const row = this.#deps.database.get(
      "SELECT max(at) AS at FROM posting WHERE patient = ? AND gid = ? AND what = 'diagnosis' AND byhand = 0 AND state = 'committed'",
      ...[grant.patient, grant.gid],
    )
    return row === undefined || row.at === null ? undefined : Number(row.at)
  }

  /** What was read under a grant and not judged yet, stream by stream, each up to the first record that is still waited for. */
  #candidates(grant: Grant): { records: LedgerRecord[]; isFull: boolean } {
    const records: LedgerRecord[] = []
    let sizeBytes = 0
    let minutes = 0
    for (const stream of grant.streams) {
      const rows = this.#deps.database.all(
        `SELECT patient, stream, sequence, generation, epoch, kind, size, cid, tx, state, streamkind, start, until FROM record
         WHERE patient = ? AND stream = ? AND diagnosis IS NULL AND (state = 'waiting' OR (state = 'open' AND (block IS NOT NULL OR kind = 2)))
         AND epoch >= ? AND epoch < ? ORDER BY sequence LIMIT ?`,
        ...[grant.patient, stream, grant.fromEpoch, grant.untilEpoch, backlogMax.records],
      )
      for (const row of rows) {
        if (row.state === 'waiting') break
        const isFull = records.length >= backlogMax.records || sizeBytes >= backlogMax.sizeBytes
        if (isFull || minutes >= runMinutesMax) return { records, isFull: true }
        sizeBytes += Number(row.size)
        minutes += costOf(row)
        records.push(recordOf(row))
      }
    }
    return { records, isFull: records.length >= backlogMax.records || sizeBytes >= backlogMax.sizeBytes }
  }

  /** The patient's last automatic diagnosis on record, opened; undefined if there is none, or its key is gone. */
  async #base(patient: Uint8Array): Promise<Base | undefined> {
    const { database, composer } = this.#deps
    const row = database.get(
      "SELECT * FROM posting WHERE patient = ? AND what = 'diagnosis' AND byhand = 0 AND state = 'committed' ORDER BY sequence DESC LIMIT 1",
      patient,
    )
    if (row === undefined) return undefined
    const document = await openOwn(composer, row)
    return document === undefined ? undefined : { tx: row.tx as Uint8Array, atMs: Number(row.at), document }
  }

  /** Goes on with the analysis over the records that are new to it. */
  async #follow(patient: Uint8Array, records: readonly LedgerRecord[], base: Base | undefined): Promise<void> {
    const name = toHex(patient)
    const baseTx = base === undefined ? '' : toHex(base.tx)
    let progress = this.#progress.get(name)
    if (progress === undefined || progress.baseTx !== baseTx) {
      progress = { baseTx, upTo: new Map(), state: base?.document.state, hasChanged: false }
      this.#progress.set(name, progress)
    }
    const { upTo } = progress
    const fresh = records.filter(({ stream, sequence }) => sequence > (upTo.get(toHex(stream)) ?? 0))
    if (fresh.length === 0) return
    const run = this.#run(await this.#load(fresh), progress.state, this.#deps.limits.of(patient))
    for (const { stream, sequence } of fresh) upTo.set(toHex(stream), sequence)
    progress.state = run.state
    const told = new Set((base?.document.findings ?? []).map(findingKey))
    if (run.findings.some((finding) => !told.has(findingKey(finding)))) progress.hasChanged = true
    this.#deps.alarms.see(patient, run.findings)
  }

  /** Opens the kept blocks of records again: readings lie on no disk in the clear. Gaps and empty records have no batch. */
  async #load(records: readonly LedgerRecord[]): Promise<DiagnosisRecord[]> {
    const { database, envelopes, ledger } = this.#deps
    const loaded: DiagnosisRecord[] = []
    for (const record of records) {
      if (record.kind !== payloadKinds.data) continue
      const row = database.get(
        'SELECT block FROM record WHERE patient = ? AND stream = ? AND sequence = ?',
        ...[record.patient, record.stream, record.sequence],
      )
      const key = await envelopes.epochKey(record)
      if (row?.block === null || row === undefined || key === undefined) continue
      const { ledgerId } = ledger
      const opened = openRecord({ ledgerId, record, block: row.block as Uint8Array, epochKey: key.epochKey })
      if ('batch' in opened && opened.batch !== undefined)
        loaded.push({ ...opened.batch, stream: record.stream, sequence: record.sequence })
    }
    return loaded
  }

  /** One run of the algorithm; a state that these records cannot carry on is given up. */
  #run(
    records: readonly DiagnosisRecord[],
    carriedState: Uint8Array | undefined,
    parameters: Parameters,
  ): { findings: Finding[]; state: Uint8Array; isCarried: boolean } {
    try {
      const run = diagnose({ records, parameters, carriedState })
      return { ...run, isCarried: carriedState !== undefined }
    } catch (error) {
      if (!(error instanceof DiagnosisError) || carriedState === undefined) throw error
      this.#deps.logger.warn({ err: error }, 'the analysis begins afresh')
      return { ...diagnose({ records, parameters }), isCarried: false }
    }
  }

  async #write(
    grant: Grant,
    input: { ranges: SequenceRange[]; records: LedgerRecord[]; base: Base | undefined },
  ): Promise<boolean> {
    const { composer, postings, database, limits, nowMs, logger } = this.#deps
    const { ranges, records, base } = input
    const { patient, gid } = grant
    const place = await composer.placeOf(grant)
    if (place === undefined) {
      logger.warn({ patient: toHex(patient) }, 'there is no key to seal a diagnosis with yet')
      return false
    }
    // One reading of the limits: the document names those that judged.
    const parameters = limits.of(patient)
    const run = this.#run(await this.#load(records), base?.document.state, parameters)
    const carried = run.isCarried && base !== undefined ? base : undefined
    const plaintext = encodeFitting({
      algorithm: { name: algorithmName, version: algorithmVersion, hash: algorithmHash },
      parameters,
      atMs: nowMs(),
      in: ranges.map(([stream, from, to]) => ({ stream, from, to })),
      findings: run.findings,
      state: run.state,
      carried: carried === undefined ? new Uint8Array(0) : sha256(carried.document.state),
      text: '',
    })
    const sequence = postings.nextSequence(patient)
    const block = composer.seal({ patient, place, sequence, kind: 'diagnosis', plaintext })
    place.epochKey.fill(0)
    const { generation, epoch } = place
    const { tx, leaf } = composer.sign({
      ...{ v: 1, t: 'diagnosis', a: composer.account(), pat: patient, g: gid, basis: composer.basis(), in: ranges },
      ...{ gen: generation, epoch, seq: sequence, alg: algorithmHash, cid: block.cid, len: block.block.length },
      ...(carried === undefined ? {} : { carry: carried.tx }),
    })
    // The commit point: from here on these records are judged by exactly these bytes.
    database.transaction(() => {
      const algorithm = algorithmHash
      const what = { what: 'diagnosis', byHand: false, inputs: ranges, algorithm } as const
      postings.add({ ...what, tx, patient, gid, generation, epoch, sequence, block, leaf })
      for (const { stream, sequence: judged } of records) {
        database.run(
          'UPDATE record SET diagnosis = ? WHERE patient = ? AND stream = ? AND sequence = ?',
          ...[tx, patient, stream, judged],
        )
      }
    })
    this.#requested.delete(toHex(patient))
    logger.info({ records: records.length, sequence }, 'a diagnosis was written')
    return true
  }
}

/** Opens one of the doctor's own entries; undefined if no key that is held opens it. */
export async function openOwn(composer: Composer, row: SqlRow): Promise<DiagnosisDocument | undefined> {
  if (row.block === null) return undefined
  const patient = row.patient as Uint8Array
  const [generation, epoch, sequence] = [row.generation, row.epoch, row.sequence].map(Number) as [
    number,
    number,
    number,
  ]
  const kind = row.what === 'amend' ? ('amend' as const) : ('diagnosis' as const)
  const epochKey = await composer.keyOf(patient, { generation, epoch })
  if (epochKey === undefined) return undefined
  try {
    const expected = composer.fieldsOf({ patient, generation, epoch, sequence, kind })
    return parseDiagnosis(openPayload({ block: row.block as Uint8Array, epochKey, expected }))
  } catch {
    return undefined
  } finally {
    epochKey.fill(0)
  }
}
