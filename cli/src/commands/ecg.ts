import { readFile, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { gunzip } from 'node:zlib'
import { annotateEcg, annotateIntervals, type EcgLead, parseIntervals } from '@healthblock/diagnosis/annotate'
import { classifyEcg } from '@healthblock/diagnosis/classify'
import { asEcgSignal, ecgSignals, pickLeads, thinSamples, usefulShare } from '@healthblock/diagnosis/record-leads'
import { measureTrends } from '@healthblock/diagnosis/trends'
import {
  type Annotation,
  decodeSignal,
  encodeAnnotations,
  isBeat,
  parseHeader,
  type WfdbSignal,
} from '@healthblock/diagnosis/wfdb'
import { ensureFolder } from '@healthblock/runtime/files'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseCount, parseOptions, takePositionals } from '../options.ts'

const help = `Usage:
  ./healthblock ecg annotate RECORD --out DIR [--channel N]    writes WFDB annotations DIR/<name>.hb
  ./healthblock ecg rhythm --rr FILE[.gz] --rate HZ --out FILE lines "start RR_seconds end" (start, end in samples)
  ./healthblock ecg classify RECORD...                         one JSON object a line: record, label (N A O ~), probabilities
  ./healthblock ecg trends RECORD                              one JSON object a line, for each five minutes: rate and its variability, breaths, ST level

RECORD is the path of a WFDB record without its extension. Channels count from 0; without --channel the best ECG lead is taken (II, I, V5, … of
those that show something; pressures, pulse waves and the like are left out), and another one helps. --json for all.
`

/** Largest unpacked file of intervals. */
const intervalBytesMax = 512 * 1024 * 1024
/** Largest annotation rate in Hz. */
const rateMax = 10_000

async function readInput(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path)
  } catch (cause) {
    const code = (cause as { code?: string }).code ?? 'unknown error'
    throw new CommandError(`cannot read ${path} (${code})`, undefined, { cause })
  }
}

/** Runs `work`, and says which file a fault lies in. */
function within<T>(path: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    const detail = (cause as { detail?: { code: string; field?: string } }).detail
    const message = cause instanceof Error ? cause.message : String(cause)
    throw new CommandError(`${path}: ${message}`, { error: { ...detail, file: path, message } }, { cause })
  }
}

/** What is read of a record: the lead that is judged, the one that helps, and the frames a second that annotations count in. */
interface ReadRecord {
  readonly leads: [EcgLead, EcgLead?]
  readonly frameRate: number
}

/** The lead that is asked for, alone; without a channel the best ECG lead, and another one to help. */
async function readLeads(record: string, channel: number | undefined): Promise<ReadRecord> {
  const path = record.replace(/\.hea$/, '')
  const headerBytes = await readInput(`${path}.hea`)
  const header = within(`${path}.hea`, () => parseHeader(headerBytes))
  if (channel !== undefined && header.signals[channel] === undefined)
    throw new CommandError(`${path} has no channel ${channel}, only ${header.signals.length}`)
  const signals = within(path, () => (channel === undefined ? ecgSignals(header) : [asEcgSignal(header, channel)]))
  const files = new Map<string, Uint8Array>()
  const leads = []
  for (const signal of signals) {
    const { file, baseline } = header.signals[signal.index] as WfdbSignal
    const at = join(dirname(path), file)
    const bytes = files.get(at) ?? (await readInput(at))
    files.set(at, bytes)
    const samples = within(at, () => decodeSignal(header, signal.index, bytes))
    leads.push({ ...signal, ...thinSamples(samples, signal.rate), baseline, share: usefulShare(samples, signal) })
  }
  return { leads: pickLeads(leads as [(typeof leads)[0]]), frameRate: header.rate }
}

function summaryOf(annotations: readonly Annotation[]) {
  const beats: Record<string, number> = {}
  for (const { symbol } of annotations) if (isBeat(symbol)) beats[symbol] = (beats[symbol] ?? 0) + 1
  const rhythms = annotations
    .filter(({ symbol }) => symbol === '+')
    .map(({ sample, aux }) => ({ sample, rhythm: aux.slice(1) }))
  const unreadable = annotations.filter(({ symbol, subtype }) => symbol === '~' && subtype !== 0).length
  return { beats, rhythms, unreadable }
}

async function annotate(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { out: { type: 'string' }, channel: { type: 'string' } })
  const [record] = takePositionals(positionals, ['RECORD'])
  if (values.out === undefined) throw new UsageError('needs --out DIR')
  const channel =
    values.channel === undefined ? undefined : parseCount(values.channel, 'channel', { least: 0, most: 63, preset: 0 })
  const { leads, frameRate } = await readLeads(record, channel)
  const perSample = frameRate / leads[0].rate
  const annotations = within(record, () => annotateEcg(...leads)).map((annotation) => ({
    ...annotation,
    sample: Math.floor(annotation.sample * perSample),
  }))
  ensureFolder(values.out, { mode: 0o777 })
  const path = join(values.out, `${basename(record.replace(/\.hea$/, ''))}.hb`)
  await writeFile(path, encodeAnnotations(annotations))
  const summary = summaryOf(annotations)
  if (values.json === true)
    io.stdout(`${JSON.stringify({ record, file: path, annotations: annotations.length, ...summary })}\n`)
  else {
    const beats = Object.entries(summary.beats).map(([symbol, count]) => `${count} ${symbol}`)
    io.stdout(
      `${path}: ${beats.join(', ') || 'no beats'}; ${summary.rhythms.length} rhythms, ${summary.unreadable} unreadable stretches\n`,
    )
  }
  return 0
}

async function rhythm(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    rr: { type: 'string' },
    rate: { type: 'string' },
    out: { type: 'string' },
  })
  takePositionals(positionals, [])
  const { rr, out } = values
  if (rr === undefined || out === undefined || values.rate === undefined)
    throw new UsageError('needs --rr FILE --rate HZ --out FILE')
  const rate = Number(values.rate)
  if (!(rate > 0 && rate <= rateMax)) throw new UsageError(`--rate takes a number above 0 and at most ${rateMax}`)
  const raw = await readInput(rr)
  const isPacked = raw[0] === 0x1f && raw[1] === 0x8b
  const text = isPacked ? await unpack(rr, raw) : raw
  const intervals = within(rr, () => parseIntervals(new TextDecoder('latin1').decode(text)))
  const annotations = annotateIntervals(intervals, rate)
  ensureFolder(dirname(out), { mode: 0o777 })
  await writeFile(out, encodeAnnotations(annotations))
  const { rhythms } = summaryOf(annotations)
  const seconds = intervals.length > 0 ? ((intervals.at(-1)?.end ?? 0) - (intervals[0]?.start ?? 0)) / rate : 0
  if (values.json === true)
    io.stdout(`${JSON.stringify({ file: out, intervals: intervals.length, seconds, rhythms })}\n`)
  else io.stdout(`${out}: ${intervals.length} intervals, ${seconds.toFixed(0)} s, ${rhythms.length} rhythms\n`)
  return 0
}

async function unpack(path: string, raw: Uint8Array): Promise<Uint8Array> {
  try {
    return await promisify(gunzip)(raw, { maxOutputLength: intervalBytesMax })
  } catch (cause) {
    throw new CommandError(`${path}: cannot be unpacked`, undefined, { cause })
  }
}

async function classify(args: string[], io: Io): Promise<ExitCode> {
  const { positionals } = parseOptions(args, {})
  if (positionals.length === 0) throw new UsageError('needs RECORD...')
  let exit: ExitCode = 0
  for (const record of positionals) {
    try {
      const [lead] = (await readLeads(record, undefined)).leads
      io.stdout(`${JSON.stringify({ record, ...within(record, () => classifyEcg(lead)) })}\n`)
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      exit = 1
      io.stdout(`${JSON.stringify({ record, ...(error.json ?? { error: { message: error.message } }) })}\n`)
    }
  }
  return exit
}

async function trends(args: string[], io: Io): Promise<ExitCode> {
  const { positionals } = parseOptions(args, {})
  const [record] = takePositionals(positionals, ['RECORD'])
  const [lead] = (await readLeads(record, undefined)).leads
  for (const trend of within(record, () => measureTrends(lead))) io.stdout(`${JSON.stringify({ record, ...trend })}\n`)
  return 0
}

const actions = { annotate, rhythm, classify, trends } as const

/** `./healthblock ecg`. */
export async function runEcg(args: string[], io: Io): Promise<ExitCode> {
  const [name, ...rest] = args
  if (name === '--help' || name === '-h' || rest.includes('--help') || rest.includes('-h')) {
    io.stdout(help)
    return 0
  }
  if (name === undefined || !Object.hasOwn(actions, name))
    throw new UsageError('needs one of annotate, rhythm, classify, trends')
  return actions[name as keyof typeof actions](rest, io)
}
