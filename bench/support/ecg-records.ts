/** Reads records of the MIT-BIH database under ../shared/data, and changes leads as other recorders, electrodes and rooms would. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { EcgLead } from '@healthblock/diagnosis/annotate'
import { type Annotation, decodeSignal, isBeat, parseAnnotations, parseHeader } from '@healthblock/diagnosis/wfdb'

/** The folder of the data; it need not be there. */
export const dataFolder = new URL('../../../shared/data/', import.meta.url)

/** What to say where there are no records. */
export const recordsWanted = `there are no annotated records in ${fileURLToPath(dataFolder)}: PhysioNet's belong there, in mitdb, afdb-rr, bidmc and cinc2017`

/** Bytes of a file under `dataFolder`. */
export const readData = (file: string): Uint8Array => new Uint8Array(readFileSync(new URL(file, dataFolder)))

/** A record with its leads and reference annotations. */
export interface EcgRecord {
  readonly name: string
  readonly leads: EcgLead[]
  readonly reference: Annotation[]
}

/** Reads a record, as `mitdb` has them: all leads in one file. */
export function loadRecord(name: string): EcgRecord {
  const header = parseHeader(readData(`mitdb/${name}.hea`))
  const bytes = readData(`mitdb/${name}.dat`)
  const leads = header.signals.map(({ gain, baseline }, channel) => ({
    samples: decodeSignal(header, channel, bytes),
    gain,
    baseline,
    rate: header.rate,
  }))
  return { name, leads, reference: parseAnnotations(readData(`mitdb/${name}.atr`)) }
}

/** Brings samples to another rate by linear interpolation. */
export function resample(lead: EcgLead, rate: number): EcgLead {
  const count = Math.floor(((lead.samples.length - 1) * rate) / lead.rate)
  const samples = Int32Array.from({ length: count }, (_, i) => {
    const at = (i * lead.rate) / rate
    const k = Math.floor(at)
    return Math.round((lead.samples[k] as number) * (1 - at + k) + (lead.samples[k + 1] as number) * (at - k))
  })
  return { ...lead, samples, rate }
}

/** A lead of a record as something else would have recorded it. */
export interface Change {
  readonly name: string
  readonly change: (record: EcgRecord) => EcgLead
}

/** The first lead in microvolts with something added, or put in its place. */
function microvolts({ leads }: EcgRecord, of: (value: number, i: number, rate: number) => number): EcgLead {
  const { samples, gain, baseline, rate } = leads[0] as EcgLead
  const changed = samples.map((value, i) => Math.round(of(((value - baseline) * 1000) / gain, i, rate)))
  return { samples: changed, gain: 1000, baseline: 0, rate }
}

const sine = (hertz: number, i: number, rate: number) => Math.sin((2 * Math.PI * hertz * i) / rate)

/** Spikes of 2 mV and two samples, 120 ms before the middle of each beat that is no ventricular one, as those of a pacemaker that waits for the heart. */
function withSpikes(record: EcgRecord): EcgLead {
  const lead = microvolts(record, (value) => value)
  const before = Math.round(0.12 * lead.rate)
  for (const { sample, symbol } of record.reference) {
    if (!isBeat(symbol) || 'VEF'.includes(symbol) || sample < before) continue
    for (const i of [0, 1]) lead.samples[sample - before + i] = (lead.samples[sample - before + i] as number) + 2000
  }
  return lead
}

/** Beyond 0.7 of the greatest size of a usual second the recorder is at its limit. */
function clipped(record: EcgRecord): EcgLead {
  const plain = microvolts(record, (value) => value)
  const { rate, samples } = plain
  const sizes: number[] = []
  for (let from = 0; from + rate <= samples.length; from += rate)
    sizes.push(samples.subarray(from, from + rate).reduce((most, value) => Math.max(most, Math.abs(value)), 0))
  const most = 0.7 * (sizes.sort((a, b) => a - b)[sizes.length >> 1] ?? 0)
  return { ...plain, samples: samples.map((value) => Math.max(-most, Math.min(most, value))) }
}

/** What is measured of each record. */
export const changes: readonly Change[] = [
  { name: 'as recorded', change: ({ leads }) => leads[0] as EcgLead },
  ...[100, 128, 250, 500, 1000].map((rate) => ({
    name: `at ${rate} Hz`,
    change: ({ leads }: EcgRecord) => resample(leads[0] as EcgLead, rate),
  })),
  { name: 'upside down', change: (record) => microvolts(record, (value) => -value) },
  { name: 'other lead', change: ({ leads }) => leads[1] as EcgLead },
  ...[0.2, 0.5, 2, 5].map((times) => ({
    name: `height times ${times}`,
    change: (record: EcgRecord) => microvolts(record, (value) => times * value),
  })),
  ...[50, 60].map((hertz) => ({
    name: `mains of ${hertz} Hz, 0.4 mV`,
    change: (record: EcgRecord) => microvolts(record, (value, i, rate) => value + 200 * sine(hertz, i, rate)),
  })),
  {
    name: 'wander of 2 mV',
    change: (record) =>
      microvolts(record, (value, i, rate) => value + 700 * sine(0.31, i, rate) + 300 * sine(0.11, i, rate)),
  },
  { name: 'steps of 40 microvolts', change: (record) => microvolts(record, (value) => 40 * Math.round(value / 40)) },
  { name: 'clipped at 0.7 of the height', change: clipped },
  { name: 'spikes of a pacemaker', change: withSpikes },
]

/** Annotations brought from one rate to another. */
export function atRate(found: readonly Annotation[], from: number, to: number): Annotation[] {
  return found.map((annotation) => ({ ...annotation, sample: Math.round((annotation.sample * to) / from) }))
}
