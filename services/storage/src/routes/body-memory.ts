/**
 * Memory of large bodies, used again. The writer's thread sees it too, so that it would be free only once both threads
 * have looked for garbage; and fresh memory costs more in page faults than to fill it.
 */

/** What is kept for the next bodies at most; of that, less and less the longer nobody asks. */
const spareBytesMax = 32 * 1024 * 1024
const sweepMsPreset = 1000
/** From so many bytes on that nobody asked for, and that are let go at once, somebody is told. */
const freedBytesMin = 8 * 1024 * 1024
/** Sizes are multiples of this: pages that nobody touches are none. */
const stepBytes = 128 * 1024

/** Memory of one size that waits. */
interface Shelf {
  /** What was given back last is at the end. */
  readonly spare: SharedArrayBuffer[]
  /** Fewest that lay here since the last sweep: so many were not needed. */
  unused: number
}

/** Lends memory and takes it back. */
export class BodyMemory {
  readonly #shelves = new Map<number, Shelf>()
  readonly #timer: NodeJS.Timeout
  readonly #onFreed: () => void
  #bytes = 0

  /**
   * @param options.sweepMs - how often what nobody asked for goes; 1 s by default.
   * @param options.onFreed - called when much was let go: it is free once both threads have looked for garbage.
   */
  constructor({
    sweepMs = sweepMsPreset,
    onFreed = () => {},
  }: { sweepMs?: number | undefined; onFreed?: (() => void) | undefined } = {}) {
    this.#onFreed = onFreed
    this.#timer = setInterval(() => this.#sweep(), sweepMs)
    this.#timer.unref()
  }

  /** A buffer of a size, with any bytes in it. */
  take(sizeBytes: number): Buffer {
    const size = Math.max(1, Math.ceil(sizeBytes / stepBytes)) * stepBytes
    const shelf = this.#shelves.get(size)
    const memory = shelf?.spare.pop()
    if (!shelf || !memory) return Buffer.from(new SharedArrayBuffer(size), 0, sizeBytes)
    this.#bytes -= size
    shelf.unused = Math.min(shelf.unused, shelf.spare.length)
    return Buffer.from(memory, 0, sizeBytes)
  }

  /** Takes a buffer back if it is one of {@link take}. Nobody may look at it any more: neither this thread nor the writer's. */
  giveBack(buffer: Buffer): void {
    const memory = buffer.buffer
    if (!(memory instanceof SharedArrayBuffer) || this.#bytes + memory.byteLength > spareBytesMax) return
    const shelf = this.#shelves.get(memory.byteLength) ?? { spare: [], unused: 0 }
    this.#shelves.set(memory.byteLength, shelf)
    shelf.spare.push(memory)
    this.#bytes += memory.byteLength
  }

  /** Bytes that wait to be lent. */
  get spareBytes(): number {
    return this.#bytes
  }

  #sweep(): void {
    const before = this.#bytes
    for (const [size, shelf] of this.#shelves) {
      this.#bytes -= shelf.spare.splice(0, shelf.unused).length * size
      shelf.unused = shelf.spare.length
      if (shelf.spare.length === 0) this.#shelves.delete(size)
    }
    if (before - this.#bytes >= freedBytesMin) this.#onFreed()
  }

  /** Keeps nothing any more. */
  close(): void {
    clearInterval(this.#timer)
    this.#shelves.clear()
    this.#bytes = spareBytesMax
  }
}
