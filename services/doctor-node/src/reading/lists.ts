/** What the doctor sees: patients, readings, diagnoses. Findings are opened for the answer and forgotten. */

import { type FindingView, viewFinding } from '@healthblock/diagnosis/finding-view'
import type { Finding } from '@healthblock/diagnosis/findings'
import { toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import { readRefusal } from '@healthblock/runtime/ledger-client'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { openOwn } from '../judging/judge.ts'
import type { Composer } from '../posting/compose.ts'
import type { Envelopes } from '../watch/envelopes.ts'
import type { Grants } from '../watch/grants.ts'
import type { OpenedRecords } from './opened-records.ts'
import type { Petnames } from './petnames.ts'

/** A grant to this doctor. */
export interface PatientView {
  readonly patient: string
  readonly grant: string
  /** Stream ids with their kind, as far as an envelope told it. */
  readonly streams: { stream: string; kind: string }[]
  readonly from: string
  readonly until: string | null
  readonly state: string
}

/** A reading that the doctor's keys opened, as the command line's contract has it. */
export interface ReadingView {
  readonly patient: string
  readonly stream: string
  readonly kind: string
  readonly sequence: number
  readonly generation: number
  readonly epoch: number
  readonly from: string
  readonly to: string
  readonly transactionId: string
  readonly cid: string
}

/** The ledger's signed refusal, for people. Bytes are lower-case hex. */
export interface RefusalView {
  readonly rule: string
  readonly height: number
  readonly stateRoot: string
  readonly signature: string
}

/** A record that a diagnosis read. */
interface InputRecord {
  readonly stream: string
  readonly sequence: number
  /** Of the IoT transaction. */
  readonly transactionId: string
  readonly from: string
  readonly to: string
}

/** A finding, and the records that it rests on, each with the first and last sample (row of vital signs) in it. */
export interface EvidencedFinding extends FindingView {
  readonly evidence: (InputRecord & { readonly samples: readonly [number, number] })[]
}

/** A patient as a whole, for the doctor's list. */
export interface PatientSummary {
  readonly patient: string
  readonly petname?: string
  /** The best state of her grants: live, suspended, expired, ended. */
  readonly state: string
  readonly streams: { stream: string; kind: string; firstAt?: string; lastAt?: string }[]
  /** Alarms that last or wait to be acknowledged. */
  readonly openAlarms: number
  /** Diagnoses of the machine that nobody signed, corrected or withdrew. */
  readonly unsigned: number
}

/** A diagnosis, as the command line's contract has it. */
export interface DiagnosisView {
  readonly transactionId: string
  readonly patient: string
  readonly doctor: string
  /** When it came on record, by the ledger, as the patient's node says it; until then when it was made. */
  readonly at: string
  readonly algorithm: string
  readonly in: { stream: string; from: number; to: number }[]
  readonly findings: EvidencedFinding[]
  readonly text?: string
  /** pending, preliminary, signed, corrected, withdrawn, not recorded. */
  readonly status: string
  readonly note?: string
  readonly refused?: RefusalView
  /** Signatures, corrections and withdrawals, oldest first. */
  readonly amendments: { transactionId: string; act: string; at: string; status: string; text?: string }[]
}

const kindNames: Readonly<Record<number, string>> = { 1: 'ecg', 2: 'vitals', 3: 'records', 4: 'profile', 5: 'live' }
const actNames: Readonly<Record<number, string>> = { 1: 'sign', 2: 'correct', 3: 'withdraw' }
const iso = (ms: number): string => new Date(ms).toISOString()
/** The last moment that a date can hold. */
const dateMax = 8_640_000_000_000_000

/** Name of a kind of stream, as envelopes number them. */
export function kindName(kind: unknown): string {
  return (typeof kind === 'number' ? kindNames[kind] : undefined) ?? 'other'
}

/** Grants to this doctor, oldest first. */
export async function listPatients(parts: {
  grants: Grants
  envelopes: Envelopes
  epochMs: number
}): Promise<PatientView[]> {
  const { grants, envelopes, epochMs } = parts
  const views: PatientView[] = []
  for (const grant of grants.all()) {
    const kinds = await envelopes.streamKinds(grant.patient)
    views.push({
      patient: toHex(grant.patient),
      grant: toHex(grant.gid),
      streams: grant.streams.map((stream) => ({ stream: toHex(stream), kind: kindName(kinds.get(toHex(stream))) })),
      // The ledger takes windows that no date can hold: one of them must not cost the others their list.
      from: iso(Math.min(dateMax, grant.fromEpoch * epochMs)),
      until: grant.untilMs > dateMax ? null : iso(grant.untilMs),
      state: grants.stateOf(grant),
    })
  }
  return views
}

/** Most readings of one list: of more, the oldest are left out. */
const readingsMax = 1_000_000

/** Readings that were opened, oldest first. */
export function listReadings(database: Database, patient: Uint8Array): ReadingView[] {
  const rows = database.all(
    `SELECT stream, sequence, generation, epoch, streamkind, start, until, tx, cid FROM record
     WHERE patient = ? AND state = 'open' AND kind = 0 ORDER BY start DESC, stream DESC, sequence DESC LIMIT ?`,
    ...[patient, readingsMax],
  )
  return rows.reverse().map((row) => ({
    patient: toHex(patient),
    stream: toHex(row.stream as Uint8Array),
    kind: kindName(row.streamkind),
    sequence: Number(row.sequence),
    generation: Number(row.generation),
    epoch: Number(row.epoch),
    from: iso(Number(row.start)),
    to: iso(Number(row.until)),
    transactionId: toHex(row.tx as Uint8Array),
    cid: toHex(row.cid as Uint8Array),
  }))
}

/** Most entries of the list of what did not open. */
const quarantineMax = 1_000

/** Whose an entry is: a reference begins with the patient's account. As the index `quarantine_owner` has it. */
const owner = 'substr(reference, 1, 64)'

/** Whoever has an entry, one step of the index each. */
const owners = `WITH RECURSIVE each (owner) AS (
    SELECT min(${owner}) FROM quarantine
    UNION ALL SELECT (SELECT min(${owner}) FROM quarantine WHERE ${owner} > each.owner) FROM each WHERE each.owner IS NOT NULL
  ) SELECT owner FROM each WHERE owner IS NOT NULL LIMIT 100000`

/**
 * What did not open, of one patient or of all, newest first. Where there is more than fits, each patient's newest goes in before anybody's
 * next: nobody's envelopes push out what somebody else sent. Of each patient no more is read than may go in.
 */
export function listQuarantine(
  database: Database,
  patient: Uint8Array | undefined,
): { what: string; reference: string; reason: string; at: string }[] {
  const whose = patient === undefined ? database.all(owners).map((row) => row.owner as string) : [toHex(patient)]
  const newestOf = (one: string, count: number): SqlRow[] =>
    database.all(`SELECT * FROM quarantine WHERE ${owner} = ? ORDER BY id DESC LIMIT ?`, one, count)
  let rows: SqlRow[][] = []
  // As many of each as fit if all have so many; more of those who have more, while there is room.
  for (let count = Math.ceil(quarantineMax / Math.max(1, whose.length)); ; count *= 2) {
    rows = whose.map((one) => newestOf(one, count))
    const found = rows.reduce((sum, { length }) => sum + length, 0)
    if (found >= quarantineMax || rows.every(({ length }) => length < count)) break
  }
  const inTurns = rows.flatMap((own) => own.map((row, turn) => ({ row, turn })))
  return inTurns
    .sort((a, b) => a.turn - b.turn || Number(b.row.id) - Number(a.row.id))
    .slice(0, quarantineMax)
    .sort((a, b) => Number(b.row.id) - Number(a.row.id))
    .map(({ row }) => ({
      what: row.what as string,
      reference: row.reference as string,
      reason: row.reason as string,
      at: iso(Number(row.ms)),
    }))
}

/** A kept refusal for people; undefined if it was refused without a gateway's word. */
export function refusalView(evidence: unknown): RefusalView | undefined {
  if (!(evidence instanceof Uint8Array)) return undefined
  const { rule, height, stateRoot, signature } = readRefusal(evidence)
  return { rule, height, stateRoot: toHex(stateRoot), signature: toHex(signature) }
}

/** Which diagnoses. */
export interface DiagnosesPage {
  readonly patient?: Uint8Array | undefined
  /** Only what the ledger refused. */
  readonly isRefused?: boolean | undefined
  /** Older than this one: the first of an earlier page. */
  readonly before?: Uint8Array | undefined
  readonly limit: number
}

interface Parts {
  readonly database: Database
  readonly composer: Composer
  readonly grants: Grants
}

/** The newest diagnoses, or those before one, oldest first. Only these are opened. */
export async function listDiagnoses(parts: Parts, page: DiagnosesPage): Promise<DiagnosisView[]> {
  const { patient, isRefused = false, before, limit } = page
  const conditions = [
    ...(patient === undefined ? [] : ['AND patient = ?']),
    ...(isRefused ? ["AND state = 'refused'"] : []),
    ...(before === undefined ? [] : ['AND (at, tx) < (SELECT at, tx FROM posting WHERE tx = ?)']),
  ]
  const rows = parts.database.all(
    `SELECT * FROM posting WHERE what = 'diagnosis' ${conditions.join(' ')} ORDER BY at DESC, tx DESC LIMIT ?`,
    ...[...(patient === undefined ? [] : [patient]), ...(before === undefined ? [] : [before]), limit],
  )
  const views: DiagnosisView[] = []
  for (const row of rows.reverse()) views.push(await withAmendments(parts, row))
  return views
}

/** One diagnosis; undefined if this doctor said none of that id. */
export async function findDiagnosis(parts: Parts, tx: Uint8Array): Promise<DiagnosisView | undefined> {
  const row = parts.database.get("SELECT * FROM posting WHERE what = 'diagnosis' AND tx = ?", tx)
  return row === undefined ? undefined : withAmendments(parts, row)
}

async function withAmendments(parts: Parts, row: SqlRow): Promise<DiagnosisView> {
  const amendments = await amendmentsOf(parts.database, parts.composer, row.tx as Uint8Array)
  return { ...(await viewOf(row, parts)), amendments }
}

/** What the doctor did with a diagnosis since, oldest first. */
export async function amendmentsOf(
  database: Database,
  composer: Composer,
  of: Uint8Array,
): Promise<DiagnosisView['amendments']> {
  const rows = database.all("SELECT * FROM posting WHERE what = 'amend' AND amends = ? ORDER BY at LIMIT 1000", of)
  const amendments: DiagnosisView['amendments'] = []
  for (const row of rows) {
    const text = (await openOwn(composer, row))?.text ?? ''
    amendments.push({
      transactionId: toHex(row.tx as Uint8Array),
      act: actNames[Number(row.act)] as string,
      at: iso(composer.recordedMs(row.tx as Uint8Array) ?? Number(row.at)),
      status: row.state === 'committed' ? 'on record' : row.state === 'refused' ? 'not recorded' : 'pending',
      ...(text === '' ? {} : { text }),
    })
  }
  return amendments
}

/** Records of kind 0 of a diagnosis, in the order in which evidence counts them (SPEC.md §3). */
function inputRecords(
  database: Database,
  patient: Uint8Array,
  inputs: readonly [Uint8Array, number, number][],
): InputRecord[] {
  return inputs.flatMap(([stream, from, to]) =>
    database
      .all(
        `SELECT sequence, tx, start, until FROM record
         WHERE patient = ? AND stream = ? AND sequence BETWEEN ? AND ? AND kind = 0 ORDER BY sequence LIMIT 5000`,
        ...[patient, stream, from, to],
      )
      .map((row) => ({
        ...{ stream: toHex(stream), sequence: Number(row.sequence), transactionId: toHex(row.tx as Uint8Array) },
        ...{ from: iso(Number(row.start)), to: iso(Number(row.until)) },
      })),
  )
}

function findingsOf(findings: readonly Finding[], recordsOf: () => InputRecord[]): EvidencedFinding[] {
  const hasEvidence = findings.some(({ evidence }) => evidence.length > 0)
  const records = hasEvidence ? recordsOf() : []
  return findings.map((finding) => ({
    ...viewFinding(finding),
    evidence: finding.evidence.flatMap(({ record, first, last }) => {
      const read = records[record]
      return read === undefined ? [] : [{ ...read, samples: [first, last] as const }]
    }),
  }))
}

/** Every patient who ever gave access, with what waits for the doctor. */
export async function summarisePatients(parts: {
  database: Database
  grants: Grants
  opened: OpenedRecords
  petnames: Petnames
}): Promise<PatientSummary[]> {
  const { database, grants, opened, petnames } = parts
  const count = (sql: string, patient: Uint8Array): number => Number(database.get(sql, patient)?.n ?? 0)
  const views: PatientSummary[] = []
  for (const patient of grants.patients()) {
    const found = grants.all(patient).map((grant) => grants.stateOf(grant))
    const petname = petnames.of(patient)
    const streams = (await opened.streams(patient)).map(({ stream, kind, firstMs, lastMs }) => ({
      ...{ stream: toHex(stream), kind: kindName(kind) },
      ...(firstMs === undefined || lastMs === undefined ? {} : { firstAt: iso(firstMs), lastAt: iso(lastMs) }),
    }))
    views.push({
      patient: toHex(patient),
      ...(petname === undefined ? {} : { petname }),
      state: ['live', 'suspended', 'expired'].find((state) => found.some((one) => one === state)) ?? 'ended',
      streams,
      openAlarms: count(
        'SELECT count(*) AS n FROM alarm WHERE patient = ? AND (ended IS NULL OR acknowledged IS NULL)',
        patient,
      ),
      unsigned: count(
        "SELECT count(*) AS n FROM posting WHERE patient = ? AND what = 'diagnosis' AND status = 'preliminary'",
        patient,
      ),
    })
  }
  return views
}

async function viewOf(
  row: SqlRow,
  { database, composer, grants }: { database: Database; composer: Composer; grants: Grants },
): Promise<Omit<DiagnosisView, 'amendments'>> {
  const document = await openOwn(composer, row)
  const inputs = decodeCbor(row.inputs as Uint8Array) as unknown as [Uint8Array, number, number][]
  const refused = refusalView(row.refusal)
  const note = row.state === 'refused' ? noteOf(row, grants) : undefined
  return {
    transactionId: toHex(row.tx as Uint8Array),
    patient: toHex(row.patient as Uint8Array),
    doctor: toHex(composer.account()),
    at: iso(composer.recordedMs(row.tx as Uint8Array) ?? Number(row.at)),
    algorithm: algorithmText(row, document?.algorithm),
    in: inputs.map(([stream, from, to]) => ({ stream: toHex(stream), from, to })),
    findings: findingsOf(document?.findings ?? [], () => inputRecords(database, row.patient as Uint8Array, inputs)),
    ...(document === undefined || document.text === '' ? {} : { text: document.text }),
    status: row.status as string,
    ...(note === undefined ? {} : { note }),
    ...(refused === undefined ? {} : { refused }),
  }
}

function algorithmText(row: SqlRow, algorithm: { name: string; version: string } | undefined): string {
  if (Number(row.byhand) === 1) return 'by hand'
  return algorithm === undefined ? toHex(row.algorithm as Uint8Array) : `${algorithm.name}@${algorithm.version}`
}

/** Why a finding is not on record, in the doctor's words. */
function noteOf(row: SqlRow, grants: Grants): string {
  const isAccess = row.rule === 'D.live' || row.rule === 'D.grant'
  if (!isAccess) return `refused by rule ${row.rule}, not recorded`
  const gid = toHex(row.gid as Uint8Array)
  const grant = grants.all(row.patient as Uint8Array).find((one) => toHex(one.gid) === gid)
  const endedMs = grant?.closedMs ?? Math.min(grant?.untilMs ?? dateMax, Number(row.finalms))
  return `access ended at ${iso(endedMs)}, not recorded`
}
