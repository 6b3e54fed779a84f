/** Plain words for what the node tells in codes. */
import { currentLanguage, type TextKey, t } from '../frame/texts.ts'
import { formatMoment, formatRange } from '../frame/time.ts'
import type { Exposure } from './model.ts'

/** Streams that can be granted, in the order in which they are offered. */
export const streamKinds = ['ecg', 'vitals', 'records', 'profile'] as const
/** Numbers of purposes (services/user-node SPEC.md §5). */
export const purposes = [0, 1, 2, 3, 4] as const

/** Marks that turn the direction of what follows, and those that end a line: a name does nothing to the sentence around it. */
const marks = /[\p{Cc}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

/** A name as it stands in a sentence: in its own direction, and without a hold on ours. */
export function isolated(name: string): string {
  return `\u2068${name.replaceAll(marks, '')}\u2069`
}

/** The text of a key that is put together, or of another one where there is none. */
export function known(key: string, otherwise: TextKey): string {
  const text = t(key as TextKey)
  return text === key ? t(otherwise) : text
}

/** "Heart (ECG)" */
export function streamName(kind: string): string {
  return known(`patient.stream.${kind}`, 'patient.stream.other')
}

/** "Heart (ECG), vital signs" */
export function streamList(kinds: readonly string[]): string {
  return new Intl.ListFormat(currentLanguage(), { type: 'conjunction' }).format(kinds.map(streamName))
}

/** What an access is for. */
export function purposeName(purpose: number): string {
  return known(`patient.purpose.${purpose}`, 'patient.purpose.other')
}

/** What a finding or an alarm is called. */
export function findingName(code: string): string {
  return known(`patient.finding.${code}`, 'patient.finding.other')
}

/** How urgent something is. */
export function severityName(severity: string): string {
  return known(`patient.severity.${severity}`, 'patient.severity.info')
}

/** What was fetched of it; nothing is said where there was nothing to fetch. */
function fetchedWords({ records, fetched }: Exposure): string {
  return records === 0 ? '' : ` ${t('patient.exposure.fetched', { fetched, records })}`
}

/** What of an access could be read until now, stream by stream; a line of its own where there is nothing. */
export function readableWords(rows: readonly Exposure[]): string[] {
  const words = rows.flatMap((row) => {
    const { kind, records, measuredFrom, measuredTo } = row
    if (records === 0 || measuredFrom === null || measuredTo === null) return []
    const readings = t('patient.exposure.count', { count: records, range: formatRange(measuredFrom, measuredTo) })
    return [t('patient.revoke.could', { what: streamName(kind), readings }) + fetchedWords(row)]
  })
  return words.length === 0 ? [t('patient.revoke.nothing')] : words
}

/** One stream of an access: what can, could or will be read, and what was fetched. */
export function exposureWords(row: Exposure): string {
  const { kind, state, records, measuredFrom, measuredTo, to } = row
  const what = streamName(kind)
  const readings =
    records === 0 || measuredFrom === null || measuredTo === null
      ? t('patient.exposure.none')
      : t('patient.exposure.count', {
          ...{ count: records, range: formatRange(measuredFrom, measuredTo) },
        })
  if (state === 'refused') return t('patient.exposure.refused', { what })
  if (state === 'ended' || state === 'expired') {
    return (
      t(records === 0 ? 'patient.exposure.nothing' : 'patient.exposure.held', { what, readings }) + fetchedWords(row)
    )
  }
  const end = to === null ? t('patient.exposure.endless') : t('patient.exposure.until', { until: formatMoment(to) })
  if (state === 'open') return t('patient.exposure.open', { what, readings, end }) + fetchedWords(row)
  return t('patient.exposure.before', { what, readings, end })
}
