/**
 * Short ECGs to train on: the recordings of the CinC challenge of 2017, each also as changed copies (upside down, its first and last three quarters, with more noise, a little
 * faster and slower, with an electrode that moves or settles), which only ever stand in the training, and half minutes of the MIT-BIH records. Nothing of a recording that is left out is trained on.
 */
import { readdirSync, readFileSync } from 'node:fs'
import type { EcgLead } from '../src/annotate.ts'
import { type EcgLabel, ecgLabels } from '../src/classify.ts'
import { measureEcg } from '../src/measures.ts'
import { type Annotation, decodeSignal, isBeat, parseAnnotations, parseHeader } from '../src/wfdb/record.ts'
import { createGenerator } from './boost.ts'

const data = new URL('../../../../shared/data/', import.meta.url)
const stripsPerRecord = 12
const stripSeconds = 30

/** One recording, or a changed copy of it, measured. */
export interface ShortItem {
  record: string
  label: EcgLabel
  /** Weight in the training; 1 = the recording itself. */
  weight: number
  measures: Float64Array
}

const bytesOf = (folder: string, file: string) => new Uint8Array(readFileSync(new URL(`${folder}/${file}`, data)))

function readLead(folder: string, record: string): EcgLead {
  const header = parseHeader(bytesOf(folder, `${record}.hea`))
  const { gain, baseline, file } = header.signals[0] as { gain: number; baseline: number; file: string }
  return { samples: decodeSignal(header, 0, bytesOf(folder, file)), gain, baseline, rate: header.rate }
}

/** Baseline wander and white noise of about a twentieth of a millivolt. */
function withNoise({ samples, gain, ...lead }: EcgLead, random: () => number): EcgLead {
  let wander = 0
  const noisy = samples.map((value) => {
    wander = 0.995 * wander + 0.006 * gain * (random() - 0.5)
    return Math.round(value + wander + gain * 0.04 * (random() + random() - 1))
  })
  return { samples: noisy, gain, ...lead }
}

/** Size of the signal without its extremes, in sample units. */
function sizeOf(samples: Int32Array): number {
  const order = samples.toSorted()
  return (order[Math.floor(0.98 * order.length)] ?? 0) - (order[Math.floor(0.02 * order.length)] ?? 0)
}

/** An electrode that moves once: swings of 0.4 to 1.6 s. */
function withSwing({ samples, rate, ...lead }: EcgLead, random: () => number): EcgLead {
  const moved = samples.slice()
  const length = Math.floor(rate * (0.4 + 1.2 * random()))
  const from = Math.floor(random() * (samples.length - length))
  const size = sizeOf(samples) * (0.8 + 2.5 * random())
  let [away, push] = [0, 0]
  for (let i = 0; i < length; i++) {
    if (i % 12 === 0) push = ((random() - 0.5) * size) / 10
    away = 0.985 * away + push
    moved[from + i] = Math.round((moved[from + i] as number) + away * Math.min(1, (length - i) / 20))
  }
  return { samples: moved, rate, ...lead }
}

/** An electrode that is put on: the level settles in the first seconds. */
function withSettling({ samples, rate, ...lead }: EcgLead, random: () => number): EcgLead {
  const settling = samples.slice()
  let level = sizeOf(samples) * (random() < 0.5 ? -1 : 1) * (1 + 3 * random())
  const kept = 1 - 1 / (rate * (0.15 + 0.3 * random()))
  for (let i = 0; i < 3 * rate && i < settling.length; i++) {
    settling[i] = Math.round((settling[i] as number) + level)
    level *= kept
  }
  return { samples: settling, rate, ...lead }
}

function copiesOf(lead: EcgLead, random: () => number): { lead: EcgLead; weight: number }[] {
  const { samples, baseline, rate } = lead
  const quarter = Math.floor(samples.length / 4)
  return [
    { lead, weight: 1 },
    { lead: { ...lead, samples: samples.map((value) => 2 * baseline - value) }, weight: 0.4 },
    { lead: { ...lead, samples: samples.slice(0, samples.length - quarter) }, weight: 0.4 },
    { lead: { ...lead, samples: samples.slice(quarter) }, weight: 0.4 },
    { lead: withNoise(lead, random), weight: 0.4 },
    { lead: { ...lead, rate: Math.round(rate * 1.06) }, weight: 0.3 },
    { lead: { ...lead, rate: Math.round(rate * 0.945) }, weight: 0.3 },
    { lead: withSwing(lead, random), weight: 0.4 },
    { lead: withSettling(lead, random), weight: 0.4 },
  ]
}

/** Label of a strip by its beats and rhythms; undefined when fibrillation is only part of it. */
function labelOf(annotations: readonly Annotation[], from: number, to: number): EcgLabel | undefined {
  const rhythms = new Set<string>()
  let rhythm = ''
  const beats: string[] = []
  for (const { sample, symbol, aux } of annotations) {
    if (sample >= to) break
    if (symbol === '+') rhythm = aux
    if (sample >= from) rhythms.add(rhythm)
    if (sample >= from && isBeat(symbol)) beats.push(symbol)
  }
  if (rhythms.has('(AFIB')) return rhythms.size === 1 ? 'A' : undefined
  const rate = (beats.length * 60) / stripSeconds
  const isNormal = rhythms.size === 1 && rhythms.has('(N') && beats.every((symbol) => symbol === 'N')
  return isNormal && rate > 50 && rate < 100 ? 'N' : 'O'
}

function strips(record: string, random: () => number): ShortItem[] {
  const lead = readLead('mitdb', record)
  const annotations = parseAnnotations(bytesOf('mitdb', `${record}.atr`))
  const length = stripSeconds * lead.rate
  const room = lead.samples.length / stripsPerRecord - length
  return Array.from({ length: stripsPerRecord }, (_, k) => {
    const from = Math.floor((k * lead.samples.length) / stripsPerRecord + random() * room)
    const label = labelOf(annotations, from, from + length)
    if (label === undefined) return []
    const measures = measureEcg({ ...lead, samples: lead.samples.slice(from, from + length) }).values
    return [{ record, label, weight: 0.15, measures }]
  }).flat()
}

/** All items, the copies of a recording behind it. */
export function loadShortItems(): ShortItem[] {
  const random = createGenerator(3)
  const lines = readFileSync(new URL('cinc2017/REFERENCE.csv', data), 'utf8').trim().split('\n')
  const items = lines.flatMap((line) => {
    const [record = '', label = ''] = line.trim().split(',')
    return copiesOf(readLead('cinc2017', record), random).map(({ lead, weight }) => ({
      record,
      label: label as EcgLabel,
      weight,
      measures: measureEcg(lead).values,
    }))
  })
  const records = readdirSync(new URL('mitdb/', data)).filter((file) => file.endsWith('.hea'))
  for (const file of records.sort()) items.push(...strips(file.slice(0, -4), random))
  return items.filter(({ label }) => ecgLabels.includes(label))
}
