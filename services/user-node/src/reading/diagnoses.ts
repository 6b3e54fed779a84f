/**
 * The diagnoses of the household's people, as Docchain brings them. What is kept is sealed: the text of a finding is
 * opened for a session and forgotten. Of alarms only code, severity and time are kept.
 */
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import type { Transaction } from '@healthblock/chain/transaction'
import type { HeldNodes } from '@healthblock/crypto/hot-store'
import { openPayload, payloadKinds } from '@healthblock/crypto/payload'
import { type DiagnosisDocument, parseDiagnosis } from '@healthblock/diagnosis/document'
import { type FindingView, viewFinding } from '@healthblock/diagnosis/finding-view'
import { type Severity, severities } from '@healthblock/diagnosis/findings'
import { toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { isRuntimeError } from '@healthblock/runtime/errors'
import type { Logger } from '@healthblock/runtime/logger'
import { type PauseLimits, Pauses } from '@healthblock/runtime/pauses'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import type { UserNodeEvents } from '../events.ts'
import type { LedgerView } from '../ledger-view.ts'
import { noticeFinding } from '../sealing/alarms.ts'
import { epochKeyOf, type Person, type PersonStore } from '../store/person.ts'

/** A diagnosis, as the command line's contract has it. */
export interface DiagnosisView {
  readonly transactionId: string
  readonly patient: string
  readonly doctor: string
  readonly at: string
  readonly algorithm: string
  readonly in: { stream: string; from: number; to: number }[]
  readonly findings: FindingView[]
  readonly text?: string
  readonly status: string
  /** What its doctor did with it since, oldest first; the text where these keys open it. */
  readonly amendments: { transactionId: string; act: string; at: string; text?: string }[]
}

/** A diagnosis of a period. */
export interface OpenedDiagnosis {
  readonly transactionId: string
  /** Unix ms, by the ledger. */
  readonly atMs: number
  readonly doctor: string
  readonly cid: Uint8Array
  readonly status: string
  /** Undefined if it does not open now. */
  readonly document: DiagnosisDocument | undefined
  /** The text of the newest correction. */
  readonly correction: string | undefined
}

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly storageOf: (account: Uint8Array) => StorageClient
  readonly ledger: LedgerView
  readonly events: UserNodeEvents
  readonly logger: Logger
  readonly nowMs: () => number
}

const statusOfAct = { 1: 'signed', 2: 'corrected', 3: 'withdrawn' } as const
const actNames = { 1: 'sign', 2: 'correct', 3: 'withdraw' } as const
/** Amendments of one diagnosis that are shown. */
const amendmentsMax = 100
/** Entries that are looked at in one go. */
const openedAtOnce = 16
/** Blocks that no store answered for before a round gives up. */
const failuresMax = 4
/** Between attempts with one block. */
const fetchPauses: PauseLimits = { minMs: 250, maxMs: 15_000 }
const alarmFrom: Severity = 'high'

/** Watches Docchain for the people of this node, and opens what their keys open. */
export class Diagnoses {
  readonly #deps: Dependencies
  /** By diagnosis: of blocks that were not to be had. */
  readonly #pauses: Pauses
  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#pauses = new Pauses(fetchPauses, deps.nowMs)
  }

  /** Takes one transaction of Docchain in. Twice is once. */
  see(placed: { id: Uint8Array; index: number; ms: number; transaction: Transaction }): void {
    const { body } = placed.transaction
    if (body.t === 'diagnosis') this.#seeDiagnosis(placed, body)
    else if (body.t === 'amend') this.#seeAmend(placed, body)
  }

  #seeDiagnosis(
    placed: { id: Uint8Array; index: number; ms: number },
    body: Extract<Transaction['body'], { t: 'diagnosis' }>,
  ): void {
    const { database, people, ledger } = this.#deps
    const person = people.byAccount(body.pat)
    if (person === undefined) return
    const stream = diagnosisStreamId({ ledgerId: ledger.ledgerId, patient: body.pat, doctor: body.a })
    database.run(
      `INSERT OR IGNORE INTO diagnosis
       (tx, account, doctor, position, at, generation, epoch, sequence, stream, algorithm, inputs, cid, kind, status)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'preliminary')`,
      ...[placed.id, person.account, body.a, placed.index, placed.ms, body.gen, body.epoch, body.seq, stream, body.alg],
      ...[encodeCbor(body.in as unknown as CborValue), body.cid, payloadKinds.diagnosis],
    )
  }

  /** An amendment is kept beside what it amends: its text is sealed as that is. */
  #seeAmend(
    placed: { id: Uint8Array; index: number; ms: number },
    body: Extract<Transaction['body'], { t: 'amend' }>,
  ): void {
    const { database } = this.#deps
    const act = body.act as 1 | 2 | 3
    const target = database.get('SELECT * FROM diagnosis WHERE tx = ? AND amends IS NULL', body.of)
    if (target === undefined) return
    const isSealed = act !== 1
    database.transaction(() => {
      const set = "UPDATE diagnosis SET status = ? WHERE tx = ? AND status <> 'withdrawn'"
      database.run(set, statusOfAct[act], body.of)
      database.run(
        `INSERT OR IGNORE INTO diagnosis
         (tx, account, doctor, position, at, generation, epoch, sequence, stream, algorithm, inputs, cid, kind, amends, status, severity)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        ...[placed.id, target.account as Uint8Array, body.a, placed.index, placed.ms, body.gen, body.epoch, body.seq],
        ...[target.stream as Uint8Array, target.algorithm as Uint8Array, encodeCbor([]), body.cid, payloadKinds.amend],
        ...[body.of, actNames[act], isSealed ? null : 'info'],
      )
    })
  }

  /**
   * Fetches and opens what is new, for alarms. One that is not to be had now holds up nothing that follows, and is tried again later; when
   * four are not, the network is out of reach, and the rest is left for the next time.
   *
   * @param isAsked - true: a person waits for it, and also what is to be tried later is tried.
   */
  async open(isAsked = false): Promise<void> {
    const { database, people } = this.#deps
    let failures = 0
    for (let after = -1; failures < failuresMax; ) {
      const rows = database.all(
        'SELECT * FROM diagnosis WHERE severity IS NULL AND position > ? ORDER BY position LIMIT ?',
        ...[after, openedAtOnce],
      )
      if (rows.length === 0) return
      for (const row of rows) {
        after = Number(row.position)
        const person = people.byAccount(row.account as Uint8Array)
        const name = toHex(row.tx as Uint8Array)
        if (person === undefined || (!isAsked && this.#pauses.isPausing(name))) continue
        const fetched = await this.#fetch(row)
        if (fetched === 'here') {
          this.#pauses.succeeded(name)
          this.#judge(person, row)
          continue
        }
        this.#pauses.failed(name)
        if (fetched === 'unanswered' && ++failures === failuresMax) break
      }
    }
  }

  async #fetch(row: SqlRow): Promise<'here' | 'absent' | 'unanswered'> {
    const { database, storageOf, logger } = this.#deps
    if (row.block !== null) return 'here'
    try {
      const block = await storageOf(row.account as Uint8Array).get(row.cid as Uint8Array)
      row.block = block
      database.run('UPDATE diagnosis SET block = ? WHERE tx = ?', block, row.tx as Uint8Array)
      return 'here'
    } catch (error) {
      logger.warn({ err: error }, 'a diagnosis cannot be fetched yet')
      return isRuntimeError(error, 'ERR_BLOCK_NOT_FOUND') ? 'absent' : 'unanswered'
    }
  }

  #judge(person: Person, row: SqlRow): void {
    const { database, events } = this.#deps
    const document = this.#openRow(person, row, person.hot.nodes)
    const worst = worstOf(document)
    const tx = row.tx as Uint8Array
    const isAlarm = database.transaction(() => {
      database.run('UPDATE diagnosis SET severity = ? WHERE tx = ?', worst ?? 'sealed', tx)
      let isTold = false
      for (const finding of document?.findings ?? []) {
        if (severities.indexOf(finding.severity) < severities.indexOf(alarmFrom)) continue
        const told = { transaction: tx, doctor: row.doctor as Uint8Array, atMs: Number(row.at) }
        if (noticeFinding(database, person.account, finding, told)) isTold = true
      }
      return isTold
    })
    events.emit({
      type: isAlarm ? 'alarm' : 'diagnosis',
      account: person.id,
      atMs: Number(row.at),
      transaction: toHex(tx),
    })
  }

  #openRow(person: Person, row: SqlRow, held: readonly HeldNodes[]): DiagnosisDocument | undefined {
    const place = { stream: row.stream as Uint8Array, generation: Number(row.generation), epoch: Number(row.epoch) }
    const epochKey = epochKeyOf(held, place)
    if (epochKey === undefined || row.block === null) return undefined
    try {
      const plaintext = openPayload({
        block: row.block as Uint8Array,
        epochKey,
        expected: {
          kind: row.amends === null ? payloadKinds.diagnosis : payloadKinds.amend,
          ledgerId: this.#deps.ledger.ledgerId,
          owner: person.account,
          writer: row.doctor as Uint8Array,
          sequence: Number(row.sequence),
          ...place,
        },
      })
      return parseDiagnosis(plaintext)
    } catch (error) {
      this.#deps.logger.warn({ err: error, transaction: toHex(row.tx as Uint8Array) }, 'a diagnosis does not open')
      return undefined
    } finally {
      epochKey.fill(0)
    }
  }

  /**
   * The newest diagnoses of a person before a place, oldest first: what these nodes open; others are listed without findings.
   *
   * @param page - `before`: `next` of an earlier page.
   */
  list(
    person: Person,
    held: readonly HeldNodes[],
    page: { before: number | undefined; limit: number },
  ): { diagnoses: DiagnosisView[]; next: string | null } {
    const rows = this.#deps.database.all(
      'SELECT * FROM diagnosis WHERE account = ? AND amends IS NULL AND position < ? ORDER BY position DESC LIMIT ?',
      ...[person.account, page.before ?? Number.MAX_SAFE_INTEGER, page.limit + 1],
    )
    const shown = rows.slice(0, page.limit).reverse()
    const next = rows.length > page.limit ? String(shown[0]?.position) : null
    return { diagnoses: shown.map((row) => this.#view(person, row, held)), next }
  }

  /** One of them; undefined if it is none of this person. */
  find(person: Person, held: readonly HeldNodes[], tx: Uint8Array): DiagnosisView | undefined {
    const select = 'SELECT * FROM diagnosis WHERE tx = ? AND account = ? AND amends IS NULL'
    const row = this.#deps.database.get(select, tx, person.account)
    return row === undefined ? undefined : this.#view(person, row, held)
  }

  /** Those of a period, as far as these nodes open them, oldest first, one in memory at a time. Unix ms. */
  *documents(
    person: Person,
    held: readonly HeldNodes[],
    period: { fromMs: number; untilMs: number },
  ): Generator<OpenedDiagnosis> {
    for (let after = -1; ; ) {
      const rows = this.#deps.database.all(
        `SELECT * FROM diagnosis WHERE account = ? AND amends IS NULL AND at >= ? AND at < ? AND position > ?
         ORDER BY position LIMIT ?`,
        ...[person.account, period.fromMs, period.untilMs, after, openedAtOnce],
      )
      if (rows.length === 0) return
      for (const row of rows) {
        after = Number(row.position)
        const document = this.#openRow(person, row, held)
        const corrections = this.#amendments(person, row, held).filter(({ act }) => act === 'correct')
        yield {
          ...{ transactionId: toHex(row.tx as Uint8Array), doctor: toHex(row.doctor as Uint8Array) },
          ...{ cid: row.cid as Uint8Array, status: row.status as string, document, atMs: Number(row.at) },
          correction: corrections.at(-1)?.text,
        }
      }
    }
  }

  #view(person: Person, row: SqlRow, held: readonly HeldNodes[]): DiagnosisView {
    return { ...view(person, row, this.#openRow(person, row, held)), amendments: this.#amendments(person, row, held) }
  }

  #amendments(person: Person, { tx }: SqlRow, held: readonly HeldNodes[]): DiagnosisView['amendments'] {
    const rows = this.#deps.database.all(
      'SELECT * FROM diagnosis WHERE amends = ? ORDER BY position LIMIT ?',
      ...[tx as Uint8Array, amendmentsMax],
    )
    return rows.map((row) => {
      const text = this.#openRow(person, row, held)?.text ?? ''
      return {
        ...{ transactionId: toHex(row.tx as Uint8Array), act: row.status as string },
        ...{ at: new Date(Number(row.at)).toISOString(), ...(text === '' ? {} : { text }) },
      }
    })
  }
}

function worstOf(document: DiagnosisDocument | undefined): Severity | undefined {
  if (document === undefined) return undefined
  let worst: Severity = 'info'
  for (const { severity } of document.findings) {
    if (severities.indexOf(severity) > severities.indexOf(worst)) worst = severity
  }
  return worst
}

function view(person: Person, row: SqlRow, document: DiagnosisDocument | undefined): Omit<DiagnosisView, 'amendments'> {
  const inputs = decodeCbor(row.inputs as Uint8Array) as unknown as [Uint8Array, number, number][]
  const iso = (ms: number): string => new Date(ms).toISOString()
  const isByHand = (row.algorithm as Uint8Array).every((byte) => byte === 0)
  return {
    transactionId: toHex(row.tx as Uint8Array),
    patient: person.id,
    doctor: toHex(row.doctor as Uint8Array),
    at: iso(Number(row.at)),
    algorithm: isByHand
      ? 'by hand'
      : document === undefined
        ? toHex(row.algorithm as Uint8Array)
        : `${document.algorithm.name}@${document.algorithm.version}`,
    in: inputs.map(([stream, from, to]) => ({ stream: toHex(stream), from, to })),
    findings: (document?.findings ?? []).map(viewFinding),
    ...(document === undefined || document.text === '' ? {} : { text: document.text }),
    status: document === undefined ? 'sealed' : (row.status as string),
  }
}
