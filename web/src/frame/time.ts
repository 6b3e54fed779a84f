/** Times in the reader's zone, which is always shown. */
import { nodeNowMs } from './api.ts'
import { currentLanguage } from './texts.ts'

/** A moment as Unix milliseconds or ISO 8601. */
export type Moment = number | string

/** English as it is written in Europe, with the day first and 24 hours: no "02" can be taken for the afternoon. */
export function locale(): string {
  const language = currentLanguage()
  return language === 'en' ? 'en-GB' : language
}

/** Formatters are dear to make (some 0.1 ms), and a long list needs the same one for each row. */
const formatters = new Map<string, Intl.DateTimeFormat>()

function formatterOf(options: Intl.DateTimeFormatOptions): Intl.DateTimeFormat {
  const key = `${locale()} ${Object.keys(options).join(' ')}`
  let formatter = formatters.get(key)
  if (formatter === undefined) {
    formatter = new Intl.DateTimeFormat(locale(), options)
    formatters.set(key, formatter)
  }
  return formatter
}

function formatted(options: Intl.DateTimeFormatOptions, moment: Moment): string {
  return formatterOf(options).format(msOf(moment))
}

function msOf(moment: Moment): number {
  return typeof moment === 'number' ? moment : Date.parse(moment)
}

/** Date, time and zone, for example "27 Nov 2026, 14:03 CET". */
export function formatMoment(moment: Moment): string {
  const day = { day: 'numeric', month: 'short', year: 'numeric' } as const
  return formatted({ ...day, hour: '2-digit', minute: '2-digit', timeZoneName: 'short' }, moment)
}

/** As `formatMoment`, with seconds: where many things lie in one minute. */
export function formatInstant(moment: Moment): string {
  const day = { day: 'numeric', month: 'short', year: 'numeric' } as const
  return formatted({ ...day, hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' }, moment)
}

/** From when to when, with what both have in common said once: "27 Nov 2026, 14:03–14:20 CET". */
export function formatRange(from: Moment, to: Moment): string {
  const day = { day: 'numeric', month: 'short', year: 'numeric' } as const
  return formatterOf({ ...day, hour: '2-digit', minute: '2-digit', timeZoneName: 'short' }).formatRange(
    msOf(from),
    Math.max(msOf(from), msOf(to)),
  )
}

/** Time of day with seconds, beside a time that shows the zone. */
export function formatClock(moment: Moment): string {
  return formatted({ hour: '2-digit', minute: '2-digit', second: '2-digit' }, moment)
}

/** Time of day with seconds and zone. */
export function formatTime(moment: Moment): string {
  return formatted({ hour: '2-digit', minute: '2-digit', second: '2-digit', timeZoneName: 'short' }, moment)
}

const units: readonly (readonly [Intl.RelativeTimeFormatUnit, number])[] = [
  ['year', 31_557_600_000],
  ['month', 2_629_800_000],
  ['day', 86_400_000],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
]

let relativeFormat: { readonly language: string; readonly format: Intl.RelativeTimeFormat } | undefined

/** Made once per language: a list of a thousand ages asks for it a thousand times. */
function relative(): Intl.RelativeTimeFormat {
  const language = currentLanguage()
  if (relativeFormat?.language !== language)
    relativeFormat = { language, format: new Intl.RelativeTimeFormat(language, { numeric: 'auto' }) }
  return relativeFormat.format
}

/** How long ago, or until when, in the largest fitting unit: "3 minutes ago", "in 2 days". Counted by the node's clock. */
export function formatAgo(moment: Moment, nowMs = nodeNowMs()): string {
  const difference = msOf(moment) - nowMs
  // Rounded, so that a year from now is not "in 11 months" a second later.
  const [unit, size] = units.find(([, length]) => Math.abs(difference) >= length * 0.98) ?? (['second', 1_000] as const)
  return relative().format(Math.round(difference / size), unit)
}

/** A length of time: "1 h 20 min", "45 s". */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  if (minutes < 60) return `${minutes} min`
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
