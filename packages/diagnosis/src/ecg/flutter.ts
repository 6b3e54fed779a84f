/**
 * Ventricular fibrillation and flutter: such a signal is nearly a sine wave, so that it cancels against itself half a period earlier
 * (the leakage of Kuo and Dillman 1978). Sharp complexes with quiet between them leave much behind.
 */
import type { Carry } from './state.ts'

const windowTicks = 1000
/** Share of the signal that is left, at or below which a window is like a sine wave. */
const leakageMax = 0.42
/** Mean size below which a window is too quiet to be fibrillation, microvolts. */
const sizeMin = 80
const halfPeriodMin = 18
const halfPeriodMax = 63
const secondsOn = 3

/** One instance per lead. */
export class FlutterMeter {
  #seconds = 0
  #on = 0

  /** True while fibrillation or flutter is likely. */
  get isOn(): boolean {
    return this.#on === 1
  }

  /**
   * Looks at the last four seconds; call it once a second.
   *
   * @param ring - ticks of the signal between 0.7 and 40 Hz, microvolts; a power of two of at least 1024.
   * @param tick - the newest tick in it.
   */
  push(ring: Int16Array, tick: number): boolean {
    const like = tick >= windowTicks && leakage(ring, tick) <= leakageMax
    this.#seconds = like ? Math.min(secondsOn, this.#seconds + 1) : Math.max(0, this.#seconds - 1)
    if (this.#seconds === secondsOn) this.#on = 1
    else if (this.#seconds === 0) this.#on = 0
    return this.isOn
  }

  /** @see Carry */
  carry(c: Carry): void {
    this.#seconds = c.integer('flutter.seconds', this.#seconds, 0, secondsOn)
    this.#on = c.integer('flutter.on', this.#on, 0, 1)
  }
}

/** Share of the last four seconds that is left after adding the signal half a period earlier; 1 where it cannot be told. */
export function leakage(ring: Int16Array, tick: number): number {
  const mask = ring.length - 1
  let size = 0
  let steps = 0
  for (let i = 0; i < windowTicks - 1; i++) {
    const value = ring[(tick - i) & mask] as number
    size += Math.abs(value)
    steps += Math.abs(value - (ring[(tick - i - 1) & mask] as number))
  }
  if (steps === 0 || size < sizeMin * windowTicks) return 1
  const half = Math.floor((Math.PI * size) / steps + 0.5)
  if (half < halfPeriodMin || half > halfPeriodMax) return 1
  let left = 0
  let whole = 0
  for (let i = 0; i < windowTicks - half; i++) {
    const value = ring[(tick - i) & mask] as number
    const earlier = ring[(tick - i - half) & mask] as number
    left += Math.abs(value + earlier)
    whole += Math.abs(value) + Math.abs(earlier)
  }
  return left / whole
}
