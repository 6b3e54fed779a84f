/**
 * A physiological ECG (McSharry, Clifford, Tarassenko and Smith 2003, "A dynamical model for generating synthetic electrocardiogram signals"), for demonstrations and tests
 * where no recording is at hand. It is no part of the algorithm: nothing here is hashed, and it may use any Math function.
 */

/** What the heart does. `irregular` is like atrial fibrillation: no P waves, fine waves of the baseline, irregular intervals. */
export type GeneratedRhythm = 'regular' | 'irregular' | 'fast' | 'slow'

/** What to generate. */
export interface GeneratorOptions {
  /** Any whole number; the same one gives the same samples on one engine. */
  seed: number
  /** Hz, 100 to 1000. */
  rateHz: number
  /** 1 to 86,400. */
  seconds: number
  /** Default `regular`. */
  rhythm?: GeneratedRhythm
  /** Later changes, in order of time. */
  changes?: readonly { fromSeconds: number; rhythm: GeneratedRhythm }[]
  /** A pause of that many seconds that begins at the first beat after `atSeconds`. */
  pause?: { atSeconds: number; seconds: number }
  /** Standard deviation of white noise in mV; default 0.01. */
  noise?: number
}

// P, Q, R, S, T: angle, height, width (table 1 of the paper).
const angles = [-Math.PI / 3, -Math.PI / 12, 0, Math.PI / 12, Math.PI / 2]
const heights = [1.2, -5, 30, -7.5, 0.75]
const widths = [0.25, 0.1, 0.1, 0.1, 0.4]
const millivoltsPerUnit = 28
/**
 * The waves lie between these angles. They last as long at any rate, as those of a heart do; the time between them is what a slow heart has more of.
 */
const wavesFrom = -1.6
const wavesTo = 2.3
const wavesSeconds = 0.53
/** Most of an interval that the waves take. */
const wavesShareMax = 0.75
const rhythmRates: Record<GeneratedRhythm, { meanSeconds: number; spread: number }> = {
  regular: { meanSeconds: 0.85, spread: 0.02 },
  irregular: { meanSeconds: 0.62, spread: 0.14 },
  fast: { meanSeconds: 0.4, spread: 0.008 },
  slow: { meanSeconds: 1.5, spread: 0.02 },
}

/** Uniform numbers from 0 to below 1 (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const normal = (random: () => number) => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random())

function rhythmAt(options: GeneratorOptions, seconds: number): GeneratedRhythm {
  const change = options.changes?.findLast(({ fromSeconds }) => fromSeconds <= seconds)
  return change?.rhythm ?? options.rhythm ?? 'regular'
}

/** Radians a second at an angle of a beat that takes `interval` seconds. */
function speed(angle: number, interval: number): number {
  const seconds = Math.min(wavesSeconds, wavesShareMax * interval)
  const radians = wavesTo - wavesFrom
  const isWave = angle >= wavesFrom && angle < wavesTo
  return isWave ? radians / seconds : (2 * Math.PI - radians) / (interval - seconds)
}

/** Slope of the model's third coordinate. */
function slope(angle: number, z: number, baseline: number, hasP: boolean): number {
  let sum = 0
  for (let i = hasP ? 0 : 1; i < angles.length; i++) {
    const turn = angle - (angles[i] as number)
    const away = turn - 2 * Math.PI * Math.round(turn / (2 * Math.PI))
    const width = widths[i] as number
    sum -= (heights[i] as number) * away * Math.exp(-(away * away) / (2 * width * width))
  }
  return sum - (z - baseline)
}

/**
 * Generates one lead.
 *
 * @returns millivolts at `rateHz`.
 */
export function generateEcg(options: GeneratorOptions): Float32Array<ArrayBuffer> {
  const { rateHz, seconds, seed, noise = 0.01, pause } = options
  const random = createRandom(seed)
  const samples = new Float32Array(Math.round(rateHz * seconds))
  const subSteps = Math.ceil(1000 / rateHz)
  const step = 1 / (rateHz * subSteps)
  let angle = -Math.PI
  let z = 0
  let interval = 0.85
  let hasPaused = false
  for (let i = 0; i < samples.length; i++) {
    const time = i / rateHz
    const rhythm = rhythmAt(options, time)
    const isIrregular = rhythm === 'irregular'
    const breath = 0.005 * Math.sin(2 * Math.PI * 0.25 * time)
    for (let s = 0; s < subSteps; s++) {
      z += step * slope(angle, z, breath, !isIrregular)
      angle += step * speed(angle, interval)
      if (angle < Math.PI) continue
      angle -= 2 * Math.PI
      const { meanSeconds, spread } = rhythmRates[rhythm]
      interval = Math.max(0.28, meanSeconds + spread * normal(random) + 0.02 * Math.sin(2 * Math.PI * 0.1 * time))
      if (pause !== undefined && !hasPaused && time >= pause.atSeconds) {
        hasPaused = true
        interval = pause.seconds
      }
    }
    const fine = isIrregular ? 0.04 * Math.sin(2 * Math.PI * 6.1 * time + Math.sin(2 * Math.PI * 0.7 * time)) : 0
    samples[i] = z * millivoltsPerUnit + fine + noise * normal(random)
  }
  return samples
}
