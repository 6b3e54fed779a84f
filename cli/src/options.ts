import { type ParseArgsConfig, parseArgs } from 'node:util'
import { type ExitCode, type Io, UsageError } from './io.ts'

/** Options of a command, as `parseArgs` takes them. */
export type Options = NonNullable<ParseArgsConfig['options']>

/** Options that every command has. */
export const commonOptions = {
  dir: { type: 'string' },
  json: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies Options

/**
 * Parses a command's arguments together with the common options.
 *
 * @throws {UsageError} for an option whose value is empty: a variable of a script that was never set must not name the present folder.
 */
export function parseOptions<T extends Options>(args: string[], options: T) {
  const parsed = parseArgs({ args, options: { ...commonOptions, ...options }, allowPositionals: true, strict: true })
  for (const [name, value] of Object.entries(parsed.values))
    if ([value].flat().includes('')) throw new UsageError(`--${name} is empty`)
  return parsed
}

/** What is wrong with options that `parseArgs` refused, in a line: it says it in three, about positional arguments that nobody meant. Undefined for another error. */
export function optionWords(error: unknown): string | undefined {
  // The code of another error may be anything, as the number with which a process ended.
  if (!(error instanceof Error) || !String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS'))
    return undefined
  const { message } = error
  const option = /'(?:-\w, )?(--?[^ ']+)/.exec(message)?.[1] ?? ''
  if (message.startsWith('Unknown option')) return `there is no option ${option}`
  if (message.includes('is ambiguous'))
    return `${option} needs a value; one that begins with a dash is written ${option}=-1`
  if (message.includes('argument missing')) return `${option} needs a value`
  if (message.includes('does not take an argument')) return `${option} takes no value`
  return message
}

/** What a command with actions says when none is named: its help, which was asked for or is a reproach (and then no result). */
export function tellHelp(help: string, isAsked: boolean, io: Io): ExitCode {
  if (isAsked) io.stdout(help)
  else io.stderr(help)
  return isAsked ? 0 : 2
}

/** A whole number within limits. @throws {UsageError} naming the option. */
export function parseCount(
  text: string | undefined,
  name: string,
  limits: { least: number; most: number; preset: number },
): number {
  if (text === undefined) return limits.preset
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < limits.least || value > limits.most) {
    throw new UsageError(`--${name} takes a whole number from ${limits.least} to ${limits.most}, not "${text}"`)
  }
  return value
}

/** How much faster than real time a record is streamed. @throws {UsageError} for anything but a positive number or max. */
export function parseSpeed(text: string): number | 'max' {
  if (text === 'max') return text
  const speed = Number(text)
  if (!(speed > 0 && Number.isFinite(speed)))
    throw new UsageError(`--speed takes a positive number or max, not "${text}"`)
  return speed
}

const isoTime = /^(\d{4})-(\d\d)-(\d\d)(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?$/

/**
 * Milliseconds of an ISO 8601 time: a date alone begins at midnight UTC, a time without a zone is of this machine's.
 *
 * @throws {UsageError} naming the option, also for a day that no calendar has.
 */
export function parseTime(text: string | undefined, name: string): number | undefined {
  if (text === undefined) return undefined
  const [, year, month, day] = isoTime.exec(text) ?? []
  const daysOfMonth = new Date(Date.UTC(Number(year), Number(month), 0)).getUTCDate()
  const ms = Number(day) <= daysOfMonth ? Date.parse(text.replace(',', '.')) : Number.NaN
  if (Number.isNaN(ms))
    throw new UsageError(`--${name} takes an ISO 8601 time such as 2026-05-01T08:00:00Z, not "${text}"`)
  return ms
}

/** Exactly the named positional arguments. @throws {UsageError} saying which are missing or too many. */
export function takePositionals<const Names extends readonly string[]>(
  positionals: string[],
  names: Names,
): { [K in keyof Names]: string } {
  if (positionals.length !== names.length) throw new UsageError(`needs ${names.join(' ') || 'no arguments'}`)
  return positionals as unknown as { [K in keyof Names]: string }
}
