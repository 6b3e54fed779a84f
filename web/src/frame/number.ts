/** Figures with the reader's decimal sign. */
import { currentLanguage } from './texts.ts'

/** A measured value with at most one decimal: "38.6" in English, "38,6" in German. */
export function formatValue(value: number, language: string = currentLanguage()): string {
  return new Intl.NumberFormat(language, {
    maximumFractionDigits: 1,
    useGrouping: false,
    signDisplay: 'negative',
  }).format(value)
}

/** A text whose figures are written as in English, with those that have one or two decimals in the reader's writing. */
export function localFigures(text: string, language: string = currentLanguage()): string {
  return text.replaceAll(/\d+\.(\d{1,2})(?!\d)/g, (figure, decimals: string) =>
    new Intl.NumberFormat(language, { minimumFractionDigits: decimals.length, useGrouping: false }).format(
      Number(figure),
    ),
  )
}
