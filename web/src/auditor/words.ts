/** Words for codes: what the ledger calls by a name or a number, people are told in a sentence. */
import { type TextKey, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import type { ChainName, Finding } from './model.ts'

/** What is wrong, in a sentence: by the code; by its family for the rules that a block can break; else the code itself. */
export function findingTitle({ code }: Pick<Finding, 'code'>): string {
  const family = code.split('.', 1)[0] ?? ''
  for (const key of [`auditor.code.${code}`, `auditor.finding.${family}`]) {
    const text = t(key as TextKey)
    if (text !== key) return text
  }
  return code
}

/** A ledger's name for people. */
export function chainWords(chain: ChainName): string {
  return t(`auditor.chain.${chain}`)
}

/** A whole number with the reader's separators. */
export function count(value: number): string {
  return new Intl.NumberFormat(document.documentElement.lang).format(value)
}

/** Where a finding lies: ledger, block, entry, node; what does not apply is left out. */
export function placeWords({ chain, height, index, node }: Finding): string[] {
  return [
    ...(node === null ? [] : [t('auditor.place.node', { node })]),
    ...(chain === null ? [] : [chainWords(chain)]),
    ...(height === null ? [] : [t('auditor.place.block', { height: count(height) })]),
    ...(index === null ? [] : [t('auditor.place.entry', { index: count(index) })]),
  ]
}

/** A moment, or a dash for none. */
export function momentOr(ms: number | null): string {
  return ms === null ? '–' : formatMoment(ms)
}

/** A length of time in seconds, short. */
export function secondsWords(seconds: number | null): string {
  if (seconds === null) return '–'
  if (seconds < 10)
    return `${new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: 1 }).format(seconds)} s`
  return seconds < 100 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`
}
