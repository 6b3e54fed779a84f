/** Numbers that requests must not bring. */

/**
 * The place of a number that is not finite in what a request brought: a text such as `1e400` becomes one when it is read as a number,
 * and passes every limit of a schema.
 */
export function findNonFinite(value: unknown, place: string): string | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : place
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return undefined
  for (const [name, inner] of Object.entries(value)) {
    const found = findNonFinite(inner, `${place}/${name}`)
    if (found !== undefined) return found
  }
  return undefined
}
