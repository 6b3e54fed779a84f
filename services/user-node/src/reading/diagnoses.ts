/**
 * The diagnoses of the household's people, as Docchain brings them. What is kept is sealed: the text of a finding is
 * opened for a session and forgotten. Of alarms only code, severity and time are kept.
 */
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import type { Transaction } from '@healthblock/chain/transaction'
import type { HeldNodes } from '@healthblock/crypto/hot-store'
import { openPayload, payloadKinds } from '@healthblock/crypto/payload'
import { type DiagnosisDocument, parseDiagnosis } from '@healthblock/diagnosis/document'
import { type Severity, severities } from '@healthblock/diagnosis/findings'
import { toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import type { UserNodeEvents } from '../events.ts'
import type { LedgerView } from '../ledger-view.ts'
import { epochKeyOf, type Person, type PersonStore } from '../people/person.ts'

/** A diagnosis, as the command line's contract has it. */
export interface DiagnosisView {
  readonly transactionId: string
  readonly patient: string
  readonly doctor: string
  readonly at: string
  readonly algorithm: string
  readonly in: { stream: string; from: number; to: number }[]
  readonly findings: { code: string; from: string; to: string; severity: string; sentence: string; open: boolean }[]
  readonly text?: string
  readonly status: string
}

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly storageOf: (account: Uint8Array) => StorageClient
  readonly ledger: LedgerView
  readonly events: UserNodeEvents
  readonly logger: Logger
}

const statusOfAct = { 1: 'signed', 2: 'corrected', 3: 'withdrawn' } as const
const alarmFrom: Severity = 'high'

/** Watches Docchain for the people of this node, and opens what their keys open. */
export class Diagnoses {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** Takes one transaction of Docchain in. Twice is once. */
  see(placed: { id: Uint8Array; index: number; ms: number; transaction: Transaction }): void {
    const { body } = placed.transaction
    if (body.t === 'diagnosis') this.#seeDiagnosis(placed, body)
    else if (body.t === 'amend') this.#seeAmend(body)
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

  #seeAmend(body: Extract<Transaction['body'], { t: 'amend' }>): void {
    const status = statusOfAct[body.act as 1 | 2 | 3]
    this.#deps.database.run("UPDATE diagnosis SET status = ? WHERE tx = ? AND status <> 'withdrawn'", status, body.of)
  }

  /** Fetches and opens what is new, for alarms. Faults of the network are left for the next time. */
  async open(): Promise<void> {
    const { database, people } = this.#deps
    for (;;) {
      const rows = database.all('SELECT * FROM diagnosis WHERE severity IS NULL ORDER BY position LIMIT 16')
      if (rows.length === 0) return
      for (const row of rows) {
        const person = people.byAccount(row.account as Uint8Array)
        if (person === undefined) return
        const isFetched = await this.#fetch(row)
        if (!isFetched) return
        this.#judge(person, row)
      }
    }
  }

  async #fetch(row: SqlRow): Promise<boolean> {
    const { database, storageOf, logger } = this.#deps
    if (row.block !== null) return true
    try {
      const block = await storageOf(row.account as Uint8Array).get(row.cid as Uint8Array)
      row.block = block
      database.run('UPDATE diagnosis SET block = ? WHERE tx = ?', block, row.tx as Uint8Array)
      return true
    } catch (error) {
      logger.warn({ err: error }, 'a diagnosis cannot be fetched yet')
      return false
    }
  }

  #judge(person: Person, row: SqlRow): void {
    const { database, events } = this.#deps
    const document = this.#openRow(person, row, person.hot.nodes)
    const worst = worstOf(document)
    const tx = row.tx as Uint8Array
    database.transaction(() => {
      database.run('UPDATE diagnosis SET severity = ? WHERE tx = ?', worst ?? 'sealed', tx)
      for (const finding of document?.findings ?? []) {
        if (severities.indexOf(finding.severity) < severities.indexOf(alarmFrom)) continue
        database.run(
          'INSERT OR IGNORE INTO alarm (account, ms, code, severity, about) VALUES (?, ?, ?, ?, ?)',
          ...[person.account, Number(row.at), finding.code, finding.severity, tx],
        )
      }
    })
    const isAlarm = worst !== undefined && severities.indexOf(worst) >= severities.indexOf(alarmFrom)
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
          kind: payloadKinds.diagnosis,
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
      'SELECT * FROM diagnosis WHERE account = ? AND position < ? ORDER BY position DESC LIMIT ?',
      ...[person.account, page.before ?? Number.MAX_SAFE_INTEGER, page.limit + 1],
    )
    const shown = rows.slice(0, page.limit).reverse()
    const next = rows.length > page.limit ? String(shown[0]?.position) : null
    return { diagnoses: shown.map((row) => view(person, row, this.#openRow(person, row, held))), next }
  }

  /** One of them; undefined if it is none of this person. */
  find(person: Person, held: readonly HeldNodes[], tx: Uint8Array): DiagnosisView | undefined {
    const row = this.#deps.database.get('SELECT * FROM diagnosis WHERE tx = ? AND account = ?', tx, person.account)
    return row === undefined ? undefined : view(person, row, this.#openRow(person, row, held))
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

function view(person: Person, row: SqlRow, document: DiagnosisDocument | undefined): DiagnosisView {
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
    findings: (document?.findings ?? []).map((finding) => ({
      code: finding.code,
      from: iso(finding.fromMs),
      to: iso(finding.toMs),
      severity: finding.severity,
      sentence: finding.sentence,
      open: finding.isOpen,
    })),
    ...(document === undefined || document.text === '' ? {} : { text: document.text }),
    status: document === undefined ? 'sealed' : (row.status as string),
  }
}
