/**
 * Says of transaction ids that they are new without asking the disk (Bloom, 1970). Ids are hashes, so their own bits are the positions.
 * It grows by levels of twice the size of the one before; about 16 bits an id, one wrong "perhaps" in some 300.
 */

interface Level {
  readonly bits: Uint32Array
  /** Number of bits, a power of two, less one. */
  readonly mask: number
  count: number
}

const bitsPerId = 16
const firstLevelIds = 32_768
/** Bytes of an id that one position is taken from, and how many positions. */
const wordSizeBytes = 4
const positions = 4

/** A set of ids that may answer "perhaps" for one that was never added, and never "no" for one that was. */
export class IdFilter {
  readonly #levels: Level[] = []

  /** @param id - At least 16 bytes of a hash. */
  add(id: Uint8Array): void {
    let last = this.#levels.at(-1)
    if (last === undefined || last.count * bitsPerId > last.mask) {
      const bits = bitsPerId * (last === undefined ? firstLevelIds : ((last.mask + 1) / bitsPerId) * 2)
      last = { bits: new Uint32Array(bits / 32), mask: bits - 1, count: 0 }
      this.#levels.push(last)
    }
    last.count++
    for (let word = 0; word < positions; word++) {
      const position = wordOf(id, word) & last.mask
      last.bits[position >>> 5] = (last.bits[position >>> 5] as number) | (1 << (position & 31))
    }
  }

  /** False if the id was never added. */
  mayHave(id: Uint8Array): boolean {
    return this.#levels.some(({ bits, mask }) => {
      for (let word = 0; word < positions; word++) {
        const position = wordOf(id, word) & mask
        if (((bits[position >>> 5] as number) & (1 << (position & 31))) === 0) return false
      }
      return true
    })
  }
}

function wordOf(id: Uint8Array, word: number): number {
  const at = word * wordSizeBytes
  return (
    (((id[at] as number) << 24) |
      ((id[at + 1] as number) << 16) |
      ((id[at + 2] as number) << 8) |
      (id[at + 3] as number)) >>>
    0
  )
}
