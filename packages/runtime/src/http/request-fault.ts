/** What requests must not bring, whatever a schema lets pass. */

/** What a request brings is nested less deep: everything that walks through it afterwards may do so by recursion. */
const depthMax = 64

/** Where in a request something stands that must not be there, and what is wrong with it. */
export interface RequestFault {
  /** Path, such as `body/readings/0/value`. */
  readonly field: string
  readonly reason: string
}

/**
 * Looks for a number that is not finite (a text such as `1e400` becomes one when it is read as a number, and passes every limit of a schema),
 * and for lists and objects 65 deep.
 */
export function findRequestFault(value: unknown, field: string, depth = 0): RequestFault | undefined {
  if (typeof value === 'number') return Number.isFinite(value) ? undefined : { field, reason: 'not a finite number' }
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return undefined
  if (depth === depthMax) return { field, reason: `nested more than ${depthMax} deep` }
  for (const [name, inner] of Object.entries(value)) {
    const found = findRequestFault(inner, `${field}/${name}`, depth + 1)
    if (found !== undefined) return found
  }
  return undefined
}
