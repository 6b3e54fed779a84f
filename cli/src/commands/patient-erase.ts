import { callNode } from '../cluster/client.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { parseTime, takePositionals } from '../options.ts'
import { print } from './actions.ts'
import { type Context, openSession, waitForReceipt } from './patient-session.ts'

interface Erased {
  readonly transactionId: string | null
  readonly isRepeated: boolean
  readonly from: string
  readonly until: string
  readonly ranges: readonly { stream: string; from: number; to: number }[]
  readonly cids: readonly string[]
  readonly late: LateReadings | null
}

/** Readings that were measured in the period and came after its hours: they are sealed under later keys, and go with an erasure until then. */
interface LateReadings {
  readonly records: number
  readonly until: string
}

const eraseTimeoutMs = 120_000

/** Of so many blocks the command that asks for them is printed; a day of readings has thousands. */
const cidsShown = 4

/** How to see later that the blocks are gone: a line, or nothing if there were none. */
export function proofWords(cids: readonly string[]): string {
  if (cids.length === 0) return ''
  const more = cids.length > cidsShown ? `   (and ${cids.length - cidsShown} blocks more, which --json lists)` : ''
  return `proof later  ./healthblock storage proof ${cids.slice(0, cidsShown).join(' ')}${more}\n`
}

/** What was not erased, and how it would be: a line, or nothing. */
export function lateWords(late: LateReadings | null, command: string): string {
  if (late === null) return ''
  const { records, until } = late
  const which =
    records === 1
      ? '1 reading of that time came later and stays'
      : `${records} readings of that time came later and stay`
  return `not erased   ${which}; with ${command} --until ${until} what came until then goes, too\n`
}

/** `./healthblock patient erase NAME --from ISO [--until ISO] [--streams …]`. */
export async function erase(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const { options } = context
  const from = parseTime(options.from as string | undefined, 'from')
  if (from === undefined) throw new UsageError('erase needs --from ISO')
  const until = parseTime(options.until as string | undefined, 'until') ?? Date.now()
  const streams = (options.streams as string | undefined)?.split(',').map((kind) => kind.trim())
  const session = await openSession(context, name)
  const body = { from, until, ...(streams === undefined ? {} : { streams }), code: options.code }
  const erased = await callNode<Erased>(session.access, 'POST', `${session.path}/erasures`, body, eraseTimeoutMs)
  const { transactionId } = erased
  const receipt = transactionId === null ? null : await waitForReceipt(session, transactionId, eraseTimeoutMs)
  if (receipt === undefined) {
    throw new CommandError(`the keys are destroyed; ${transactionId} is not committed yet: the node keeps trying`)
  }
  return print(context, { ...erased, receipt }, () => {
    const records = erased.ranges.reduce((sum, { from: first, to }) => sum + to - first + 1, 0)
    const what = erased.isRepeated
      ? 'were erased before; nothing was posted again'
      : 'keys destroyed, blocks are removed after the time for disputes'
    return `${records} records from ${erased.from} to ${erased.until}: ${what}
receipt      ${receipt ?? 'none: there was nothing on record'}
${proofWords(erased.cids)}${lateWords(erased.late, `patient erase ${name} --from ${new Date(from).toISOString()}`)}`
  })
}
