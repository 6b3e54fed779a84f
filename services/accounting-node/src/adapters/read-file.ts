import { closeSync, openSync, readSync, statSync } from 'node:fs'

/** A file that is only read, as long as it was when it was opened. */
export class ReadFile {
  readonly #descriptor: number
  readonly #size: number

  constructor(path: string) {
    this.#descriptor = openSync(path, 'r')
    this.#size = statSync(path).size
  }

  /** Bytes. */
  size(): number {
    return this.#size
  }

  /** As many bytes as there are, at most `length`. */
  read(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(length, this.#size - offset)))
    const count = readSync(this.#descriptor, bytes, 0, bytes.length, offset)
    return bytes.subarray(0, count)
  }

  /** Closes it. */
  close(): void {
    closeSync(this.#descriptor)
  }
}
