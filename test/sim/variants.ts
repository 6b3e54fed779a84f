/** Builds of the accounting node with deliberate faults: each is a few lines of its source text, changed when it is loaded. */

/** One change: `from` stands exactly once in `file` (below `services/accounting-node/src/`). */
export interface SourceChange {
  readonly file: string
  readonly from: string
  readonly to: string
}

const variants: Record<string, readonly SourceChange[]> = { 'bad-anchor': [], 'bad-equivocation': [] }

/**
 * The changes of a variant.
 *
 * @throws {Error} if there is no such variant.
 */
export function changesOf(name: string): readonly SourceChange[] {
  const found = variants[name]
  if (found === undefined) throw new Error(`there is no variant ${name}`)
  return found
}
