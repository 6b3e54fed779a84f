/** Changes of the source that a simulated build is made with. */

/** One change: `from` stands exactly once in `file` (`accounting-node/…` or `chain/…`, below the room's `src`). */
export interface SourceChange {
  readonly file: string
  readonly from: string
  readonly to: string
}

/** A build with changes. */
export interface Variant {
  readonly name: string
  readonly changes: readonly SourceChange[]
}
