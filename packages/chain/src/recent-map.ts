/**
 * A map that forgets what was neither set nor asked for lately. It keeps two generations and drops the older one whole: taking the oldest
 * entry out of a `Map` passes over the places of all that were taken out before it, which costs more than everything else about it.
 */
export class RecentMap<Key, Value> {
  readonly #generationMax: number
  #newer = new Map<Key, Value>()
  #older = new Map<Key, Value>()

  /** @param entriesMax - Never more entries than this, an even number; the newest half of it is always kept. */
  constructor(entriesMax: number) {
    this.#generationMax = entriesMax / 2
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
      this.#newer = new Map()
    }
    this.#newer.set(key, value)
  }

  /** Forgets everything. */
  clear(): void {
    this.#newer = new Map()
    this.#older = new Map()
  }
}
