/** Lays rows out in columns for a terminal; the first row is the head. */
export function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => cell.padEnd(widths[column] as number))
      .join('  ')
      .trimEnd()
  return rows.map((row) => `${line(row)}\n`).join('')
}

/** The first characters of a long id, for people; anything else as it is. */
export function shortId(id: string): string {
  return /^[0-9a-f]{32,}$/.test(id) ? `${id.slice(0, 12)}…` : id
}
