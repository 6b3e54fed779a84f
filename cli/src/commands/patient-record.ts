/** `patient timeline|receipt|fetches|acknowledge|doctors`: what happened to a person's data, with its proofs; and whom she could let read it. */
import { writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { callNode } from '../cluster/client.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { parseCount, parseTime, takePositionals } from '../options.ts'
import { formatTable, shortId } from '../table.ts'
import { print } from './actions.ts'
import { saveBundle } from './bundle-file.ts'
import { type Context, nameOfDoctor, openSession, type Session } from './patient-session.ts'

interface Entry {
  readonly at: string
  readonly kind: string
  readonly state: string
  readonly what: string | null
  readonly doctor: string | null
  readonly transactionId: string | null
}

const downloadMsMax = 120_000
/** Most entries of one page of the node. */
const pageMax = 500

/** The newest entries, oldest first. */
export async function timeline(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const limits = { least: 1, most: 100_000, preset: 100 }
  const wanted = parseCount(context.options.limit as string | undefined, 'limit', limits)
  const session = await openSession(context, name)
  const entries: Entry[] = []
  let after: string | null = ''
  while (after !== null && entries.length < wanted) {
    const query = new URLSearchParams({ limit: String(Math.min(pageMax, wanted - entries.length)) })
    if (after !== '') query.set('after', after)
    type Page = { entries: Entry[]; next: string | null }
    const page: Page = await callNode<Page>(session.access, 'GET', `${session.path}/timeline?${query}`)
    entries.push(...page.entries)
    after = page.next
  }
  entries.reverse()
  return print(context, entries, () =>
    formatTable([
      ['at', 'kind', 'state', 'what', 'doctor', 'transaction'],
      ...entries.map(({ at, kind, state, what, doctor, transactionId }) => [
        ...[at, kind, state, what ?? '', nameOfDoctor(context.cluster, doctor ?? ''), transactionId ?? ''],
      ]),
    ]),
  )
}

/** Writes the receipt of one of her transactions, byte for byte as the ledger gave it. */
export async function receipt(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, id] = takePositionals(positionals, ['NAME', 'ID'] as const)
  const { out } = context.options
  if (typeof out !== 'string') throw new UsageError('receipt needs --out FILE')
  if (!/^[0-9a-f]{64}$/.test(id)) throw new UsageError(`ID is a transaction id, not "${id}"`)
  const session = await openSession(context, name)
  const response = await download(session, `receipts/${id}`)
  if (response.status === 404) throw new CommandError(`there is no receipt of ${id} yet`)
  const file = await save(session, response, out)
  return print(context, { transactionId: id, receipt: file }, () => `${file}\n`)
}

function download({ access, path }: Session, what: string): Promise<Response> {
  return fetch(new URL(`${path}/${what}`, access.url), {
    headers: { authorization: `Bearer ${access.bearer}` },
    signal: AbortSignal.timeout(downloadMsMax),
  })
}

/** Writes an answer's bytes as they came; returns the file's whole path. */
async function save({ access }: Session, response: Response, out: string): Promise<string> {
  if (!response.ok) throw new CommandError(`${access.name} answered ${response.status}`)
  const file = resolve(out)
  await writeFile(file, new Uint8Array(await response.arrayBuffer()), { mode: 0o600 }).catch((cause: unknown) => {
    throw new CommandError(`${file} cannot be written: ${(cause as Error).message}`, undefined, { cause })
  })
  return file
}

/** Writes what the storage nodes signed of who fetched her blocks, for `audit --fetches`; exit code 1 if one of them did not answer. */
export async function fetches(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const { out, from } = context.options
  if (typeof out !== 'string') throw new UsageError('fetches needs --out FILE')
  const since = parseTime(from as string | undefined, 'from') ?? 0
  const session = await openSession(context, name)
  const response = await download(session, `fetches?since=${since}`)
  const file = await save(session, response, out)
  const [unreachable, cut] = ['unreachable', 'cut'].map((header) =>
    Number(response.headers.get(`healthblock-${header}`)),
  )
  if (unreachable) context.io.stderr(`${unreachable} storage nodes did not answer: their part is missing\n`)
  if (cut) context.io.stderr(`${cut} storage nodes have more than fits: go on with a later --from\n`)
  print(context, { file, unreachable, cut }, () => `${file}\nNow: ./healthblock audit --fetches ${file}\n`)
  return unreachable ? 1 : 0
}

/** Writes what she has of a period as a FHIR R4 Bundle; the file is there whole, or not at all. */
export async function exportPeriod(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const { out, from, until, streams } = context.options
  if (typeof out !== 'string') throw new UsageError('export needs --out FILE')
  const query = new URLSearchParams()
  for (const [key, text] of Object.entries({ from, until })) {
    const ms = parseTime(text as string | undefined, key)
    if (ms !== undefined) query.set(key, String(ms))
  }
  if (typeof streams === 'string') query.set('streams', streams)
  const session = await openSession(context, name)
  const saved = await saveBundle(session.access, `${session.path}/fhir?${query}`, out)
  return print(context, saved, () => `${saved.file}, ${saved.resources} resources\n`)
}

/** Notes that she has seen an alarm. */
export async function acknowledge(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, alarm] = takePositionals(positionals, ['NAME', 'ALARM'] as const)
  if (!/^[1-9]\d{0,9}$/.test(alarm)) throw new UsageError(`ALARM is an id of "patient alarms", not "${alarm}"`)
  const session = await openSession(context, name)
  await callNode(session.access, 'POST', `${session.path}/alarms/${alarm}/acknowledge`, {})
  return print(context, { alarm: Number(alarm), acknowledged: true }, () => `alarm ${alarm} is acknowledged\n`)
}

interface Contact {
  readonly account: string
  readonly petname: string | null
  readonly name: string | null
  readonly role: number
  readonly isLicensed: boolean
  readonly words: readonly string[]
  readonly isCardRight: boolean
}

function standing({ role, isLicensed, isCardRight }: Contact): string {
  if (!isCardRight) return 'the card speaks of another key than the ledger'
  return role !== 2 || isLicensed ? 'licensed' : 'no licence in force'
}

/** The directory as she sees it: compare the six words with the doctor before granting. */
export async function findDoctors(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, text = '', ...more] = positionals
  if (name === undefined || more.length > 0) throw new UsageError('needs NAME [TEXT]')
  const { access, path } = await openSession(context, name)
  type Answer = { found: Contact[]; isMore: boolean; unreachable: number }
  const query = new URLSearchParams({ q: text })
  const { found, isMore, unreachable } = await callNode<Answer>(access, 'GET', `${path}/directory?${query}`)
  if (isMore) context.io.stderr(`there are more than these ${found.length}: say more of the name\n`)
  if (unreachable > 0)
    context.io.stderr(`accounting nodes that did not answer: ${unreachable}; whom they alone list is missing\n`)
  return print(context, found, () =>
    formatTable([
      ['name', 'account', 'standing', 'six words'],
      ...found.map((contact) => [
        ...[contact.petname ?? contact.name ?? '', shortId(contact.account), standing(contact)],
        contact.words.join(' '),
      ]),
    ]),
  )
}
