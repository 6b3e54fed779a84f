/** How many streams of blocks are open, and whose: nobody takes the places of all others. */
import { AccountingError } from '../errors.ts'

/** Most streams at one time. */
const streamsMax = 256
/** And of one reader: a service needs one for each chain. */
const streamsPerReaderMax = 16
const retryAfterMs = 5_000

/** The places of one node. */
export class StreamPlaces {
  readonly #byReader = new Map<string, number>()
  #count = 0

  /**
   * Takes a place; whoever took it calls the answer, once, when the stream ends.
   *
   * @throws {AccountingError} `ERR_STATE_BUSY` if there is none, or the reader has his part.
   */
  take(reader: string): () => void {
    const own = this.#byReader.get(reader) ?? 0
    if (this.#count >= streamsMax || own >= streamsPerReaderMax) {
      throw new AccountingError('too many streams', { code: 'ERR_STATE_BUSY', retryAfterMs })
    }
    this.#byReader.set(reader, own + 1)
    this.#count++
    return () => this.#leave(reader)
  }

  #leave(reader: string): void {
    const left = (this.#byReader.get(reader) ?? 1) - 1
    if (left === 0) this.#byReader.delete(reader)
    else this.#byReader.set(reader, left)
    this.#count--
  }
}
