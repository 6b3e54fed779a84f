/**
 * Alarms of the household's people: what a diagnosis found, what became of their devices, and who fetched without access. Code, severity and times are
 * kept, never a value. Each is told once when it begins and, if it lasts, once when it ends.
 */
import { type Severity, severities } from '@healthblock/diagnosis/findings'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import type { UserNodeEvents } from '../events.ts'
import type { Person } from '../store/person.ts'

/** Alarms about a device's stream; `about` of these begins with the stream's 8 bytes. */
export type StreamAlarmCode = 'stream.silent' | 'stream.gap'
/** Alarm about somebody who fetched a block without access; `about` begins with the 32 bytes of that account. */
export const lookAlarmCode = 'look.ungranted'

/** Alarm about keys, cuts or records that were made with her op key and not by this node; `about` is the generation, 8 bytes. */
export const foreignAlarmCode = 'keys.foreign'
/** Alarm about an op key of this node that the ledger has not in force; `about` is that key, 32 bytes. */
export const replacedAlarmCode = 'keys.replaced'

/** Alarm about a device that somebody else added in her name; `about` is that device, 16 bytes. */
export const deviceAlarmCode = 'device.foreign'

/** An alarm, as people see it. */
export interface AlarmView {
  readonly id: number
  readonly at: string
  readonly code: string
  readonly severity: string
  /** Transaction id of the diagnosis, the stream, the generation, or the account that looked, in hex. */
  readonly about: string | null
  readonly endedAt: string | null
  readonly acknowledged: boolean
}

/** Alarms of one list: of more, those are left out that she has seen, then the less severe, then the oldest. */
export const alarmsListedMax = 10_000
/** And of looks, which storage nodes tell of: what they make up pushes nothing else out. */
const looksListedMax = 1_000
/** Findings of one code that lie no further apart are one episode to the patient, whoever found them. */
const episodeGapMs = 60_000
/** Alarms over the time of a finding that are looked at. */
const knownMax = 64
const streamBytes = 8
const accountBytes = 32
const severity = 'medium'
const iso = (ms: number): string => new Date(ms).toISOString()

/** What an alarm about a stream is about: the stream, and a number that tells it from the others of its code. */
function aboutStream(stream: Uint8Array, number: number): Uint8Array {
  const about = new Uint8Array(2 * streamBytes)
  about.set(stream)
  new DataView(about.buffer).setBigUint64(streamBytes, BigInt(number))
  return about
}

/** The account of an alarm about a look, in hex; undefined for every other alarm. */
export function lookerOf(code: string, about: Uint8Array | null): string | undefined {
  return code === lookAlarmCode && about !== null ? toHex(about.subarray(0, accountBytes)) : undefined
}

function aboutShown(code: string, about: Uint8Array | null): string | null {
  if (about === null) return null
  const isNumbered = about.length === 2 * streamBytes && code !== deviceAlarmCode
  return lookerOf(code, about) ?? toHex(isNumbered ? about.subarray(0, streamBytes) : about)
}

/** A finding of a diagnosis that wakes the patient. Times are Unix ms. */
export interface AlarmingFinding {
  readonly code: string
  readonly severity: Severity
  readonly fromMs: number
  readonly toMs: number
  readonly isOpen: boolean
}

/** The diagnosis that a finding is in. */
interface Telling {
  readonly transaction: Uint8Array
  readonly doctor: Uint8Array
  /** By the ledger. */
  readonly atMs: number
}

/**
 * The alarm that tells of a finding's episode already: one of the same doctor; else another's, unless she had seen that one before this
 * began. A doctor who says that something lasts for ever hides nothing by it that another one finds later.
 */
function knownAlarm(
  database: Database,
  account: Uint8Array,
  { code, fromMs, toMs }: AlarmingFinding,
  doctor: Uint8Array,
): { row: SqlRow; isOwn: boolean } | undefined {
  const rows = database.all(
    `SELECT alarm.*, diagnosis.doctor AS doctor FROM alarm LEFT JOIN diagnosis ON diagnosis.tx = alarm.about
     WHERE alarm.account = ? AND code = ? AND until >= ? AND started <= ? ORDER BY until DESC LIMIT ?`,
    ...[account, code, fromMs - episodeGapMs, toMs + episodeGapMs, knownMax],
  )
  const own = rows.find((row) => row.doctor === null || equalBytes(row.doctor as Uint8Array, doctor))
  const row = own ?? rows.find(({ acknowledged }) => acknowledged === null || fromMs <= Number(acknowledged))
  return row === undefined ? undefined : { row, isOwn: row === own }
}

/**
 * A diagnosis says that something alarming was found. Diagnoses of several doctors, and later ones of the same doctor, that tell of the same
 * episode are one alarm; one that got more severe is told again, also to who had seen it. How long it lasted is the word of whoever told it
 * first. Inside the caller's transaction.
 *
 * @returns True if it is to be told.
 */
export function noticeFinding(
  database: Database,
  account: Uint8Array,
  finding: AlarmingFinding,
  told: Telling,
): boolean {
  const { code, fromMs, toMs, isOpen } = finding
  const ended = isOpen ? null : toMs
  const found = knownAlarm(database, account, finding, told.doctor)
  const known = found?.row
  if (known === undefined) {
    const insert = `INSERT OR IGNORE INTO alarm (account, ms, code, severity, about, started, until, ended)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
    const values = [account, told.atMs, code, finding.severity, told.transaction, fromMs, toMs, ended]
    return database.run(insert, ...values) > 0
  }
  if (found?.isOwn === true) {
    const isLater = toMs >= Number(known.until)
    const until = Math.max(toMs, Number(known.until))
    database.run(
      'UPDATE alarm SET started = ?, until = ?, ended = ? WHERE id = ?',
      ...[Math.min(fromMs, Number(known.started)), until, isLater ? ended : (known.ended as number | null)],
      known.id as number,
    )
  }
  const hasRisen = severities.indexOf(finding.severity) > severities.indexOf(known.severity as Severity)
  if (!hasRisen) return false
  database.run(
    'UPDATE alarm SET severity = ?, ms = ?, acknowledged = NULL WHERE id = ?',
    ...[finding.severity, told.atMs, known.id as number],
  )
  return true
}

/** Keeps alarms. */
export class Alarms {
  readonly #database: Database
  readonly #events: UserNodeEvents
  constructor(options: { database: Database; events: UserNodeEvents }) {
    this.#database = options.database
    this.#events = options.events
  }

  /** An alarm about a stream begins at `atMs`. The same `number` again is the same alarm. True if it is new. */
  begin(person: Person, stream: Uint8Array, alarm: { code: StreamAlarmCode; number: number; atMs: number }): boolean {
    const { code, number, atMs } = alarm
    const isNew = this.#database.run(
      'INSERT OR IGNORE INTO alarm (account, ms, code, severity, about) VALUES (?, ?, ?, ?, ?)',
      ...[person.account, atMs, code, severity, aboutStream(stream, number)],
    )
    if (isNew > 0) this.#tell(person, stream, { code, atMs, step: 'began' })
    return isNew > 0
  }

  /** Ends the alarms of a code about a stream that last, those with a number below `below` if it is given. */
  end(person: Person, stream: Uint8Array, alarm: { code: StreamAlarmCode; atMs: number; below?: number }): void {
    const { code, atMs, below = Number.MAX_SAFE_INTEGER } = alarm
    const ended = this.#database.run(
      'UPDATE alarm SET ended = ? WHERE account = ? AND code = ? AND ended IS NULL AND about >= ? AND about < ?',
      ...[atMs, person.account, code, aboutStream(stream, 0), aboutStream(stream, below)],
    )
    if (ended > 0) this.#tell(person, stream, { code, atMs, step: 'ended' })
  }

  /** Somebody fetched a block without access. One alarm for an account and hour, over at once. */
  noticeLook(person: Person, reader: Uint8Array, { hour, atMs }: { hour: number; atMs: number }): void {
    const about = new Uint8Array(accountBytes + 8)
    about.set(reader)
    new DataView(about.buffer).setBigUint64(accountBytes, BigInt(hour))
    const isNew = this.#database.run(
      'INSERT OR IGNORE INTO alarm (account, ms, code, severity, about, ended) VALUES (?, ?, ?, ?, ?, ?)',
      ...[person.account, atMs, lookAlarmCode, severity, about, atMs],
    )
    if (isNew === 0) return
    const told = { code: lookAlarmCode, severity, atMs, step: 'began' }
    this.#events.emit({ type: 'alarm', account: person.id, reader: toHex(reader), ...told })
  }

  /** Somebody else used the op key, up to this generation; or the folder is an older copy. Over at once, and told again only once she has seen it. */
  noticeForeign(person: Person, { generation, atMs }: { generation: number; atMs: number }): void {
    const about = new Uint8Array(8)
    new DataView(about.buffer).setBigUint64(0, BigInt(generation))
    this.#noticeOnce(person, { code: foreignAlarmCode, about, atMs })
  }

  /** The ledger does not have this node's op key in force: the folder is an older copy. One alarm for a key, over at once. */
  noticeReplaced(person: Person, { atMs }: { atMs: number }): void {
    this.#noticeOnce(person, { code: replacedAlarmCode, about: person.opKey.publicKey, atMs })
  }

  /** A device that this node did not add is in force. One alarm for a device, over at once, the next one only once she has seen it. */
  noticeDevice(person: Person, device: Uint8Array, { atMs }: { atMs: number }): void {
    this.#noticeOnce(person, { code: deviceAlarmCode, about: device, atMs })
  }

  /** Told once for what it is about, and not while she has not seen another one of its code: somebody may make as many as he likes. */
  #noticeOnce(person: Person, alarm: { code: string; about: Uint8Array; atMs: number }): void {
    const { code, about, atMs } = alarm
    const isNew = this.#database.run(
      `INSERT OR IGNORE INTO alarm (account, ms, code, severity, about, ended) SELECT ?, ?, ?, 'high', ?, ?
       WHERE NOT EXISTS (SELECT 1 FROM alarm WHERE account = ? AND code = ? AND acknowledged IS NULL)`,
      ...[person.account, atMs, code, about, atMs, person.account, code],
    )
    if (isNew > 0) this.#events.emit({ type: 'alarm', account: person.id, code, severity: 'high', atMs, step: 'began' })
  }

  #tell(person: Person, stream: Uint8Array, alarm: { code: string; atMs: number; step: string }): void {
    this.#events.emit({ type: 'alarm', account: person.id, stream: toHex(stream), severity, ...alarm })
  }

  /** {@link alarmsListedMax} at most, and newest looks besides, oldest first. */
  list(person: Person): AlarmView[] {
    const rank = severities.map((one, index) => `WHEN '${one}' THEN ${index}`).join(' ')
    const first = `acknowledged IS NOT NULL, CASE severity ${rank} END DESC, ms DESC, id DESC`
    const select = (which: string, limit: number): SqlRow[] =>
      this.#database.all(
        `SELECT id, ms, code, severity, about, ended, acknowledged FROM alarm WHERE account = ? AND code ${which} ? ORDER BY ${first} LIMIT ?`,
        ...[person.account, lookAlarmCode, limit],
      )
    const rows = [...select('<>', alarmsListedMax), ...select('=', looksListedMax)]
    rows.sort((a, b) => Number(a.ms) - Number(b.ms) || Number(a.id) - Number(b.id))
    return rows.map((row) => {
      return {
        id: Number(row.id),
        at: iso(Number(row.ms)),
        code: row.code as string,
        severity: row.severity as string,
        about: aboutShown(row.code as string, row.about as Uint8Array | null),
        endedAt: row.ended === null ? null : iso(Number(row.ended)),
        acknowledged: row.acknowledged !== null,
      }
    })
  }

  /** The person has seen it; twice is once. @throws {UserNodeError} `ERR_ALARM_UNKNOWN` if she has no such alarm. */
  acknowledge(person: Person, id: number, atMs: number): void {
    const row = this.#database.get('SELECT 1 FROM alarm WHERE account = ? AND id = ?', person.account, id)
    if (row === undefined) throw new UserNodeError('there is no such alarm', { code: 'ERR_ALARM_UNKNOWN', alarm: id })
    this.#database.run(
      'UPDATE alarm SET acknowledged = ? WHERE account = ? AND id = ? AND acknowledged IS NULL',
      ...[atMs, person.account, id],
    )
  }
}
