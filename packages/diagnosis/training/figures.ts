/** Figures of the cross-validations, kept in `figures.json`: each training command replaces its own. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'

const file = new URL('figures.json', import.meta.url)

/** One figure: what was measured, on what, and the value; numbers and texts only. */
export type Figure = Readonly<Record<string, number | string>>

/** Replaces the figures of one training command. */
export function keepFigures(training: string, figures: readonly Figure[]): void {
  const kept: Figure[] = existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : []
  const others = kept.filter((figure) => figure.training !== training)
  const all = [...others, ...figures.map((figure) => ({ training, ...figure }))]
  writeFileSync(file, `${JSON.stringify(all, undefined, 2)}\n`)
}

/** Interval in which 95 % of 1,000 samples of the groups with repetition have their statistic. */
export function bootstrap<T>(
  groups: readonly T[],
  statistic: (groups: readonly T[]) => number,
): { low: number; high: number } {
  let state = 1
  const draw = () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return groups[Math.floor((state / 2 ** 32) * groups.length)] as T
  }
  const drawn = Array.from({ length: 1000 }, () => statistic(groups.map(draw))).filter((value) => !Number.isNaN(value))
  drawn.sort((a, b) => a - b)
  return { low: drawn[25] ?? Number.NaN, high: drawn[Math.floor(0.975 * drawn.length)] ?? Number.NaN }
}
