/** What a diagnosis says. A finding is an episode: it grows while it lasts and is one entry, however often it is told. See SPEC.md §4. */

/** Most findings of one diagnosis, the most severe first, and most pieces of evidence of one: so that a document fits its sealed size. */
export const findingsMax = 16
const evidenceMax = 8

/** How urgent a finding is. */
export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical'
/** Severities, the least urgent first. */
export const severities: readonly Severity[] = ['info', 'low', 'medium', 'high', 'critical']

/** Every finding that the algorithm can make, with its SNOMED CT concept where one fits. `score` of a finding is in thousandths. */
export const findingKinds = {
  'ecg.asystole': { snomed: '397829000', mergeMs: 10_000, leastMs: 0 },
  'ecg.ventricular-fibrillation': { snomed: '71908006', mergeMs: 15_000, leastMs: 0 },
  'ecg.ventricular-tachycardia': { snomed: '25569003', mergeMs: 60_000, leastMs: 0 },
  'ecg.possible-af': { snomed: '49436004', mergeMs: 120_000, leastMs: 30_000 },
  'ecg.pause': { snomed: undefined, mergeMs: 60_000, leastMs: 0 },
  'ecg.bradycardia': { snomed: '48867003', mergeMs: 60_000, leastMs: 10_000 },
  'ecg.tachycardia': { snomed: '3424008', mergeMs: 60_000, leastMs: 10_000 },
  'ecg.ventricular-bigeminy': { snomed: '11157007', mergeMs: 60_000, leastMs: 0 },
  'ecg.ventricular-trigeminy': { snomed: '251180001', mergeMs: 60_000, leastMs: 0 },
  'ecg.ventricular-beats': { snomed: '17338001', mergeMs: 300_000, leastMs: 0 },
  'ecg.ventricular-couplet': { snomed: undefined, mergeMs: 300_000, leastMs: 0 },
  'ecg.fusion-beats': { snomed: '13640000', mergeMs: 300_000, leastMs: 0 },
  'ecg.supraventricular-tachycardia': { snomed: '6456007', mergeMs: 60_000, leastMs: 0 },
  'ecg.idioventricular-rhythm': { snomed: '49260003', mergeMs: 60_000, leastMs: 0 },
  'ecg.paced-rhythm': { snomed: '10370003', mergeMs: 120_000, leastMs: 10_000 },
  'ecg.unreadable': { snomed: undefined, mergeMs: 10_000, leastMs: 5_000 },
  'early-warning.news2': { snomed: '1104051000000101', mergeMs: 300_000, leastMs: 0 },
  'early-warning.mews': { snomed: undefined, mergeMs: 300_000, leastMs: 0 },
  'early-warning.qsofa': { snomed: undefined, mergeMs: 300_000, leastMs: 0 },
  'vitals.hypoglycaemia': { snomed: '302866003', mergeMs: 900_000, leastMs: 0 },
  'vitals.hyperglycaemia': { snomed: '80394007', mergeMs: 900_000, leastMs: 0 },
  'vitals.fever': { snomed: '386661006', mergeMs: 3_600_000, leastMs: 0 },
  'vitals.hypothermia': { snomed: '386689009', mergeMs: 3_600_000, leastMs: 0 },
  'vitals.hypotension': { snomed: '45007003', mergeMs: 900_000, leastMs: 0 },
  'vitals.hypertension': { snomed: '38341003', mergeMs: 900_000, leastMs: 0 },
  'vitals.diastolic-hypertension': { snomed: '48146000', mergeMs: 900_000, leastMs: 0 },
  'vitals.change-heart-rate': { snomed: undefined, mergeMs: 900_000, leastMs: 0 },
  'vitals.change-respiration': { snomed: undefined, mergeMs: 900_000, leastMs: 0 },
  'vitals.change-spo2': { snomed: undefined, mergeMs: 900_000, leastMs: 0 },
  'vitals.change-temperature': { snomed: undefined, mergeMs: 3_600_000, leastMs: 0 },
  'vitals.change-systolic': { snomed: undefined, mergeMs: 900_000, leastMs: 0 },
  'stream.gap': { snomed: undefined, mergeMs: 0, leastMs: 0 },
  'stream.not-judged': { snomed: undefined, mergeMs: 3_600_000, leastMs: 0 },
} as const satisfies Record<string, { snomed: string | undefined; mergeMs: number; leastMs: number }>
/** Code of a finding. */
export type FindingCode = keyof typeof findingKinds

/** Samples of one record that a finding rests on. */
export interface Evidence {
  /** Index of the record in the input of the diagnosis. */
  record: number
  /** First and last sample in it (rows for vital signs), from 0, inclusive. */
  first: number
  last: number
}

/** One finding. */
export interface Finding {
  code: FindingCode
  /** Unix ms. `toMs` is the newest moment it is known to have lasted to. */
  fromMs: number
  toMs: number
  severity: Severity
  /** Probability in thousandths where it is one, else the score itself in thousandths. */
  score: number
  /** True while it lasts. */
  isOpen: boolean
  /** What it rests on among the records of this diagnosis; empty for one that is carried on unchanged. */
  evidence: Evidence[]
  /** What a clinician would write; UTF-8, at most 400 bytes. */
  sentence: string
}

/** An episode while it is followed; whole numbers only, so that it can be carried. */
export interface Episode {
  code: FindingCode
  fromMs: number
  toMs: number
  severity: number
  /** Measured value of the episode: smallest, greatest, newest; its unit depends on the code. */
  least: number
  most: number
  last: number
  /** How often it was seen. */
  count: number
  isOpen: boolean
}

/** Follows episodes by code: opens, grows, closes, and joins those that are close together. */
export class Episodes {
  readonly #byCode = new Map<FindingCode, Episode>()
  /** Episodes that this run touched, with what they rest on. */
  readonly #touched = new Map<Episode, Evidence[]>()

  /** Sees `code` from `fromMs` to `toMs`; joins the last episode of that code when it is near enough. */
  see(seen: {
    code: FindingCode
    fromMs: number
    toMs: number
    severity: Severity
    value: number
    evidence?: Evidence | undefined
  }): void {
    const { code, fromMs, toMs, evidence } = seen
    const value = Math.max(0, Math.round(seen.value))
    const severity = severities.indexOf(seen.severity)
    let episode = this.#byCode.get(code)
    if (episode === undefined || (!episode.isOpen && fromMs - episode.toMs > findingKinds[code].mergeMs)) {
      episode = { code, fromMs, toMs, severity, least: value, most: value, last: value, count: 0, isOpen: true }
      this.#byCode.set(code, episode)
    }
    episode.toMs = Math.max(episode.toMs, toMs)
    episode.severity = Math.max(episode.severity, severity)
    // 0 = not measured: a rhythm is told before its rate is known.
    if (value > 0) episode.least = episode.least === 0 ? value : Math.min(episode.least, value)
    episode.most = Math.max(episode.most, value)
    episode.last = value
    episode.count++
    episode.isOpen = true
    this.#note(episode, evidence)
  }

  /** Ends the episode of `code`, if one is open, at `toMs`. */
  end(code: FindingCode, toMs: number): void {
    const episode = this.#byCode.get(code)
    if (episode?.isOpen !== true) return
    episode.isOpen = false
    episode.toMs = Math.max(episode.toMs, toMs)
    this.#note(episode, undefined)
  }

  /** True while an episode of `code` lasts. */
  isOpen(code: FindingCode): boolean {
    return this.#byCode.get(code)?.isOpen === true
  }

  #note(episode: Episode, evidence: Evidence | undefined): void {
    const list = this.#touched.get(episode) ?? []
    this.#touched.set(episode, list)
    if (evidence === undefined) return
    const same = list.find(({ record }) => record === evidence.record)
    if (same === undefined) {
      // The first one shows the begin, the newest ones what lasts.
      if (list.length === evidenceMax) list.splice(1, 1)
      list.push({ ...evidence })
    } else {
      same.first = Math.min(same.first, evidence.first)
      same.last = Math.max(same.last, evidence.last)
    }
  }

  /** The findings of this run: what was touched, and what is still open. */
  findings(): Finding[] {
    const episodes = new Set(this.#touched.keys())
    for (const episode of this.#byCode.values()) if (episode.isOpen) episodes.add(episode)
    const list = [...episodes].filter((e) => e.toMs - e.fromMs >= findingKinds[e.code].leastMs)
    list.sort((a, b) => b.severity - a.severity || b.toMs - a.toMs || a.fromMs - b.fromMs || (a.code < b.code ? -1 : 1))
    return list.slice(0, findingsMax).map((episode) => ({
      code: episode.code,
      fromMs: episode.fromMs,
      toMs: episode.toMs,
      severity: severities[episode.severity] as Severity,
      score: episode.most,
      isOpen: episode.isOpen,
      evidence: this.#touched.get(episode) ?? [],
      sentence: sentenceOf(episode),
    }))
  }

  /** Episodes that a later run may still extend. */
  carried(nowMs: number): Episode[] {
    const list = [...this.#byCode.values()].filter((e) => e.isOpen || nowMs - e.toMs <= findingKinds[e.code].mergeMs)
    return list.sort((a, b) => (a.code < b.code ? -1 : 1))
  }

  /** Takes over the episodes of an earlier run. */
  restore(episodes: readonly Episode[]): void {
    for (const episode of episodes) this.#byCode.set(episode.code, { ...episode })
  }
}

/** A length of time as a clinician writes it. */
function lengthOf(ms: number): string {
  const seconds = Math.max(1, Math.round(ms / 1000))
  if (seconds < 90) return `${seconds} s`
  const minutes = Math.round(seconds / 60)
  return minutes < 90 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}

const tenths = (thousandths: number) => `${Math.floor(thousandths / 1000)}.${Math.floor((thousandths % 1000) / 100)}`
const bpm = (thousandths: number) => `${Math.round(thousandths / 1000)}`

const changed = (name: string, e: Episode, length: string, unit: string) =>
  `${name} ${tenths(e.least)} to ${tenths(e.most)}${unit} for ${length}, far from this patient's usual values at this time of day.`

const texts: Record<FindingCode, (e: Episode, length: string) => string> = {
  'ecg.asystole': (e, length) =>
    `No QRS complex for ${tenths(e.most)} s in a signal that can be judged (${length}): possible asystole.`,
  'ecg.ventricular-fibrillation': (_e, length) => `Ventricular fibrillation or flutter for ${length}.`,
  'ecg.ventricular-tachycardia': (e, length) =>
    `Wide-complex run of three beats or more (${e.count} beats seen, ${length}), rate up to ${bpm(e.most)}/min: ventricular tachycardia.`,
  'ecg.possible-af': (e, length) =>
    `Irregularly irregular rhythm for ${length}, rate ${bpm(e.least)} to ${bpm(e.most)}/min: possible atrial fibrillation.`,
  'ecg.pause': (e) => `${e.count === 1 ? 'Pause' : `${e.count} pauses, the longest`} of ${tenths(e.most)} s.`,
  'ecg.bradycardia': (e, length) => `Bradycardia for ${length}, rate ${bpm(e.least)} to ${bpm(e.most)}/min.`,
  'ecg.tachycardia': (e, length) => `Tachycardia for ${length}, rate ${bpm(e.least)} to ${bpm(e.most)}/min.`,
  'ecg.ventricular-bigeminy': (_e, length) => `Ventricular bigeminy for ${length}.`,
  'ecg.ventricular-trigeminy': (_e, length) => `Ventricular trigeminy for ${length}.`,
  'ecg.ventricular-beats': (e, length) =>
    e.count === 1 ? 'One ventricular premature beat.' : `${e.count} ventricular premature beats within ${length}.`,
  'ecg.ventricular-couplet': (e, length) =>
    e.count === 1 ? 'One ventricular couplet.' : `${e.count} ventricular couplets within ${length}.`,
  'ecg.fusion-beats': (e, length) =>
    e.count === 1
      ? 'One fusion of a ventricular and a normal beat.'
      : `${e.count} fusions of a ventricular and a normal beat within ${length}.`,
  'ecg.idioventricular-rhythm': (_e, length) =>
    `Wide-complex run of three beats or more below 100/min (${length}): idioventricular rhythm.`,
  'ecg.supraventricular-tachycardia': (e, length) =>
    `Run of three supraventricular beats or more (${length}), rate up to ${bpm(e.most)}/min: supraventricular tachycardia.`,
  'ecg.paced-rhythm': (_e, length) => `Rhythm made by a pacemaker (spikes before the complexes) for ${length}.`,
  'ecg.unreadable': (_e, length) => `ECG cannot be judged for ${length}; no statement is made about this time.`,
  'early-warning.news2': (e, length) =>
    `NEWS2 up to ${Math.floor(e.most / 1000)}, now ${Math.floor(e.last / 1000)}, for ${length}.`,
  'early-warning.mews': (e, length) =>
    `MEWS up to ${Math.floor(e.most / 1000)}, now ${Math.floor(e.last / 1000)}, for ${length}.`,
  'early-warning.qsofa': (e, length) =>
    `qSOFA ${Math.floor(e.most / 1000)} of 3 for ${length}: if an infection is suspected, a high risk of sepsis.`,
  'vitals.hypoglycaemia': (e, length) => `Glucose down to ${bpm(e.least)} mg/dL, ${length}: hypoglycaemia.`,
  'vitals.hyperglycaemia': (e, length) => `Glucose up to ${bpm(e.most)} mg/dL, ${length}: hyperglycaemia.`,
  'vitals.fever': (e, length) => `Temperature up to ${tenths(e.most)} °C, ${length}: fever.`,
  'vitals.hypothermia': (e, length) => `Temperature down to ${tenths(e.least)} °C, ${length}: hypothermia.`,
  'vitals.hypotension': (e, length) => `Systolic pressure down to ${bpm(e.least)} mmHg, ${length}: hypotension.`,
  'vitals.hypertension': (e, length) => `Systolic pressure up to ${bpm(e.most)} mmHg, ${length}: hypertension.`,
  'vitals.diastolic-hypertension': (e, length) =>
    `Diastolic pressure up to ${bpm(e.most)} mmHg, ${length}: hypertension.`,
  'vitals.change-heart-rate': (e, length) => changed('Heart rate', e, length, '/min'),
  'vitals.change-respiration': (e, length) => changed('Respiratory rate', e, length, '/min'),
  'vitals.change-spo2': (e, length) => changed('Oxygen saturation', e, length, ' %'),
  'vitals.change-temperature': (e, length) => changed('Temperature', e, length, ' °C'),
  'vitals.change-systolic': (e, length) => changed('Systolic pressure', e, length, ' mmHg'),
  'stream.gap': (_e, length) => `No data for ${length}.`,
  'stream.not-judged': (_e, length) => `More than two ECG streams at a time: one was not judged for ${length}.`,
}

const unusual = (name: string, e: Episode, unit: string) =>
  `${name} ${tenths(e.last)}${unit}, far from this patient's usual values at this time of day.`

/** What was seen at one moment has no length: one measurement, or a rhythm that was told with its newest beat. */
const momentTexts: Partial<Record<FindingCode, (e: Episode) => string>> = {
  'ecg.ventricular-fibrillation': () => 'Ventricular fibrillation or flutter, just begun.',
  'ecg.ventricular-tachycardia': () => 'Wide-complex run of three beats or more, just begun: ventricular tachycardia.',
  'ecg.ventricular-bigeminy': () => 'Ventricular bigeminy, just begun.',
  'ecg.ventricular-trigeminy': () => 'Ventricular trigeminy, just begun.',
  'ecg.idioventricular-rhythm': () =>
    'Wide-complex run of three beats or more below 100/min, just begun: idioventricular rhythm.',
  'ecg.supraventricular-tachycardia': () =>
    'Run of three supraventricular beats or more, just begun: supraventricular tachycardia.',
  'early-warning.news2': (e) => `NEWS2 ${Math.floor(e.last / 1000)} in one set of measurements.`,
  'early-warning.mews': (e) => `MEWS ${Math.floor(e.last / 1000)} in one set of measurements.`,
  'early-warning.qsofa': (e) =>
    `qSOFA ${Math.floor(e.last / 1000)} of 3 in one set of measurements: if an infection is suspected, a high risk of sepsis.`,
  'vitals.hypoglycaemia': (e) => `Glucose ${bpm(e.last)} mg/dL in one measurement: hypoglycaemia.`,
  'vitals.hyperglycaemia': (e) => `Glucose ${bpm(e.last)} mg/dL in one measurement: hyperglycaemia.`,
  'vitals.fever': (e) => `Temperature ${tenths(e.last)} °C in one measurement: fever.`,
  'vitals.hypothermia': (e) => `Temperature ${tenths(e.last)} °C in one measurement: hypothermia.`,
  'vitals.hypotension': (e) => `Systolic pressure ${bpm(e.last)} mmHg in one measurement: hypotension.`,
  'vitals.hypertension': (e) => `Systolic pressure ${bpm(e.last)} mmHg in one measurement: hypertension.`,
  'vitals.diastolic-hypertension': (e) => `Diastolic pressure ${bpm(e.last)} mmHg in one measurement: hypertension.`,
  'vitals.change-heart-rate': (e) => unusual('Heart rate', e, '/min'),
  'vitals.change-respiration': (e) => unusual('Respiratory rate', e, '/min'),
  'vitals.change-spo2': (e) => unusual('Oxygen saturation', e, ' %'),
  'vitals.change-temperature': (e) => unusual('Temperature', e, ' °C'),
  'vitals.change-systolic': (e) => unusual('Systolic pressure', e, ' mmHg'),
  'stream.not-judged': () => 'More than two ECG streams at a time: one was not judged.',
}

/** The sentence of an episode. Rates and seconds are in thousandths in `least`, `most`, `last`. */
function sentenceOf(episode: Episode): string {
  const moment = episode.toMs === episode.fromMs ? momentTexts[episode.code] : undefined
  return moment?.(episode) ?? texts[episode.code](episode, lengthOf(episode.toMs - episode.fromMs))
}
