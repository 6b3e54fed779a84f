/** Follows one ECG stream across batches: time, gaps, and what the events of the analyser mean as findings. */
import type { EcgBatch } from './batch.ts'
import { batchSampleMissing } from './batch.ts'
import { type BeatSymbol, EcgAnalyser, type EcgEvent, parseEcgState, tickMs } from './ecg/analyser.ts'
import { DiagnosisError } from './errors.ts'
import type { Episodes, Evidence, FindingCode, Severity } from './findings.ts'
import { chooseLead, isLeadOfUse } from './lead-choice.ts'
import { beatsElsewhere } from './other-leads.ts'
import type { Parameters } from './parameters.ts'

/** Most ms between where a batch should begin and where it does for the samples to be taken as joined: clocks of devices drift. */
const jitterMs = 1000
/** Longest gap that is filled with missing samples; after a longer one the analyser begins afresh. */
const fillMs = 30_000
/** Seconds that a lead must be of no use for another one to be judged instead. */
const uselessSeconds = 5
/** Ticks after a beat and before the next one in which other leads are not asked about a pause. */
const pauseEdgeTicks = 75
/** Seconds at the end of a batch that speak for it later, and fewest of the next batch that speak for themselves. */
const edgeSeconds = 4
const insideSeconds = 1
/** A gap from here on is a finding. */
const gapMs = 5000

/** Where the ticks of the analyser lie in the records of this run. */
interface Placed {
  record: number
  firstSample: number
  count: number
}

/** Beats that are a finding each. */
const beatCodes: Partial<Record<BeatSymbol, FindingCode>> = { V: 'ecg.ventricular-beats', F: 'ecg.fusion-beats' }
const rhythmCodes: Partial<Record<string, FindingCode>> = {
  AFIB: 'ecg.possible-af',
  VT: 'ecg.ventricular-tachycardia',
  VFL: 'ecg.ventricular-fibrillation',
  SVTA: 'ecg.supraventricular-tachycardia',
  B: 'ecg.ventricular-bigeminy',
  T: 'ecg.ventricular-trigeminy',
  IVR: 'ecg.idioventricular-rhythm',
  P: 'ecg.paced-rhythm',
}
const rhythmSeverity: Partial<Record<FindingCode, Severity>> = {
  'ecg.possible-af': 'medium',
  'ecg.ventricular-tachycardia': 'high',
  'ecg.ventricular-fibrillation': 'critical',
  'ecg.supraventricular-tachycardia': 'low',
  'ecg.ventricular-bigeminy': 'low',
  'ecg.ventricular-trigeminy': 'low',
  'ecg.idioventricular-rhythm': 'medium',
  'ecg.paced-rhythm': 'info',
}

/** What is carried of an ECG stream: whole numbers and the state of its analyser. */
export interface EcgStreamState {
  originMs: number
  /** Samples of each lead taken since `originMs`. */
  samples: number
  /** Index of the rhythm that lasts among `rhythmCodes`, plus one; 0 = none of them. */
  rhythm: number
  /** Ventricular beats in a row, at most 3. */
  run: number
  /** Name of the lead that is judged. */
  lead: string
  /** True when another lead of the last batch showed beats at its end. */
  elsewhere: boolean
  analyser: Uint8Array
}

const rhythmNames = Object.keys(rhythmCodes)

/** One ECG stream during a run. */
export class EcgStream {
  readonly #parameters: Parameters
  readonly #episodes: Episodes
  #analyser: EcgAnalyser | undefined
  #originMs = 0
  #samples = 0
  #rhythm: string | undefined
  #run = 0
  #lead = ''
  #elsewhere = false
  #quality = 'good'
  #placed: Placed[] = []
  /** The batch that is taken, and which of its leads is judged. */
  #batch: { batch: EcgBatch; lead: number } | undefined

  constructor(parameters: Parameters, episodes: Episodes, carried?: EcgStreamState) {
    this.#parameters = parameters
    this.#episodes = episodes
    if (carried === undefined) return
    this.#analyser = parseEcgState(carried.analyser)
    this.#originMs = carried.originMs
    this.#samples = carried.samples
    this.#rhythm = rhythmNames[carried.rhythm - 1]
    this.#run = carried.run
    this.#lead = carried.lead
    this.#elsewhere = carried.elsewhere
    this.#quality = this.#analyser.quality
  }

  /** Unix ms just after the newest sample. */
  get endMs(): number {
    const rate = this.#analyser?.rateMilliHz ?? 1
    return this.#originMs + Math.round((this.#samples * 1_000_000) / rate)
  }

  /** Takes the next batch; `record` is its index in the input of the run. */
  push(batch: EcgBatch, record: number): void {
    const leads = batch.leads.length
    if (batch.unit !== 'mv') throw new DiagnosisError('ECG is not in mv', { code: 'ERR_INPUT_INVALID', field: 'unit' })
    const lead = this.#leadOf(batch)
    const isSame = batch.leads[lead] === this.#lead
    this.#lead = batch.leads[lead] as string
    const analyser = this.#continue(batch, isSame)
    const count = Math.floor(batch.samples.length / leads)
    const scale = 1_000_000 / batch.gainMilli
    const microvolts = new Float64Array(count)
    for (let i = 0; i < count; i++) {
      const sample = batch.samples[i * leads + lead] as number
      microvolts[i] = sample === batchSampleMissing ? Number.NaN : (sample - batch.baseline) * scale
    }
    this.#batch = { batch, lead }
    this.#placed.push({ record, firstSample: this.#samples, count })
    this.#samples += count
    for (const event of analyser.push(microvolts)) this.#hear(event)
    this.#prolong()
    const atEnd = Math.round((edgeSeconds * batch.rateMilliHz) / 1000)
    this.#elsewhere = leads > 1 && beatsElsewhere(batch, lead, Math.max(0, count - atEnd), count)
  }

  /** The lead that the doctor set, else the one that was judged before while it is of use, else the best one. */
  #leadOf(batch: EcgBatch): number {
    const { lead } = this.#parameters
    if (lead < batch.leads.length) return lead
    const before = batch.leads.indexOf(this.#lead)
    const seconds = (batch.samples.length * 1000) / (batch.leads.length * batch.rateMilliHz)
    if (before >= 0 && (seconds < uselessSeconds || isLeadOfUse(batch, before))) return before
    const best = chooseLead(batch)
    return before < 0 || isLeadOfUse(batch, best) ? best : before
  }

  /** The analyser for the next batch: the same one, after its gap is filled, or a new one. */
  #continue(batch: EcgBatch, isSameLead: boolean): EcgAnalyser {
    const gap = batch.startMs - this.endMs
    const analyser = this.#analyser
    if (analyser !== undefined && gap >= gapMs) {
      this.#episodes.see({ code: 'stream.gap', fromMs: this.endMs, toMs: batch.startMs, severity: 'medium', value: 0 })
      this.#episodes.end('stream.gap', batch.startMs)
    }
    const isJoined = gap >= -jitterMs && gap <= fillMs
    if (analyser !== undefined && isSameLead && analyser.rateMilliHz === batch.rateMilliHz && isJoined) {
      if (gap <= jitterMs) return analyser
      const missing = Math.round((gap * batch.rateMilliHz) / 1_000_000)
      this.#samples += missing
      for (const event of analyser.push(new Float64Array(missing).fill(Number.NaN))) this.#hear(event)
      return analyser
    }
    if (analyser !== undefined) this.close()
    this.#originMs = batch.startMs
    this.#samples = 0
    this.#placed = []
    this.#analyser = new EcgAnalyser({ rateMilliHz: batch.rateMilliHz })
    return this.#analyser
  }

  /** Ends what lasts in this stream. */
  close(): void {
    const codes: FindingCode[] = [
      'ecg.asystole',
      'ecg.bradycardia',
      'ecg.tachycardia',
      'ecg.unreadable',
      'ecg.ventricular-beats',
      'ecg.ventricular-couplet',
      'ecg.fusion-beats',
      'ecg.pause',
    ]
    for (const code of [...codes, ...(Object.values(rhythmCodes) as FindingCode[])])
      this.#episodes.end(code, this.endMs)
    this.#rhythm = undefined
    this.#run = 0
    this.#quality = 'good'
  }

  #hear(event: EcgEvent): void {
    const atMs = this.#timeOf(event.tick)
    if (event.type === 'beat') this.#hearBeat(event, atMs)
    else if (event.type === 'silence') {
      if (this.#isElsewhere(event.tick - event.ms / tickMs, event.tick)) return
      this.#see('ecg.asystole', event.tick - event.ms / tickMs, event.tick, 'critical', event.ms)
    } else if (event.type === 'rhythm') this.#hearRhythm(event.rhythm, event.tick, atMs)
    else {
      if (event.quality === 'good') this.#episodes.end('ecg.unreadable', atMs)
      else this.#see('ecg.unreadable', event.tick, event.tick, 'info', 0)
      this.#quality = event.quality
    }
  }

  #hearRhythm(rhythm: string, tick: number, atMs: number): void {
    const before = this.#rhythm === undefined ? undefined : rhythmCodes[this.#rhythm]
    if (before !== undefined) this.#episodes.end(before, atMs)
    this.#rhythm = rhythmCodes[rhythm] === undefined ? undefined : rhythm
    const code = rhythmCodes[rhythm]
    if (code !== undefined) this.#see(code, tick, tick, rhythmSeverity[code] ?? 'medium', 0)
  }

  #hearBeat(beat: Extract<EcgEvent, { type: 'beat' }>, atMs: number): void {
    const { tick, intervalMs, rate } = beat
    this.#episodes.end('ecg.asystole', atMs)
    const from = tick - intervalMs / tickMs
    if (intervalMs >= this.#parameters.pauseMs && !this.#isElsewhere(from + pauseEdgeTicks, tick - pauseEdgeTicks)) {
      this.#see('ecg.pause', from, tick, intervalMs > 3000 ? 'high' : 'medium', intervalMs)
      this.#episodes.end('ecg.pause', atMs)
    }
    const code = beatCodes[beat.symbol]
    if (code !== undefined) {
      this.#see(code, tick, tick, 'low', 0)
      this.#episodes.end(code, atMs)
    }
    this.#countRun(beat.counted === 'V', from, tick, atMs)
    if (rate === 0 || intervalMs === 0) return
    const { bradycardiaBelow, tachycardiaAbove } = this.#parameters
    if (rate < bradycardiaBelow) this.#see('ecg.bradycardia', from, tick, rate < 40 ? 'high' : 'medium', rate * 1000)
    else if (rate >= bradycardiaBelow + 3) this.#episodes.end('ecg.bradycardia', atMs)
    if (rate > tachycardiaAbove) this.#see('ecg.tachycardia', from, tick, rate > 150 ? 'high' : 'low', rate * 1000)
    else if (rate <= tachycardiaAbove - 5) this.#episodes.end('ecg.tachycardia', atMs)
    const lasting = this.#rhythm === undefined ? undefined : rhythmCodes[this.#rhythm]
    if (lasting !== undefined) this.#see(lasting, tick, tick, rhythmSeverity[lasting] ?? 'medium', rate * 1000)
  }

  /**
   * True when, between two ticks, another lead of the newest batch shows beats. What is told just after a batch began concerns the one before it: then its end counts.
   */
  #isElsewhere(fromTick: number, toTick: number): boolean {
    const [placed, taken] = [this.#placed.at(-1), this.#batch]
    if (placed === undefined || taken === undefined || taken.batch.leads.length === 1) return false
    const perTick = taken.batch.rateMilliHz / 250_000
    const frameOf = (tick: number) => Math.floor(tick * perTick) - placed.firstSample
    const [from, to] = [Math.max(0, frameOf(fromTick)), frameOf(toTick)]
    if (to - from < (insideSeconds * taken.batch.rateMilliHz) / 1000 && frameOf(fromTick) < 0) return this.#elsewhere
    return beatsElsewhere(taken.batch, taken.lead, from, to)
  }

  /** Two ventricular beats and then another one are a couplet; three are a rhythm. */
  #countRun(isVentricular: boolean, from: number, tick: number, atMs: number): void {
    if (!isVentricular && this.#run === 2) {
      this.#see('ecg.ventricular-couplet', from, tick, 'low', 0)
      this.#episodes.end('ecg.ventricular-couplet', atMs)
    }
    this.#run = isVentricular ? Math.min(3, this.#run + 1) : 0
  }

  /** What lasts at the end of a batch has lasted to there. */
  #prolong(): void {
    const end = this.#analyser?.tick ?? 0
    if (this.#quality !== 'good') this.#see('ecg.unreadable', end, end, 'info', 0)
    if (this.#rhythm === 'VFL') this.#see('ecg.ventricular-fibrillation', end, end, 'critical', 0)
  }

  #see(code: FindingCode, fromTick: number, toTick: number, severity: Severity, value: number): void {
    const fromMs = this.#timeOf(Math.max(0, fromTick))
    this.#episodes.see({
      code,
      fromMs,
      toMs: this.#timeOf(toTick),
      severity,
      value,
      evidence: this.#evidence(fromTick, toTick),
    })
  }

  #timeOf(tick: number): number {
    return this.#originMs + Math.round(tick * tickMs)
  }

  /** The samples of the newest record that a stretch of ticks touches. */
  #evidence(fromTick: number, toTick: number): Evidence | undefined {
    const perTick = (this.#analyser?.rateMilliHz ?? 0) / 250_000
    const from = Math.floor(fromTick * perTick)
    const to = Math.floor(toTick * perTick)
    const placed = this.#placed.findLast(({ firstSample }) => firstSample <= to)
    if (placed === undefined) return undefined
    const first = Math.max(0, Math.min(placed.count - 1, from - placed.firstSample))
    return { record: placed.record, first, last: Math.max(first, Math.min(placed.count - 1, to - placed.firstSample)) }
  }

  /** What a later run needs; undefined before the first batch. */
  carry(): EcgStreamState | undefined {
    if (this.#analyser === undefined) return undefined
    return {
      originMs: this.#originMs,
      samples: this.#samples,
      rhythm: this.#rhythm === undefined ? 0 : rhythmNames.indexOf(this.#rhythm) + 1,
      run: this.#run,
      lead: this.#lead,
      elsewhere: this.#elsewhere,
      analyser: this.#analyser.encodeState(),
    }
  }
}
