/** Reads the RR intervals of the MIT-BIH Atrial Fibrillation Database under ../shared/data, and disturbs them as a detector that errs would. */
import { readdirSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { parseIntervals, type RrInterval } from '@healthblock/diagnosis/annotate'
import type { Annotation } from '@healthblock/diagnosis/wfdb'
import { createChance } from './chance.ts'
import { dataFolder, readData } from './ecg-records.ts'

/** Samples a second of the database. */
export const intervalRate = 250

/** Intervals of a record and where its rhythm changes. */
export interface IntervalRecord {
  readonly name: string
  readonly intervals: readonly RrInterval[]
  readonly reference: Annotation[]
}

/** All records of which intervals are at hand. */
export function loadIntervalRecords(): IntervalRecord[] {
  const files = readdirSync(new URL('afdb-rr/', dataFolder)).filter((file) => file.startsWith('qrs'))
  return files.map((file) => {
    const name = file.slice(3, 8)
    const reference = new TextDecoder('latin1')
      .decode(readData(`afdb-rr/atr${name}.txt`))
      .split('\n')
      .map((line) => line.trim().split(/\s+/))
      .filter((words) => words.length > 5 && /^\d+$/.test(words[1] ?? ''))
      .map((words) => ({ sample: Number(words[1]), symbol: '+', aux: words.at(-1) as string }) as Annotation)
    return { name, intervals: parseIntervals(gunzipSync(readData(`afdb-rr/${file}`)).toString()), reference }
  })
}

/** How a detector errs: shares of the beats that it misses, and of those behind which it hears one that is none; most that it moves a beat, ms. */
export interface Disturbance {
  readonly name: string
  readonly missed: number
  readonly extra: number
  readonly movedMs: number
}

/** What is measured. */
export const disturbances: readonly Disturbance[] = [
  { name: 'as they are', missed: 0, extra: 0, movedMs: 0 },
  { name: '2 % of the beats missed', missed: 0.02, extra: 0, movedMs: 0 },
  { name: '5 % of the beats missed', missed: 0.05, extra: 0, movedMs: 0 },
  { name: '2 % more beats', missed: 0, extra: 0.02, movedMs: 0 },
  { name: 'beats moved by up to 8 ms', missed: 0, extra: 0, movedMs: 8 },
  { name: 'beats moved by up to 16 ms', missed: 0, extra: 0, movedMs: 16 },
  { name: '1 % missed, 1 % more, moved by up to 8 ms', missed: 0.01, extra: 0.01, movedMs: 8 },
]

/** Intervals as such a detector would have heard them; the same in each run. */
export function disturb(intervals: readonly RrInterval[], how: Disturbance): RrInterval[] {
  if (how.missed === 0 && how.extra === 0 && how.movedMs === 0) return [...intervals]
  const { uniform: chance } = createChance(7)
  const most = (how.movedMs * intervalRate) / 1000
  const beats: number[] = []
  for (const { start, end } of intervals) {
    if (chance() < how.missed) continue
    if (chance() < how.extra) beats.push(start + (end - start) * (0.3 + 0.4 * chance()))
    beats.push(end + most * (chance() + chance() - 1))
  }
  return beats.slice(1).map((beat, i) => {
    const [start, end] = [beats[i] as number, Math.max(beat, (beats[i] as number) + 1)]
    return { start: Math.round(start), end: Math.round(end), seconds: (end - start) / intervalRate }
  })
}
