/**
 * Which signals of a WFDB record are ECG leads, and which of them are judged. Records of intensive care name pressures and pulse waves first, stress tests have twelve
 * leads, some leads are not connected: the leads are told by unit and name, and those that show something come before those that do not.
 */
import { DiagnosisError } from './errors.ts'
import type { WfdbHeader, WfdbSignal } from './wfdb/header.ts'
import { sampleMissing } from './wfdb/signal.ts'

/** An ECG lead of a record. */
export interface EcgSignal {
  /** Which signal of the record, from 0. */
  index: number
  /** `ii`, `v1`, `avr`, …, or what else the header calls it in lower case; empty where it does not. */
  name: string
  /** Sample units per mV. */
  gain: number
  /** Samples a second. */
  rate: number
}

/** Sample units per mV from those per unit. */
const perMillivolt: Readonly<Record<string, number>> = { v: 0.001, mv: 1, uv: 1000, µv: 1000, nv: 1_000_000 }
/** Signals of monitors that are no ECG, in mV or not. */
const otherSignal =
  /^(ppg|pleth|abp|art|ao|bp|p\d|nbp|nibp|cvp|pap|pa|pcw|lap|rap|icp|uap|uvp|resp|imp|flow|co2|etco2|o2|so2|sao2|spo2|hr|pulse|eeg|eog|emg|acc|gsr|eda|temp|scg|pcg|stim|mark|trig|event|sound|light|bcg)/
const leadName = /^(i|ii|iii|av[rlf]|v[1-9]?r?|v[1-6]|x|y|z)$/
/** Leads in the order in which the first is chosen, and the second beside a lead of the limbs. */
const firstOrder = ['ii', 'i', 'v5', 'v4', 'v6', 'avf', 'v3', 'v2', 'iii', 'v1', 'v', 'avl', 'x', 'y', 'z', '', 'avr']
const secondOrder = ['v1', 'v2', 'v', 'v5', 'v4', 'v3', 'v6']
/** A lead is passed over when another one can be judged for so much more of the record. */
const usefulShareMore = 0.1
const rateMost = 1000
const flatMicrovolts = 20
const missingShareMax = 0.25
/** Of one second so long at one value at its edge is a recorder at its limit. */
const railShare = 0.4
const numerals: Readonly<Record<string, string>> = { 1: 'i', 2: 'ii', 3: 'iii' }

/** Name of a lead without what recorders write around it: `ECG lead II`, `MLII`, `D2`, `MCL1` are `ii`, `ii`, `ii`, `v1`. */
function nameOf({ description }: WfdbSignal): string {
  const words = description.toLowerCase().replaceAll(/\b(ecg|ekg|lead|chan(nel)?|ch)\b/g, ' ')
  const name = words.replaceAll(/[^a-z0-9]/g, '')
  const modified = /^(?:ml|d|l)(i{1,3}|[123])$/.exec(name)?.[1]
  if (modified !== undefined) return numerals[modified] ?? modified
  return /^(?:mcl|mv|cm|cc|cs)([1-6])$/.exec(name)?.[1]?.replace(/^/, 'v') ?? name.replace(/^(ecg|ekg)\d*$|^\d+$/, '')
}

function isEcg(signal: WfdbSignal): boolean {
  const name = nameOf(signal)
  if (leadName.test(name)) return true
  return Object.hasOwn(perMillivolt, signal.units.toLowerCase()) && !otherSignal.test(name)
}

/** A signal of the record taken for an ECG, whatever it is called. */
export function asEcgSignal(header: WfdbHeader, index: number): EcgSignal {
  const signal = header.signals[index] as WfdbSignal
  const gain = signal.gain * (perMillivolt[signal.units.toLowerCase()] ?? 1)
  return { index, name: nameOf(signal), gain, rate: header.rate * signal.samplesPerFrame }
}

/**
 * The ECG leads of a record, the one to be judged first first. A lead that is known by name counts whatever its unit is; without a unit that is known it is taken for mV.
 *
 * @throws {DiagnosisError} `ERR_INPUT_INVALID` naming the signals of a record that has no ECG.
 */
export function ecgSignals(header: WfdbHeader): EcgSignal[] {
  const leads = header.signals.flatMap((signal, index) => (isEcg(signal) ? [asEcgSignal(header, index)] : []))
  if (leads.length === 0) {
    const found = header.signals.map(({ description, units }) => `${description || 'no name'} in ${units}`).join(', ')
    throw new DiagnosisError(`no signal of the record is an ECG: ${found || 'it has none'}`, {
      code: 'ERR_INPUT_INVALID',
      field: 'signals',
    })
  }
  return sortBy(leads, ({ name }) => placeIn(firstOrder, name))
}

function placeIn(order: readonly string[], name: string): number {
  const at = order.indexOf(name)
  // What has another name comes with those that have none.
  return at >= 0 ? at : order === firstOrder ? order.indexOf('') : order.length
}

function sortBy<T>(items: readonly T[], rank: (item: T) => number): T[] {
  const indexed = items.map((item, at) => ({ item, at, rank: rank(item) }))
  return indexed.sort((a, b) => a.rank - b.rank || a.at - b.at).map(({ item }) => item)
}

/** Share of the seconds in which a lead shows something: most of it there, not flat, not at its limit. */
export function usefulShare(samples: Int32Array, { gain, rate }: Pick<EcgSignal, 'gain' | 'rate'>): number {
  const size = Math.max(1, Math.round(rate))
  let [useful, seconds] = [0, 0]
  for (let from = 0; from < samples.length; from += size) {
    const second = samples.subarray(from, from + size)
    seconds++
    let [missing, low, high] = [0, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]
    for (const sample of second) {
      if (sample === sampleMissing) missing++
      else {
        if (sample < low) low = sample
        if (sample > high) high = sample
      }
    }
    let edge = 0
    for (const sample of second) if (sample === low || sample === high) edge++
    const isThere = missing <= missingShareMax * second.length
    if (isThere && (high - low) * 1000 >= flatMicrovolts * gain && edge < railShare * second.length) useful++
  }
  return seconds === 0 ? 0 : useful / seconds
}

/** Samples of a lead at no more than the 1000 Hz that are judged: the means of groups, missing where one of the group is. */
export function thinSamples(samples: Int32Array, rate: number): { samples: Int32Array; rate: number } {
  const group = Math.ceil(rate / rateMost)
  if (group <= 1) return { samples, rate }
  const thin = new Int32Array(Math.floor(samples.length / group))
  for (let i = 0; i < thin.length; i++) {
    let sum = 0
    for (const sample of samples.subarray(i * group, (i + 1) * group))
      sum = sample === sampleMissing ? Number.NaN : sum + sample
    thin[i] = Number.isNaN(sum) ? sampleMissing : Math.round(sum / group)
  }
  return { samples: thin, rate: rate / group }
}

/**
 * The lead to judge and, if there is another one, the lead that helps: beside a lead of the limbs one of the chest, which sees the heart from another side.
 *
 * @param leads - as `ecgSignals` gives them, with the share of the record in which each shows something.
 */
export function pickLeads<T extends EcgSignal & { share: number }>(leads: readonly T[]): [T, T?] {
  const most = Math.max(0, ...leads.map(({ share }) => share))
  const useful = leads.filter(({ share }) => share >= most - usefulShareMore)
  const [first, ...others] = useful as [T, ...T[]]
  if (secondOrder.includes(first.name)) return [first, others[0]]
  return [first, sortBy(others, ({ name }) => placeIn(secondOrder, name))[0]]
}
