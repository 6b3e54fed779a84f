/** Something that is not as it must be. */
export interface Finding {
  readonly code: string
  /** Absent for files of the whole node. */
  readonly chain?: string
  readonly height?: number
  readonly index?: number
  /** Path below the node's folder. */
  readonly file: string
  readonly message: string
}

/** What a check found, and what it noticed that is no fault. */
export class FindingList {
  readonly findings: Finding[] = []
  readonly notes: string[] = []

  /** Records a fault. */
  add(finding: Finding): void {
    this.findings.push(finding)
  }

  /** Records what a crash may leave behind. */
  note(words: string): void {
    this.notes.push(words)
  }
}
