/** Comparison of annotations as in ANSI/AAMI EC57 (beats within 150 ms, rhythms by time), and the statistics of a table of records. */
import type { Annotation } from '@healthblock/diagnosis/wfdb'
import { isBeat } from '@healthblock/diagnosis/wfdb'

/** Seconds within which two beats are one. */
export const matchSeconds = 0.15

/** True and false positives and negatives; `quiet` (true negatives) for rhythms only. */
export interface Counts {
  hit: number
  miss: number
  extra: number
  quiet: number
}

/** Nothing counted yet. */
export const noCounts = (): Counts => ({ hit: 0, miss: 0, extra: 0, quiet: 0 })

/** Classes of EC57 of the beats of the MIT databases. */
export function beatClass(symbol: string): string {
  if ('VE'.includes(symbol)) return 'V'
  if ('AaJS'.includes(symbol)) return 'S'
  if ('NLRBejn'.includes(symbol)) return 'N'
  return symbol === 'F' ? 'F' : 'Q'
}

/** Stretches of ventricular flutter, in which EC57 compares no beats. */
export function flutterStretches(reference: readonly Annotation[]): [number, number][] {
  const found: [number, number][] = []
  for (const { symbol, sample } of reference) {
    if (symbol === '[') found.push([sample, Number.MAX_SAFE_INTEGER])
    else if (symbol === ']' && found.length > 0) (found.at(-1) as [number, number])[1] = sample
  }
  return found
}

/** Pairs of reference and found beats, and those that have no partner. */
export function matchBeats(reference: readonly Annotation[], found: readonly Annotation[], rate: number) {
  const tolerance = Math.round(matchSeconds * rate)
  const flutter = flutterStretches(reference)
  const counts = ({ symbol, sample }: Annotation) =>
    isBeat(symbol) && !flutter.some(([from, to]) => sample >= from - tolerance && sample <= to + tolerance)
  const [real, told] = [reference.filter(counts), found.filter(counts)]
  const pairs: [Annotation | undefined, Annotation | undefined][] = []
  let j = 0
  for (const [i, beat] of real.entries()) {
    while (j < told.length && (told[j]?.sample ?? 0) < beat.sample - tolerance) pairs.push([undefined, told[j++]])
    const [here, next] = [told[j], told[j + 1]]
    if (here === undefined || here.sample > beat.sample + tolerance) pairs.push([beat, undefined])
    else if (next !== undefined && isNearer(beat, here, next, real[i + 1])) {
      pairs.push([undefined, here], [beat, next])
      j += 2
    } else {
      pairs.push([beat, here])
      j++
    }
  }
  while (j < told.length) pairs.push([undefined, told[j++]])
  return pairs
}

/** True when `next` is nearer to the beat than `here`, and not nearer still to the beat after. */
function isNearer(beat: Annotation, here: Annotation, next: Annotation, after: Annotation | undefined): boolean {
  const away = (a: Annotation, b: Annotation | undefined) =>
    b === undefined ? Number.MAX_SAFE_INTEGER : Math.abs(a.sample - b.sample)
  return away(next, beat) < away(here, beat) && away(next, beat) <= away(next, after)
}

/** Counts beats of any class. */
export function countBeats(pairs: ReturnType<typeof matchBeats>): Counts {
  const counts = noCounts()
  for (const [real, told] of pairs) {
    if (real === undefined) counts.extra++
    else if (told === undefined) counts.miss++
    else counts.hit++
  }
  return counts
}

/** Counts one class; a fusion or an unclassified beat that is called ventricular is no error (EC57). */
export function countClass(pairs: ReturnType<typeof matchBeats>, symbol: 'V' | 'S' | 'F'): Counts {
  const counts = noCounts()
  for (const [real, told] of pairs) {
    const isReal = real !== undefined && beatClass(real.symbol) === symbol
    const isTold = told?.symbol === symbol
    if (isReal) isTold ? counts.hit++ : counts.miss++
    else if (isTold && !(symbol === 'V' && real !== undefined && 'FQ'.includes(beatClass(real.symbol)))) counts.extra++
    else counts.quiet++
  }
  return counts
}

/** Counts samples in and out of a rhythm, from the first beat to `end`; `texts` without the parenthesis. */
export function countRhythm(
  reference: readonly Annotation[],
  found: readonly Annotation[],
  texts: readonly string[],
  end: number,
): Counts {
  const counts = noCounts()
  const changes = [
    ...reference.map((a) => ({ ...a, isReal: true })),
    ...found.map((a) => ({ ...a, isReal: false })),
  ].filter(({ symbol }) => symbol === '+')
  changes.sort((a, b) => a.sample - b.sample)
  const is = { real: false, told: false }
  let from = changes[0]?.sample ?? end
  for (const change of [...changes, { sample: end, isReal: true, aux: '' }]) {
    const key = is.real ? (is.told ? 'hit' : 'miss') : is.told ? 'extra' : 'quiet'
    counts[key] += change.sample - from
    from = change.sample
    is[change.isReal ? 'real' : 'told'] = texts.includes(change.aux.slice(1))
  }
  return counts
}

/** Sensitivity, positive predictivity, specificity in percent; NaN where there is nothing to divide by. */
export const sensitivity = ({ hit, miss }: Counts) => (100 * hit) / (hit + miss)
export const predictivity = ({ hit, extra }: Counts) => (100 * hit) / (hit + extra)
export const specificity = ({ quiet, extra }: Counts) => (100 * quiet) / (quiet + extra)

/** All counts together. */
export function sumCounts(all: readonly Counts[]): Counts {
  const sum = noCounts()
  for (const counts of all) for (const key of ['hit', 'miss', 'extra', 'quiet'] as const) sum[key] += counts[key]
  return sum
}

/** Gross statistic (all counts together), mean over the records, and the interval that 95 % of 1,000 samples of the records with repetition lie in. */
export function summarize(all: readonly Counts[], statistic: (counts: Counts) => number) {
  const gross = statistic(sumCounts(all))
  const single = all.map(statistic).filter((value) => !Number.isNaN(value))
  const average = single.reduce((sum, value) => sum + value, 0) / single.length
  let state = 1
  const random = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return state / 2 ** 32
  }
  const drawn = Array.from({ length: 1000 }, () =>
    statistic(sumCounts(all.map(() => all[Math.floor(random() * all.length)] as Counts))),
  ).filter((value) => !Number.isNaN(value))
  drawn.sort((a, b) => a - b)
  const at = (q: number) => drawn[Math.min(drawn.length - 1, Math.floor(q * drawn.length))] ?? Number.NaN
  return { gross, average, low: at(0.025), high: at(0.975) }
}
