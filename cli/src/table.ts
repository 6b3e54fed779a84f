import { plainText } from '@healthblock/runtime/plain-text'

/** Lays rows out in columns for a terminal; the first row is the head. What cannot be seen in a cell, or would break its line, is U+FFFD. */
export function formatTable(given: readonly (readonly string[])[]): string {
  const rows = given.map((row) => row.map(plainText))
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

/** Text of several lines, with names that people gave, as a terminal may have it: each line as {@link plainText}. */
export function plainLines(text: string): string {
  return text.split('\n').map(plainText).join('\n')
}

/** The first characters of a long id, for people; anything else as it is. */
export function shortId(id: string): string {
  return /^[0-9a-f]{32,}$/.test(id) ? `${id.slice(0, 12)}…` : id
}
