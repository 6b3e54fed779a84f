/** What a program found, in the reader's language. The sentence that is on record is English and stays so; its figures are said again. */
import { currentLanguage, t } from '../frame/texts.ts'
import { locale } from '../frame/time.ts'
import { readSentence } from './figures.ts'

/** A figure with the reader's decimal sign. */
function figureText(text: string): string {
  if (!/^\d+\.\d$/.test(text)) return text
  return new Intl.NumberFormat(locale(), { minimumFractionDigits: 1, useGrouping: false }).format(Number(text))
}

/** The sentence in the reader's language; undefined if it is of a kind that is not known, as from a program of another version. */
export function saidFinding(code: string, sentence: string): string | undefined {
  if (currentLanguage() === 'en') return sentence
  const read = readSentence(code, sentence)
  if (read === undefined) return undefined
  const figures = Object.entries(read.figures).map(([name, text]) => [name, figureText(text)])
  return t(read.key, Object.fromEntries(figures))
}
