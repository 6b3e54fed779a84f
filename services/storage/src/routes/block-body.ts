/** The body of one block, read into memory: as far as it may be kept, and without a copy more than is needed. */
import type { RequestPayload } from 'fastify'
import { StorageError } from '../errors.ts'
import { release } from '../memory.ts'
import { BodyMemory } from './body-memory.ts'

/** Bodies from this size on are read into memory that the writer's thread sees too: nothing is copied on the way there. */
const sharedBytesMin = 32_768
/** Bytes of all bodies that are read at once. */
const bytesAtOnceMax = 256 * 1024 * 1024

/** Bodies under way. */
export class BlockBodies {
  readonly #sizeMax: number
  readonly #memory = new BodyMemory()
  #bytesAtOnce = 0

  /** @param sizeMax - of one body. */
  constructor(sizeMax: number) {
    this.#sizeMax = sizeMax
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
   * @param sizeTold - from its header, if it is there; the HTTP parser sees that it is kept.
   * @param check - throws if so many bytes may not be kept.
   * @throws {StorageError} `ERR_BLOCK_TOO_LARGE`, `ERR_STORE_BUSY`, `ERR_MULTIPART_INVALID` if it ends early; what `check` throws.
   */
  async read(payload: RequestPayload, sizeTold: number | undefined, check: (bytes: number) => void): Promise<Buffer> {
    const reserved = sizeTold ?? this.#sizeMax
    if (reserved > this.#sizeMax) throw this.#tooLarge()
    if (this.#bytesAtOnce + reserved > bytesAtOnceMax) {
      throw new StorageError('too many bodies at once', { code: 'ERR_STORE_BUSY', operationsMax: bytesAtOnceMax })
    }
    this.#bytesAtOnce += reserved
    try {
      return await this.#collect(payload, sizeTold, check)
    } finally {
      this.#bytesAtOnce -= reserved
    }
  }

  #collect(payload: RequestPayload, sizeTold: number | undefined, check: (bytes: number) => void): Promise<Buffer> {
    const isShared = sizeTold !== undefined && sizeTold >= sharedBytesMin
    const shared = isShared ? this.#memory.take(sizeTold) : undefined
    const chunks: Buffer[] = []
    let size = 0
    return new Promise((resolve, reject) => {
      const onData = (chunk: Buffer): void => {
        try {
          if (size + chunk.length > this.#sizeMax) throw this.#tooLarge()
          if (sizeTold === undefined) check(size + chunk.length)
        } catch (error) {
          payload.off('data', onData)
          reject(error as Error)
          return
        }
        if (shared) shared.set(chunk, size)
        else chunks.push(chunk)
        size += chunk.length
        if (shared) release(chunk)
      }
      payload.on('data', onData)
      payload.once('end', () =>
        resolve(shared ?? (chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks))),
      )
      payload.once('error', () => reject(endedEarly()))
      payload.once('close', () => reject(endedEarly()))
    })
  }

  #tooLarge(): StorageError {
    return new StorageError('the block is too large', { code: 'ERR_BLOCK_TOO_LARGE', sizeBytesMax: this.#sizeMax })
  }
}

function endedEarly(): StorageError {
  const reason = 'the body ended early'
  return new StorageError(reason, { code: 'ERR_MULTIPART_INVALID', reason })
}
