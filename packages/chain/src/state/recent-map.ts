/** What a generation must do of what a `Map` does. */
interface Generation<Key, Value> {
  readonly size: number
  has(key: Key): boolean
  get(key: Key): Value | undefined
  set(key: Key, value: Value): void
}

/**
 * A map that forgets what was neither set nor asked for lately. It keeps two generations and drops the older one whole: taking the oldest
 * entry out of a `Map` passes over the places of all that were taken out before it, which costs more than everything else about it.
 */
export class RecentMap<Key, Value> {
  readonly #generationMax: number
  readonly #makeGeneration: () => Generation<Key, Value>
  #newer: Generation<Key, Value>
  #older: Generation<Key, Value>

  /**
   * @param entriesMax - Never more entries than this, an even number; the newest half of it is always kept.
   * @param makeGeneration - Makes an empty map; by default a `Map`.
   */
  constructor(entriesMax: number, makeGeneration: () => Generation<Key, Value> = () => new Map()) {
    this.#generationMax = entriesMax / 2
    this.#makeGeneration = makeGeneration
    this.#newer = makeGeneration()
    this.#older = makeGeneration()
  }

  /** True if the key has a value, which may be `undefined`. */
  has(key: Key): boolean {
    return this.#newer.has(key) || this.#older.has(key)
  }

  /** The value; it counts as new again. */
  get(key: Key): Value | undefined {
    const newer = this.#newer.get(key)
    if (newer !== undefined) return newer
    const older = this.#older.get(key)
    // A newer `undefined` hides what was there before it.
    if (older === undefined || this.#newer.has(key)) return undefined
    this.set(key, older)
    return older
  }

  /** Sets a value; the oldest are forgotten once there are too many. */
  set(key: Key, value: Value): void {
    if (this.#newer.size >= this.#generationMax && !this.#newer.has(key)) {
      this.#older = this.#newer
      this.#newer = this.#makeGeneration()
    }
    this.#newer.set(key, value)
  }

  /** Forgets everything. */
  clear(): void {
    this.#newer = this.#makeGeneration()
    this.#older = this.#makeGeneration()
  }
}
