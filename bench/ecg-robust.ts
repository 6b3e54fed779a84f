/** Accuracy of the ECG analysis when the records of MIT-BIH are read as other recorders, leads, electrodes and rooms would have them; one lead, whole record. */
import { existsSync, readdirSync } from 'node:fs'
import { annotateEcg, annotateIntervals, type EcgLead } from '@healthblock/diagnosis/annotate'
import { EcgAnalyser } from '@healthblock/diagnosis/ecg'
import { type Annotation, isBeat } from '@healthblock/diagnosis/wfdb'
import {
  type Counts,
  countBeats,
  countClass,
  countRhythm,
  matchBeats,
  noCounts,
  predictivity,
  sensitivity,
  specificity,
  sumCounts,
} from './support/ec57.ts'
import {
  atRate,
  changes,
  dataFolder,
  type EcgRecord,
  loadRecord,
  recordsWanted,
  resample,
} from './support/ecg-records.ts'
import { disturb, disturbances, intervalRate, loadIntervalRecords } from './support/interval-records.ts'
import { fibrillationSizes, hearFibrillation } from './support/made-fibrillation.ts'
import { fibrillatingShare, madeHearts, madeRate, makeBreathingHeart, makeHeart } from './support/made-hearts.ts'
import { benchOptions, type Result, report, tell } from './support/report.ts'

const options = benchOptions()
const percent = (value: number): number | string => (Number.isNaN(value) ? '-' : Number(value.toFixed(2)))
const results: Result[] = []

/** Rows of the counts of one change over all records. */
function add(change: string, all: readonly Record<'R' | 'V' | 'AF', Counts>[], falseRuns: number): void {
  const [R, V, AF] = (['R', 'V', 'AF'] as const).map((of) => sumCounts(all.map((one) => one[of])))
  results.push({
    change,
    rSe: percent(sensitivity(R as Counts)),
    rPpv: percent(predictivity(R as Counts)),
    vSe: percent(sensitivity(V as Counts)),
    vPpv: percent(predictivity(V as Counts)),
    afSe: percent(sensitivity(AF as Counts)),
    afSp: percent(specificity(AF as Counts)),
    falseRuns,
  })
}

function countAll(reference: readonly Annotation[], found: readonly Annotation[], rate: number, end: number) {
  const pairs = matchBeats(reference, found, rate)
  return {
    R: countBeats(pairs),
    V: countClass(pairs, 'V'),
    AF: countRhythm(reference, found, ['AFIB'], end),
  }
}

/** Ventricular runs that are told while the reference has no three ventricular or fusion beats in a row, nor flutter, within three seconds. */
function countFalseRuns(reference: readonly Annotation[], found: readonly Annotation[], rate: number): number {
  const beats = reference.filter(({ symbol }) => isBeat(symbol) || symbol === '!')
  const isWide = (i: number) => 'VEF!'.includes(beats[i]?.symbol ?? '-')
  const runs = beats.flatMap(({ sample }, i) => (isWide(i) && isWide(i - 1) && isWide(i - 2) ? [sample] : []))
  const told = found.filter(({ aux }) => ['(VT', '(IVR', '(VFL'].includes(aux))
  return told.filter(({ sample }) => !runs.some((run) => Math.abs(run - sample) <= 3 * rate)).length
}

/** Pieces of ten seconds, each judged as if nothing had gone before: every one begins somewhere in a beat. */
function annotatePieces(lead: EcgLead): Annotation[] {
  const size = 10 * lead.rate
  const found: Annotation[] = []
  for (let from = 0; from + size <= lead.samples.length; from += size)
    for (const annotation of annotateEcg({ ...lead, samples: lead.samples.subarray(from, from + size) }))
      found.push({ ...annotation, sample: annotation.sample + from })
  return found
}

function benchChanges(): void {
  let names = readdirSync(new URL('mitdb/', dataFolder)).filter((file) => file.endsWith('.hea'))
  if (options.quick) names = names.filter((_, i) => i % 6 === 0)
  const records = names.map((file) => loadRecord(file.slice(0, -4)))
  const whole = [
    ...changes.map(({ name, change }) => ({
      name,
      judge: (record: EcgRecord) => judgeChanged(record, change(record)),
    })),
    { name: 'pieces of ten seconds', judge: ({ leads }: EcgRecord) => annotatePieces(leads[0] as EcgLead) },
  ]
  for (const { name, judge } of whole) {
    tell(name)
    let falseRuns = 0
    const counts = records.map((record) => {
      const { rate, samples } = record.leads[0] as EcgLead
      const found = judge(record)
      falseRuns += countFalseRuns(record.reference, found, rate)
      return countAll(record.reference, found, rate, samples.length)
    })
    add(name, counts, falseRuns)
  }
}

/** What is found in a changed lead, in samples of the record. */
function judgeChanged({ leads }: EcgRecord, changed: EcgLead): Annotation[] {
  return atRate(annotateEcg(changed), changed.rate, (leads[0] as EcgLead).rate)
}

/** Fibrillation from intervals alone, as detectors that err would tell them. */
function benchIntervals(): void {
  const records = options.quick ? loadIntervalRecords().slice(0, 3) : loadIntervalRecords()
  for (const how of disturbances) {
    const counts = records.map(({ intervals, reference }) => {
      const heard = disturb(intervals, how)
      return countRhythm(reference, annotateIntervals(heard, intervalRate), ['AFIB'], intervals.at(-1)?.end ?? 0)
    })
    const all = sumCounts(counts)
    results.push({ intervals: how.name, se: percent(sensitivity(all)), sp: percent(specificity(all)) })
  }
}

/** Made normal hearts of 23 hours, two of each: nothing may be told of them. */
function benchHearts(): void {
  for (const heart of options.quick ? madeHearts.slice(0, 2) : madeHearts) {
    const told = [1, 2].map((seed) => {
      const intervals = makeHeart(heart, seed)
      const changes = annotateIntervals(intervals, madeRate)
      const episodes = changes.flatMap(({ sample, aux }, i) =>
        aux === '(AFIB' ? [(changes[i + 1]?.sample ?? intervals.at(-1)?.end ?? 0) - sample] : [],
      )
      return { count: episodes.length, seconds: episodes.reduce((sum, samples) => sum + samples, 0) / madeRate }
    })
    results.push({
      heart: heart.name,
      episodesPerDay: percent((told.reduce((sum, { count }) => sum + count, 0) * 12) / 23),
      minutesPerDay: percent((told.reduce((sum, { seconds }) => sum + seconds, 0) * 12) / 23 / 60),
    })
  }
}

/** Made hearts at rest, breath by breath, three hours of each: share of the time that is told as fibrillation. */
function benchBreathing(): void {
  const rhythms = [
    [45, 12],
    [60, 16],
    [75, 16],
    [75, 20],
    [90, 20],
  ] as const
  for (const spread of options.quick ? [0.2] : [0.1, 0.2, 0.3])
    for (const [beats, breaths] of rhythms) {
      const told = [0.1, 0.15, 0.2, 0.25].map((swing): [string, number | string] => {
        const intervals = makeBreathingHeart({ beats, breaths, swing, spread, hours: 3 }, 1)
        return [
          `swing${100 * swing}`,
          percent(100 * fibrillatingShare(intervals, annotateIntervals(intervals, madeRate))),
        ]
      })
      results.push({
        breathingHeart: `${beats} beats, ${breaths} breaths, each another by ${spread}`,
        ...Object.fromEntries(told),
      })
    }
}

/** Made fibrillation behind real rhythms: how many are an alarm within ten seconds. */
function benchFibrillation(): void {
  const names = options.quick ? ['101'] : ['101', '119', '209']
  const leads = names.map((name) => resample(loadRecord(name).leads[0] as EcgLead, 250))
  for (const size of fibrillationSizes) {
    const delays = leads.flatMap(({ samples, gain, baseline }, seed) => {
      const part = Float64Array.from(samples.subarray(5000, 5000 + 110 * 250), (v) => ((v - baseline) * 1000) / gain)
      return hearFibrillation(part, size, seed + 1)
    })
    results.push({
      fibrillation: size,
      made: delays.length,
      alarmWithin10s: delays.filter(({ any }) => any <= 10).length,
      asFibrillationWithin10s: delays.filter(({ asFibrillation }) => asFibrillation <= 10).length,
      never: delays.filter(({ asFibrillation }) => asFibrillation === Number.POSITIVE_INFINITY).length,
    })
  }
}

const [beginsPerRecord, beginEvery, beginSeconds] = [60, 29.7, 12]

/** Streams that begin anywhere in a record: beats told in their first half second, and of those that are there. */
function benchBegins(): void {
  let names = readdirSync(new URL('mitdb/', dataFolder)).filter((file) => file.endsWith('.hea'))
  if (options.quick) names = names.filter((_, i) => i % 6 === 0)
  const counts = noCounts()
  for (const { leads, reference } of names.map((file) => loadRecord(file.slice(0, -4)))) {
    const { samples, gain, baseline, rate } = leads[0] as EcgLead
    const beats = reference.filter(({ symbol }) => isBeat(symbol))
    const near = Math.round(0.15 * rate)
    for (let k = 0; k < beginsPerRecord; k++) {
      // Not at the same place of each thirty seconds.
      const from = Math.floor(k * beginEvery * rate) + ((k * 7919) % 997)
      const part = samples.subarray(from, from + beginSeconds * rate)
      const events = new EcgAnalyser({ rateMilliHz: rate * 1000 }).push(
        Float64Array.from(part, (value) => ((value - baseline) * 1000) / gain),
      )
      const told = events.flatMap((event) => (event.type === 'beat' ? [from + (event.tick * rate) / 250] : []))
      const isFirst = (sample: number) => sample >= from && sample < from + rate / 2
      const isNear = (a: number, b: number) => Math.abs(a - b) <= near
      for (const { sample } of beats)
        if (isFirst(sample)) told.some((at) => isNear(at, sample)) ? counts.hit++ : counts.miss++
      counts.extra += told.filter((at) => isFirst(at) && !beats.some(({ sample }) => isNear(at, sample))).length
    }
  }
  const { hit, miss, extra } = counts
  results.push({ task: 'first half second', begins: names.length * beginsPerRecord, beats: hit + miss, miss, extra })
}

benchHearts()
benchBreathing()
if (!existsSync(dataFolder)) tell(`${recordsWanted}; only made hearts were measured`)
else {
  benchFibrillation()
  benchIntervals()
  benchChanges()
  benchBegins()
}
report('ecg-robust', results, options)
