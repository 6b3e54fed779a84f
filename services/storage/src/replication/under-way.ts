/**
 * What this store is handing to others just now, by whatever way: a put's first try, the queue, a repair. Who takes a
 * reference back waits for it, since it may have left with the reference that goes, and come after the word that takes it back.
 */
import { byteText } from '@healthblock/encoding/bytes'

/** Something of a block that is on its way to a store. */
export interface Flight {
  readonly digest: Uint8Array
  /** Account of the store. */
  readonly target: Uint8Array
  readonly ended: Promise<void>
}

/** What is under way from one store. */
export class UnderWay {
  readonly #flights = new Map<string, Map<Flight, () => void>>()

  /** {@link end} must follow. */
  begin(digest: Uint8Array, target: Uint8Array): Flight {
    const { promise: ended, resolve } = Promise.withResolvers<void>()
    const flight = { digest, target, ended }
    const name = byteText(digest)
    const ofBlock = this.#flights.get(name)
    if (ofBlock === undefined) this.#flights.set(name, new Map([[flight, resolve]]))
    else ofBlock.set(flight, resolve)
    return flight
  }

  /** It has arrived, or never will. */
  end(flight: Flight): void {
    const name = byteText(flight.digest)
    const ofBlock = this.#flights.get(name)
    ofBlock?.get(flight)?.()
    ofBlock?.delete(flight)
    if (ofBlock?.size === 0) this.#flights.delete(name)
  }

  /** Accounts of the stores to which something of a block is under way. */
  targets(digest: Uint8Array): Uint8Array[] {
    return this.#of(digest).map(({ target }) => target)
  }

  /** Waits until nothing of a block is under way that is now. */
  async settled(digest: Uint8Array): Promise<void> {
    await Promise.all(this.#of(digest).map(({ ended }) => ended))
  }

  #of(digest: Uint8Array): Flight[] {
    return [...(this.#flights.get(byteText(digest))?.keys() ?? [])]
  }
}
