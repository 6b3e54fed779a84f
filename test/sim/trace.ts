/** What happened in a run, as a hash, and as text if somebody wants to read it. Two runs of one seed have one hash, in every folder. */
import type { Scheduler } from './scheduler.ts'

/** Bytes of a value that go into the hash: a change of any other would change its length or a later event. */
const sampledBytes = 48

/** The trace of one run. */
export class Trace {
  readonly #scheduler: Scheduler
  readonly #print: ((line: string) => void) | undefined
  #a = 0x811c9dc5
  #b = 0x1b873593

  /** With `print` each step is also a line of text. */
  constructor(scheduler: Scheduler, print?: (line: string) => void) {
    this.#scheduler = scheduler
    this.#print = print
  }

  #mix(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x01000193)
    this.#b = Math.imul((this.#b ^ value) + 0x7f4a7c15, 0x85ebca6b) ^ (this.#b >>> 13)
  }

  /** One step: what it was, whose, and what it was about. `remark` is for who reads along, and no part of the hash: it may name paths. */
  step(what: string, rank: number, detail: string | number | Uint8Array | undefined, remark?: () => string): void {
    this.#mix(Math.floor(this.#scheduler.nowMs * 1024))
    this.#mix(this.#scheduler.count)
    for (let i = 0; i < what.length; i++) this.#mix(what.charCodeAt(i))
    this.#mix(rank + 1)
    if (typeof detail === 'number') this.#mix(detail)
    else if (typeof detail === 'string') for (let i = 0; i < detail.length; i++) this.#mix(detail.charCodeAt(i))
    else if (detail !== undefined) this.#bytes(detail)
    if (this.#print === undefined) return
    const about = detail instanceof Uint8Array ? `${detail.length} bytes` : (detail ?? '')
    const time = (this.#scheduler.nowMs / 1000).toFixed(4).padStart(8)
    this.#print(`${time} ${rank < 0 ? '-' : rank} ${what} ${about}${remark === undefined ? '' : ` ${remark()}`}`)
  }

  #bytes(bytes: Uint8Array): void {
    this.#mix(bytes.length)
    const stride = Math.max(1, Math.floor(bytes.length / sampledBytes))
    for (let i = bytes.length - 1; i >= 0; i -= stride) this.#mix(bytes[i] as number)
  }

  /** 16 hexadecimal characters. */
  hash(): string {
    const part = (value: number): string => (value >>> 0).toString(16).padStart(8, '0')
    return part(this.#a) + part(this.#b)
  }
}
