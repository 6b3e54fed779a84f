import { isAbsolute, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { callNode, NodeError, nodeAccess } from '../cluster/client.ts'
import { enrolPatient } from '../cluster/enrol.ts'
import { clusterPaths, resolvePerson } from '../cluster/layout.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseSpeed, parseTime, takePositionals } from '../options.ts'
import { formatTable, shortId } from '../table.ts'
import { print, runAction } from './actions.ts'
import { patientDevice, switchDevice } from './device.ts'
import { disclose } from './patient-disclose.ts'
import { erase } from './patient-erase.ts'
import { file } from './patient-file.ts'
import { looks } from './patient-looks.ts'
import { passphrase } from './patient-passphrase.ts'
import { acknowledge, exportPeriod, fetches, findDoctors, receipt, timeline } from './patient-record.ts'
import { rekey } from './patient-rekey.ts'
import { type Context, nameOfDoctor, openSession, type Session, waitForReceipt } from './patient-session.ts'

const help = `Usage: ./healthblock patient ACTION …

  add NAME                              enrol a person at the household's node; returns when committed
  list                                  everybody of the household
  stream NAME --record WFDB             stream a recording: [--from S] [--to S] [--speed N|max] [--wait]
  grant NAME DOCTOR                     give a doctor the keys: [--streams ecg,vitals] [--from ISO] [--until ISO]
  revoke NAME DOCTOR [--wait]           change the keys, without this doctor
  rekey NAME                            her household's key was stolen, or its folder is older than the last rekey: another op key, by her
                                        root key, and new keys for all
  passphrase NAME                       another passphrase: asked without echo, or a line of standard input; a second factor stays on. What
                                        this cluster keeps for its commands is renewed with it
  passphrase NAME --remember            she changed it elsewhere: have the cluster keep the present one, asked for likewise, and checked
  device list NAME                      the devices of hers on the ledger: her node's, and any that somebody else added with a stolen key
  device remove NAME DEVICE             her root key removes one of the latter: its streams close, for ever
  erase NAME --from ISO [--until ISO]   destroy the keys of a period, for ever, and have its blocks removed: [--streams ecg,vitals];
                                        whole epochs (an hour each, as a rule), the first and the last of the period included;
                                        what was erased before is not posted again
  file put NAME PATH [--type MIME]      store a file, sealed; goes on where an interrupted one stopped
  file get NAME FILE --out PATH         fetch one by number or name: [--range FROM-TO] · file list NAME
  file cancel NAME FILE                 give up an upload that was interrupted: files after it wait for it
  readings NAME · diagnoses NAME · grants NAME
  exposure NAME [DOCTOR]                what a doctor can read, could read, or would read after a grant
                                        with [--streams …] [--from ISO] [--until ISO]
  looks NAME [DOCTOR]                   who fetched her records from the storage nodes, by the hour, oldest first: [--limit 100]
  disclose NAME --out FILE              a key file for an auditor: [--streams ecg,vitals] [--from ISO] [--until ISO]
  alarms NAME                           what woke the household: findings, silent devices, lost readings, looks without access
  acknowledge NAME ALARM                she has seen it
  timeline NAME [--limit 100]           the last things that happened, oldest first
  receipt NAME ID --out FILE            the receipt of a transaction of hers, or of a diagnosis of her, for "verify"
  export NAME --out FILE                what she has of a period, as FHIR R4: [--streams ecg,vitals] [--from ISO] [--until ISO]
  fetches NAME --out FILE [--from ISO]  who fetched her blocks, as the storage nodes signed it, for "audit --fetches"
  doctors NAME [TEXT]                   the doctors that the directory knows, with the six words to compare
  device NAME · switch NAME ecg|vitals on|off      as "healthblock device show|switch"

Options: --dir DIR, --json, --passphrase-file FILE (default DIR/secrets/NAME.passphrase),
         --code DIGITS (grant, disclose, erase and passphrase, where she has a second factor: the code of her authenticator app; a security key
         or passkey works in her portal alone)
DOCTOR is a name of this cluster or an account id.
`

async function add(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const added = await enrolPatient(context.dir, context.cluster, name)
  return print(
    context,
    added,
    () => `${name} is enrolled as ${added.did}
Her passphrase is in ${clusterPaths.passphrase(context.dir, name)} (a local cluster only: elsewhere people keep their own).
${
  // An enrolment that was interrupted went on with the keys that it had made.
  added.recoveryPhrase === ''
    ? 'Her recovery phrase was made when the enrolment began: her portal shows it to her.'
    : `Recovery phrase, shown this once: ${added.recoveryPhrase}`
}
`,
  )
}

async function list(context: Context, positionals: string[]): Promise<ExitCode> {
  takePositionals(positionals, [])
  const { dir, cluster } = context
  const people: Record<string, string>[] = []
  for (const { name } of cluster.nodes.filter(({ role }) => role === 'user')) {
    people.push(...(await callNode<Record<string, string>[]>(nodeAccess(dir, cluster, name), 'GET', '/v1/people')))
  }
  // As they were enrolled; whose enrolment was interrupted comes last.
  const places = new Map(cluster.patients.map((person, place) => [person.account, place]))
  const placeOf = ({ account = '' }: Record<string, string>): number => places.get(account) ?? places.size
  people.sort((a, b) => placeOf(a) - placeOf(b))
  return print(context, people, () =>
    formatTable([
      ['name', 'account', 'state'],
      ...people.map((p) => [p.name ?? '', shortId(p.account ?? ''), p.state ?? '']),
    ]),
  )
}

interface Job {
  readonly state: 'running' | 'done' | 'failed'
  readonly batches: number
  readonly batchesTotal: number
  readonly transactions: string[]
  readonly lastSequence: number
  readonly unsent: number
  readonly unstored: number
  readonly error?: string
}

const receiptTimeoutMs = 120_000

async function waitForJob(context: Context, session: Session, job: string): Promise<Job> {
  const startedAt = Date.now()
  for (;;) {
    const state = await callNode<Job>(session.access, 'GET', `/v1/jobs/${job}`)
    if (context.io.interactive) {
      const rate = state.batches / Math.max(1, (Date.now() - startedAt) / 1000)
      const left = rate > 0 ? Math.ceil((state.batchesTotal - state.batches) / rate) : 0
      context.io.stderr(`\r${state.batches} of ${state.batchesTotal} batches, ${rate.toFixed(1)}/s, ${left} s left  `)
    }
    if (state.state === 'running') {
      await delay(100)
      continue
    }
    if (context.io.interactive) context.io.stderr('\n')
    if (state.state === 'failed') throw new CommandError(state.error ?? 'streaming failed')
    return state
  }
}

/** What batches wait for that were not posted. Behind one that no storage node has taken, the others wait for it. */
export function waitingWords({ batches, unsent, unstored }: Pick<Job, 'batches' | 'unsent' | 'unstored'>): string {
  const kept = `${unsent} of ${batches} batches are sealed and kept, and go on record in order as soon as that is over`
  const storage = 'no storage node takes them now (none answers, or they turn this node away: its log says why)'
  const ledger =
    'they are stored, and wait for the ledger (this node has not caught up with it, or does not sign with the key in force: see "patient alarms" and ./healthblock status)'
  return `${unstored > 0 ? storage : ledger}: ${kept}`
}

/** What the node says of a recording, with the path that was looked at: it may lie elsewhere, or have been named with an ending. */
export function recordError(path: string, error: unknown): unknown {
  if (!(error instanceof NodeError) || error.body.code !== 'ERR_RECORD_INVALID' || error.body.field !== 'record')
    return error
  const words = `${error.message}; --record names a WFDB recording by its path without an ending, and was taken as ${path}`
  return new CommandError(words, undefined, { cause: error })
}

async function stream(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const { options, io } = context
  const record = options.record as string | undefined
  if (record === undefined) throw new UsageError('stream needs --record WFDB (a path without its ending)')
  const seconds = (key: string): number | undefined => {
    const text = options[key] as string | undefined
    if (text === undefined) return undefined
    const value = Number(text)
    if (!Number.isFinite(value) || value < 0)
      throw new UsageError(`--${key} takes seconds from the record's start, not "${text}"`)
    return value
  }
  const speed = parseSpeed((options.speed as string | undefined) ?? '1')
  const session = await openSession(context, name)
  const path = (isAbsolute(record) ? record : resolve(record)).replace(/\.hea$/, '')
  const { job } = await callNode<{ job: string }>(session.access, 'POST', `${session.path}/record`, {
    record: path,
    from: seconds('from'),
    to: seconds('to'),
    speed,
  }).catch((error: unknown) => {
    throw recordError(path, error)
  })
  const done = await waitForJob(context, session, job)
  const { batches, transactions, lastSequence, unsent } = done
  const waiting = waitingWords(done)
  if (unsent > 0 && options.wait === true) throw new CommandError(waiting)
  if (unsent > 0) io.stderr(`${waiting}\n`)
  if (options.wait === true) {
    for (const id of transactions) {
      if ((await waitForReceipt(session, id, receiptTimeoutMs)) === undefined)
        throw new CommandError(`${id} is not on the ledger yet: the node keeps trying; see ./healthblock status`)
    }
  }
  if (!context.json) io.stderr(`${batches} batches sealed${options.wait === true ? ', all with receipts' : ''}\n`)
  return print(context, { batches, transactions, lastSequence }, () => transactions.map((id) => `${id}\n`).join(''))
}

async function grant(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, doctorName] = takePositionals(positionals, ['NAME', 'DOCTOR'] as const)
  const { options } = context
  const from = parseTime(options.from as string | undefined, 'from')
  const until = parseTime(options.until as string | undefined, 'until')
  if (from !== undefined && until !== undefined && from >= until)
    throw new UsageError('--until has to lie after --from')
  const doctor = resolvePerson(context.cluster.doctors, doctorName, 'doctor').account
  const session = await openSession(context, name)
  const granted = await callNode<{ transactionId: string }>(session.access, 'POST', `${session.path}/grants`, {
    doctor,
    streams: (options.streams as string | undefined)?.split(',').map((kind) => kind.trim()),
    from,
    until,
    code: options.code,
  })
  const receipt = await waitForReceipt(session, granted.transactionId, 60_000)
  if (receipt === undefined) {
    throw new CommandError(
      `${granted.transactionId} is not committed yet: the node keeps trying; look with "patient grants ${name}"`,
    )
  }
  return print(
    context,
    { transactionId: granted.transactionId, receipt },
    () => `granted: ${granted.transactionId}\nreceipt: ${receipt}\n`,
  )
}

interface Revocation {
  readonly transactionId: string
  readonly changedAt: string
  readonly recordedAt?: string | null
  readonly refusedEverywhereAt?: string | null
  readonly receipt?: string | null
}

async function revoke(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, doctorName] = takePositionals(positionals, ['NAME', 'DOCTOR'] as const)
  const doctor = resolvePerson(context.cluster.doctors, doctorName, 'doctor').account
  const session = await openSession(context, name)
  let state = await callNode<Revocation>(session.access, 'POST', `${session.path}/revocations`, { doctor })
  const isWaiting = context.options.wait === true
  const deadline = Date.now() + (isWaiting ? 60_000 : 10_000)
  const isDone = (): boolean =>
    (isWaiting ? state.refusedEverywhereAt != null : state.recordedAt != null) && state.receipt != null
  while (!isDone() && Date.now() < deadline) {
    await delay(50)
    state = await callNode<Revocation>(session.access, 'GET', `${session.path}/revocations/${state.transactionId}`)
  }
  const result = {
    transactionId: state.transactionId,
    receipt: state.receipt ?? null,
    changedAt: state.changedAt,
    recordedAt: state.recordedAt ?? null,
    refusedEverywhereAt: state.refusedEverywhereAt ?? null,
  }
  print(
    context,
    result,
    () => `keys changed        ${result.changedAt}
on record           ${result.recordedAt ?? 'not yet (the node keeps trying)'}
refused everywhere  ${result.refusedEverywhereAt ?? 'not yet (add --wait)'}
receipt             ${result.receipt ?? 'not yet'}
`,
  )
  return isWaiting && result.refusedEverywhereAt === null ? 1 : 0
}

/** A diagnosis in words. */
function sentences(row: Record<string, unknown>): Record<string, unknown> {
  const findings = row.findings as { sentence: string }[]
  const words =
    findings.map(({ sentence }) => sentence).join(' ') || String(row.text ?? '').trim() || 'nothing to report'
  return { ...row, findings: row.status === 'sealed' ? 'these keys do not open it' : words }
}

type Row = Record<string, unknown>
type Rows = (session: Session, what: string) => Promise<Row[]>

const rowsOf: Rows = (session, what) => callNode<Row[]>(session.access, 'GET', `${session.path}/${what}`)

/** Page by page, from the newest back; oldest first. */
const pagedRowsOf: Rows = async (session, what) => {
  const pages: Row[][] = []
  let before = ''
  for (;;) {
    const path = `${session.path}/${what}?limit=1000${before}`
    const page = await callNode<{ diagnoses: Row[]; next: string | null }>(session.access, 'GET', path)
    pages.unshift(page.diagnoses)
    if (page.next === null) return pages.flat()
    before = `&before=${page.next}`
  }
}

/** Ids that another command asks for: they are printed whole. */
const askedFor = ['grant', 'transactionId']

function cell({ cluster }: Context, column: string, row: Row): string {
  const value = row[column] ?? ''
  if (Array.isArray(value)) return value.join(', ')
  if (typeof value === 'object') return JSON.stringify(value)
  if (column === 'doctor') return nameOfDoctor(cluster, String(value))
  return askedFor.includes(column) ? String(value) : shortId(String(value))
}

function listing(what: string, columns: string[], { inWords = (row: Row) => row, rowsFrom = rowsOf } = {}) {
  return async (context: Context, positionals: string[]): Promise<ExitCode> => {
    const [name] = takePositionals(positionals, ['NAME'] as const)
    const session = await openSession(context, name)
    const rows = await rowsFrom(session, what)
    return print(context, rows, () =>
      formatTable([columns, ...rows.map(inWords).map((row) => columns.map((column) => cell(context, column, row)))]),
    )
  }
}

interface Exposure {
  readonly doctor: string
  readonly kind: string
  readonly state: string
  readonly from: string
  readonly to: string | null
  readonly meaning: string
}

async function exposure(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, doctorName] = positionals
  if (name === undefined || positionals.length > 2) throw new UsageError('needs NAME [DOCTOR]')
  const { options, cluster } = context
  const query = new URLSearchParams()
  if (doctorName !== undefined) query.set('doctor', resolvePerson(cluster.doctors, doctorName, 'doctor').account)
  for (const key of ['from', 'until'] as const) {
    const ms = parseTime(options[key] as string | undefined, key)
    if (ms !== undefined) query.set(key, String(ms))
  }
  const streams = (options.streams as string | undefined)?.split(',').map((kind) => kind.trim())
  if (streams !== undefined) query.set('streams', streams.join())
  if (doctorName === undefined && [...query].length > 0)
    throw new UsageError('--streams, --from and --until ask what a grant would give: name the DOCTOR too')
  const session = await openSession(context, name)
  const report = await callNode<Exposure[]>(session.access, 'GET', `${session.path}/exposure?${query}`)
  return print(
    context,
    report,
    () =>
      report
        .map(
          ({ doctor, kind, state, from, to, meaning }) =>
            `${nameOfDoctor(cluster, doctor)}, ${kind}, ${state}: ${from} to ${to ?? 'no end'}\n  ${meaning}\n`,
        )
        .join('') || 'Nobody was ever given access.\n',
  )
}

async function discloseTo(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const window = await disclose(await openSession(context, name), context.options)
  return print(
    context,
    window,
    () => `Keys of ${window.streams} streams from ${window.from} to ${window.until} are in ${window.file}.
Whoever has this file reads that window: give it to the auditor alone, then: ./healthblock audit --disclose ${window.file}
`,
  )
}

const actions: Record<string, (context: Context, positionals: string[]) => Promise<ExitCode>> = {
  add,
  list,
  stream,
  grant,
  revoke,
  readings: listing('readings', ['sequence', 'kind', 'from', 'to', 'transactionId']),
  diagnoses: listing('diagnoses', ['at', 'doctor', 'status', 'findings'], {
    inWords: sentences,
    rowsFrom: pagedRowsOf,
  }),
  grants: listing('grants', ['doctor', 'streams', 'state', 'from', 'until', 'recordedAt', 'grant']),
  alarms: listing('alarms', ['id', 'at', 'code', 'severity', 'endedAt', 'about']),
  exposure,
  acknowledge,
  timeline,
  receipt,
  export: exportPeriod,
  fetches,
  doctors: findDoctors,
  device: patientDevice,
  looks,
  disclose: discloseTo,
  switch: switchDevice,
  erase,
  file,
  rekey,
  passphrase,
}

const options = {
  record: { type: 'string' },
  out: { type: 'string' },
  from: { type: 'string' },
  to: { type: 'string' },
  until: { type: 'string' },
  speed: { type: 'string' },
  streams: { type: 'string' },
  wait: { type: 'boolean' },
  range: { type: 'string' },
  type: { type: 'string' },
  code: { type: 'string' },
  limit: { type: 'string' },
  'passphrase-file': { type: 'string' },
  remember: { type: 'boolean' },
} as const

/** `./healthblock patient …`. */
export async function runPatient(args: string[], io: Io): Promise<ExitCode> {
  return runAction(args, io, { help, options, actions })
}
