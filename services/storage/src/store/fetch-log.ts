/**
 * Who fetched what and when: one file an hour, `fetches/<hours since 1970>.log`, to which lines are only added:
 * `<Unix ms> <account, hex> <CID>`. It is written at once and flushed within a second.
 */
import { closeSync, fdatasync, mkdirSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { toHex } from '@healthblock/encoding/bytes'

const hourMs = 3_600_000
const flushIntervalMs = 1000

/** The log of one node. */
export class FetchLog {
  readonly #folder: string
  #hour = -1
  #file: number | undefined
  #dirty = false
  readonly #timer: NodeJS.Timeout

  constructor(folder: string) {
    this.#folder = folder
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    this.#timer = setInterval(() => this.#flush(), flushIntervalMs)
    this.#timer.unref()
  }

  /** Adds a line. */
  add(entry: { at: number; account: Uint8Array; cid: string }): void {
    const hour = Math.floor(entry.at / hourMs)
    if (hour !== this.#hour || this.#file === undefined) {
      if (this.#file !== undefined) closeSync(this.#file)
      this.#file = openSync(join(this.#folder, `${hour}.log`), 'a', 0o600)
      this.#hour = hour
    }
    writeSync(this.#file, `${entry.at} ${toHex(entry.account)} ${entry.cid}\n`)
    this.#dirty = true
  }

  #flush(): void {
    if (!this.#dirty || this.#file === undefined) return
    this.#dirty = false
    // A failed flush is tried again with the next line; the line itself is written.
    fdatasync(this.#file, () => {})
  }

  /** Closes the file. */
  close(): void {
    clearInterval(this.#timer)
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }
}
