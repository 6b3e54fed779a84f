/** The body of one block, read into memory: as far as it may be kept, and without a copy more than is needed. */
import type { RequestPayload } from 'fastify'
import { StorageError } from '../errors.ts'
import { release } from '../memory.ts'
import { BodyMemory } from './body-memory.ts'
import { FairShare } from './fair-share.ts'

/** Bodies from this size on are read into memory that the writer's thread sees too: nothing is copied on the way there. */
export const sharedBytesMin = 32_768
/** What a body is given first whose size nobody told; it is doubled as it grows. */
const grownBytesMin = 131_072
/** Bytes of all bodies that are read at once; of those of one account half of it. */
const bytesAtOnceMax = 256 * 1024 * 1024

/** Bodies under way. */
export class BlockBodies {
  readonly #sizeMax: number
  readonly #memory: BodyMemory
  readonly #bytesAtOnce = new FairShare(bytesAtOnceMax)

  /** @param sizeMax - of one body. @param onFreed - as for {@link BodyMemory}. */
  constructor(sizeMax: number, onFreed: () => void) {
    this.#sizeMax = sizeMax
    this.#memory = new BodyMemory({ onFreed })
  }

  /** Ends. */
  close(): void {
    this.#memory.close()
  }

  /** Takes a body's memory back for the next ones. Nobody may look at it any more. */
  giveBack(body: Buffer): void {
    this.#memory.giveBack(body)
  }

  /**
   * Reads a body.
   *
   * @param account - that sends it.
   * @param sizeTold - from its header, if it is there; the HTTP parser sees that it is kept.
   * @param check - throws if so many bytes may not be kept.
   * @throws {StorageError} `ERR_BLOCK_TOO_LARGE`, `ERR_STORE_BUSY`, `ERR_MULTIPART_INVALID` if it ends early; what `check` throws.
   */
  async read(
    payload: RequestPayload,
    { account, sizeTold }: { account: Uint8Array; sizeTold: number | undefined },
    check: (bytes: number) => void,
  ): Promise<Buffer> {
    const reserved = sizeTold ?? this.#sizeMax
    if (reserved > this.#sizeMax) throw this.#tooLarge()
    if (!this.reserve(account, reserved)) {
      throw new StorageError('too many bodies at once', { code: 'ERR_STORE_BUSY', operationsMax: bytesAtOnceMax })
    }
    try {
      return await this.#collect(payload, sizeTold, check)
    } finally {
      this.free(account, reserved)
    }
  }

  /** Counts bytes of an account that are about to be read; false if too many are. {@link free} must follow. */
  reserve(account: Uint8Array, bytes: number): boolean {
    return bytes <= this.#sizeMax && this.#bytesAtOnce.take(account, bytes)
  }

  /** They are read, or do not come. */
  free(account: Uint8Array, bytes: number): void {
    this.#bytesAtOnce.give(account, bytes)
  }

  /** Memory for a large body; {@link giveBack} takes it back. */
  take(bytes: number): Buffer {
    return this.#memory.take(bytes)
  }

  #collect(payload: RequestPayload, sizeTold: number | undefined, check: (bytes: number) => void): Promise<Buffer> {
    const body = new GrowingBody(this.#memory, sizeTold)
    return new Promise((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        try {
          if (body.size + chunk.length > this.#sizeMax) throw this.#tooLarge()
          if (sizeTold === undefined) check(body.size + chunk.length)
        } catch (error) {
          payload.off('data', onData)
          reject(error as Error)
          return
        }
        body.add(chunk)
      }
      let isWhole = false
      payload.on('data', onData)
      payload.once('end', () => {
        isWhole = true
        resolve(body.whole())
      })
      payload.once('error', () => reject(endedEarly()))
      payload.once('close', () => {
        // Also comes after the end, and an error with its stack costs each body some µs.
        if (!isWhole) reject(endedEarly())
      })
    })
  }

  #tooLarge(): StorageError {
    return new StorageError('the block is too large', { code: 'ERR_BLOCK_TOO_LARGE', sizeBytesMax: this.#sizeMax })
  }
}

/** What has come of a body. A large one is in memory of {@link BodyMemory}, also if its size was not told. */
class GrowingBody {
  readonly #memory: BodyMemory
  #chunks: Buffer[] = []
  #shared: Buffer | undefined
  #size = 0

  constructor(memory: BodyMemory, sizeTold: number | undefined) {
    this.#memory = memory
    if (sizeTold !== undefined && sizeTold >= sharedBytesMin) this.#shared = memory.take(sizeTold)
  }

  get size(): number {
    return this.#size
  }

  /** Nobody else may have the chunk: what is copied is freed. */
  add(chunk: Buffer): void {
    const size = this.#size + chunk.length
    if (size >= sharedBytesMin && size > (this.#shared?.length ?? 0)) this.#grow(size)
    if (this.#shared === undefined) this.#chunks.push(chunk)
    else {
      this.#shared.set(chunk, this.#size)
      release(chunk)
    }
    this.#size = size
  }

  #grow(size: number): void {
    const grown = this.#memory.take(Math.max(grownBytesMin, 2 ** Math.ceil(Math.log2(size))))
    const parts = this.#shared === undefined ? this.#chunks : [this.#shared.subarray(0, this.#size)]
    let at = 0
    for (const part of parts) {
      grown.set(part, at)
      at += part.length
    }
    if (this.#shared !== undefined) this.#memory.giveBack(this.#shared)
    for (const chunk of this.#chunks) release(chunk)
    this.#chunks = []
    this.#shared = grown
  }

  whole(): Buffer {
    if (this.#shared !== undefined) return this.#shared.subarray(0, this.#size)
    return this.#chunks.length === 1 ? (this.#chunks[0] as Buffer) : Buffer.concat(this.#chunks)
  }
}

function endedEarly(): StorageError {
  const reason = 'the body ended early'
  return new StorageError(reason, { code: 'ERR_MULTIPART_INVALID', reason })
}
