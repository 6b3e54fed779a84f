/** Accuracy and speed of the ECG analysis on the records under ../shared/data, as `bxb` and `rxr` print them: per record, gross and average. */
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { annotateEcg, annotateIntervals, type EcgLead } from '@healthblock/diagnosis/annotate'
import { EcgAnalyser } from '@healthblock/diagnosis/ecg'
import { generateEcg } from '@healthblock/diagnosis/generator'
import { type Annotation, decodeSignal, parseHeader } from '@healthblock/diagnosis/wfdb'
import { alarmsOf } from './support/alarms.ts'
import {
  type Counts,
  countBeats,
  countClass,
  countRhythm,
  flutterStretches,
  matchBeats,
  noCounts,
  predictivity,
  sensitivity,
  specificity,
  summarize,
} from './support/ec57.ts'
import { dataFolder, loadRecord, readData, recordsWanted, resample } from './support/ecg-records.ts'
import { intervalRate, loadIntervalRecords } from './support/interval-records.ts'
import { benchOptions, percentile, type Result, report, tell } from './support/report.ts'

const [data, read] = [dataFolder, readData]
const options = benchOptions()
const percent = (value: number): number | string => (Number.isNaN(value) ? '-' : Number(value.toFixed(2)))

const results: Result[] = []

/** Gross, average and interval of a statistic, as a row. */
function addSummary(
  task: string,
  records: readonly Counts[],
  statistics: Readonly<{ [name: string]: typeof sensitivity }>,
): void {
  for (const [statistic, of] of Object.entries(statistics)) {
    const { gross, average, low, high } = summarize(records, of)
    const interval = `${percent(low)} to ${percent(high)}`
    results.push({
      task,
      statistic,
      grossPercent: percent(gross),
      averagePercent: percent(average),
      interval95: interval,
    })
  }
}

function benchRecords(): void {
  let names = readdirSync(new URL('mitdb/', data)).filter((file) => file.endsWith('.hea'))
  if (options.quick) names = names.filter((_, i) => i % 4 === 0)
  const peaks: Counts[] = []
  const classes = { V: [] as Counts[], S: [] as Counts[], F: [] as Counts[] }
  const fibrillation: Counts[] = []
  for (const file of names) {
    const { name, leads, reference } = loadRecord(file.slice(0, -4))
    tell(name)
    const [first, second] = leads as [EcgLead, EcgLead]
    const found = annotateEcg(first, second)
    const pairs = matchBeats(reference, found, first.rate)
    const beats = countBeats(pairs)
    const [v, s, f] = [countClass(pairs, 'V'), countClass(pairs, 'S'), countClass(pairs, 'F')]
    const af = countRhythm(reference, found, ['AFIB'], first.samples.length)
    peaks.push(beats)
    classes.V.push(v)
    classes.S.push(s)
    classes.F.push(f)
    fibrillation.push(af)
    results.push({
      record: name,
      beats: beats.hit + beats.miss,
      missed: beats.miss,
      extra: beats.extra,
      se: percent(sensitivity(beats)),
      ppv: percent(predictivity(beats)),
      vSe: percent(sensitivity(v)),
      vPpv: percent(predictivity(v)),
      sSe: percent(sensitivity(s)),
      sPpv: percent(predictivity(s)),
      fSe: percent(sensitivity(f)),
      fPpv: percent(predictivity(f)),
      afSe: percent(sensitivity(af)),
      afSp: percent(specificity(af)),
    })
  }
  addSummary('R peaks', peaks, { Se: sensitivity, PPV: predictivity })
  addSummary('V beats, records of the training', classes.V, { Se: sensitivity, PPV: predictivity })
  addSummary('S beats, records of the training', classes.S, { Se: sensitivity, PPV: predictivity })
  addSummary('F beats, records of the training', classes.F, { Se: sensitivity, PPV: predictivity })
  addSummary('AF, MIT-BIH', fibrillation, { Se: sensitivity, Sp: specificity })
}

function benchIntervals(): void {
  const all: Counts[] = []
  const strict: Counts[] = []
  const records = loadIntervalRecords()
  for (const { name, intervals, reference } of options.quick ? records.slice(0, 3) : records) {
    const end = intervals.at(-1)?.end ?? 0
    const counts = countRhythm(reference, annotateIntervals(intervals, intervalRate), ['AFIB'], end)
    all.push(counts)
    strict.push(countRhythm(reference, annotateIntervals(intervals, 0), ['AFIB'], end))
    results.push({
      record: name,
      hours: end / (3600 * intervalRate),
      se: percent(sensitivity(counts)),
      sp: percent(specificity(counts)),
    })
  }
  addSummary('AF, AFDB intervals', all, { Se: sensitivity, Sp: specificity })
  addSummary('AF, AFDB intervals, nothing known of what follows', strict, { Se: sensitivity, Sp: specificity })
}

const columnOf = (file: string): Float64Array =>
  Float64Array.from(new TextDecoder().decode(read(file)).trim().split(/\r?\n/), Number)

/** A lead from millivolts, in microvolts as sample units. */
const leadOf = (millivolts: Float64Array, rate: number): EcgLead => ({
  samples: Int32Array.from(millivolts, (mv) => Math.round(mv * 1000)),
  gain: 1000,
  baseline: 0,
  rate,
})

/** Stretches that `found` calls unreadable. */
function unreadableStretches(found: readonly Annotation[], end: number): [number, number][] {
  const marks = found.filter(({ symbol }) => symbol === '~')
  return marks.flatMap(({ sample, subtype }, i): [number, number][] =>
    subtype === 0 ? [] : [[sample, marks[i + 1]?.sample ?? end]],
  )
}

function benchNoise(): void {
  for (const noiseDb of ['24', '12', '06', '00']) {
    const lead = leadOf(columnOf(`noise-ecg/118e${noiseDb}.csv`), 360)
    const reference = [...columnOf(`noise-ecg/118e${noiseDb}_ann.csv`)].map(
      (sample) => ({ sample, symbol: 'N' }) as Annotation,
    )
    const found = annotateEcg(lead)
    const counts = countBeats(matchBeats(reference, found, 360))
    const stretches = unreadableStretches(found, lead.samples.length)
    const unreadable = stretches.reduce((sum, [from, to]) => sum + to - from, 0)
    const isReadable = ({ sample }: Annotation) => !stretches.some(([from, to]) => sample >= from && sample < to)
    const rest = countBeats(matchBeats(reference.filter(isReadable), found.filter(isReadable), 360))
    results.push({
      noiseDb: Number(noiseDb),
      se: percent(sensitivity(counts)),
      ppv: percent(predictivity(counts)),
      unreadablePercent: percent((100 * unreadable) / lead.samples.length),
      readableSe: percent(sensitivity(rest)),
      readablePpv: percent(predictivity(rest)),
    })
  }
}

/** Leads of the patients of intensive care whose signals are at hand, in millivolts at 125 Hz. */
function* intensiveLeads(): Generator<{ patient: string; name: string; millivolts: Float64Array }> {
  for (const file of readdirSync(new URL('bidmc/', data)).filter((name) => name.endsWith('Signals.csv.gz'))) {
    const [head = '', ...lines] = gunzipSync(read(`bidmc/${file}`))
      .toString()
      .trim()
      .split('\n')
    for (const [column, name] of head.split(',').entries())
      if (['II', 'V', 'AVR', 'MCL'].includes(name.trim()))
        yield {
          patient: file.slice(0, 8),
          name: name.trim(),
          millivolts: Float64Array.from(lines, (line) => Number(line.split(',')[column])),
        }
  }
}

function benchRate(): void {
  const errors: number[] = []
  for (const { patient, name, millivolts } of intensiveLeads()) {
    if (name !== 'II') continue
    const analyser = new EcgAnalyser({ rateMilliHz: 125_000 })
    const events = analyser.push(millivolts.map((value) => value * 1000))
    const beats = events.filter((event) => event.type === 'beat')
    const numerics = new TextDecoder()
      .decode(read(`bidmc/${patient}_Numerics.csv`))
      .trim()
      .split('\n')
      .slice(1)
    let at = 0
    for (const line of numerics) {
      const [second = 0, heartRate] = line.split(',').map(Number)
      while (at + 1 < beats.length && (beats[at + 1]?.tick ?? 0) <= second * 250) at++
      const rate = beats[at]?.rate ?? 0
      if (rate > 0 && heartRate !== undefined && heartRate > 0) errors.push(Math.abs(rate - heartRate))
    }
  }
  results.push({
    task: 'heart rate, BIDMC',
    seconds: errors.length,
    medianErrorPerMin: percentile(errors, 0.5),
    error90PerMin: percentile(errors, 0.9),
  })
}

function benchFlutter(): void {
  const { leads, reference } = loadRecord('207')
  for (const [channel, lead] of leads.entries()) {
    for (const rate of options.quick ? [360] : [128, 250, 360, 500, 1000]) {
      const again = rate === 360 ? lead : resample(lead, rate)
      const alarms = annotateEcg(again)
        .filter(({ aux }) => aux === '(VFL')
        .map(({ sample }) => sample / rate)
      const delays = flutterStretches(reference).map(([from, to]) => {
        const alarm = alarms.find((second) => second >= from / 360 - 2 && second <= to / 360 + 10)
        return alarm === undefined ? Number.POSITIVE_INFINITY : Math.max(0, alarm - from / 360)
      })
      const inTime = delays.filter((seconds) => seconds <= 10).length
      results.push({
        task: 'flutter of 207',
        channel,
        rateHz: rate,
        episodes: delays.length,
        within10s: inTime,
        worstSeconds: percent(Math.max(...delays)),
      })
    }
  }
}

function benchQuiet(): void {
  // A heart without fault: nothing may be told of it.
  const hours = options.quick ? 1 : 12
  const alarms = noCounts()
  for (let hour = 0; hour < hours; hour++) {
    const samples = generateEcg({ seed: 100 + hour, rateHz: 128, seconds: 3600, noise: 0.03 })
    const found = annotateEcg(leadOf(Float64Array.from(samples), 128))
    alarms.extra += found.filter(({ symbol, aux }) => symbol === '+' && aux !== '(N').length
  }
  results.push({ task: 'made regular rhythm', hours, falseRhythms: alarms.extra })
}

/** Records whose annotations name no ventricular tachycardia, flutter or fibrillation. */
const calmRecords = ['101', '108', '109', '112', '114', '115', '116', '118', '119', '122', '124', '220', '230']

/** Alarms of severity high or critical where none is due: calm records with both leads and with one, one with noise, and recordings of a minute at home that are normal. */
function benchAlarms(): void {
  const add = (task: string, all: readonly { seconds: number; alarms: string[] }[]) => {
    const seconds = all.reduce((sum, one) => sum + one.seconds, 0)
    const alarms = all.flatMap((one) => one.alarms)
    results.push({ task, hours: percent(seconds / 3600), alarms: alarms.length, codes: alarms.join(' ') || '-' })
  }
  const one = (leads: readonly EcgLead[], names: readonly string[]) => ({
    seconds: (leads[0]?.samples.length ?? 0) / (leads[0]?.rate ?? 1),
    alarms: alarmsOf(leads, names),
  })
  const records = (options.quick ? calmRecords.slice(0, 3) : calmRecords).map(loadRecord)
  const names = ['ii', 'v1']
  add(
    'alarms, calm records, both leads',
    records.map(({ leads }) => one(leads, names)),
  )
  add(
    'alarms, calm records, first lead',
    records.map(({ leads }) => one(leads.slice(0, 1), names.slice(0, 1))),
  )
  for (const noiseDb of ['24', '12', '06', '00'])
    add(`alarms, noise at ${Number(noiseDb)} dB on 118`, [
      one([leadOf(columnOf(`noise-ecg/118e${noiseDb}.csv`), 360)], ['ii']),
    ])
  const intensive = [...intensiveLeads()].slice(0, options.quick ? 2 : 100)
  add(
    'alarms, leads of BIDMC',
    intensive.map(({ name, millivolts }) => one([leadOf(millivolts, 125)], [name.toLowerCase()])),
  )
  const normal = new TextDecoder()
    .decode(read('cinc2017/REFERENCE.csv'))
    .trim()
    .split(/\r?\n/)
    .filter((line) => line.endsWith(',N'))
    .map((line) => line.slice(0, line.indexOf(',')))
  add(
    'alarms, normal recordings of CinC 2017',
    (options.quick ? normal.slice(0, 10) : normal).map((name) => {
      const header = parseHeader(read(`cinc2017/${name}.hea`))
      const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
      return one(
        [{ samples: decodeSignal(header, 0, read(`cinc2017/${file}`)), gain, baseline, rate: header.rate }],
        ['i'],
      )
    }),
  )
}

function benchSpeed(): void {
  const { leads } = loadRecord('119')
  const [lead] = leads as [EcgLead]
  const microvolts = Float64Array.from(lead.samples, (sample) => ((sample - lead.baseline) * 1000) / lead.gain)
  const times: number[] = []
  for (let i = 0; i < (options.quick ? 3 : 9); i++) {
    const before = process.cpuUsage()
    const analyser = new EcgAnalyser({ rateMilliHz: 360_000 })
    let beats = 0
    for (let half = 0; half < 2; half++) beats += analyser.push(microvolts).length
    const { user, system } = process.cpuUsage(before)
    if (beats > 0) times.push((user + system) / 1000)
  }
  results.push({ task: 'one hour at 360 Hz', cpuMs: percentile(times, 0.5), leastMs: Math.min(...times) })
}

if (!existsSync(data)) {
  tell(`${recordsWanted}; nothing was measured`)
  process.exitCode = 1
} else {
  benchRecords()
  benchIntervals()
  benchNoise()
  benchRate()
  benchFlutter()
  benchQuiet()
  benchAlarms()
  benchSpeed()
  // Figures between patients come from the training, which leaves the judged records out.
  const figures = new URL('../packages/diagnosis/training/figures.json', import.meta.url)
  if (existsSync(figures)) results.push(...(JSON.parse(readFileSync(figures, 'utf8')) as Result[]))
}
report('ecg', results, options)
