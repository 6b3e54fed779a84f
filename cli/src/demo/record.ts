import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { type GeneratedRhythm, generateEcg } from '@healthblock/diagnosis/generator'
import { projectRoot } from '../cluster/root.ts'
import { CommandError } from '../io.ts'
import type { Story } from './story.ts'

// Atrial fibrillation with fast conduction from the first minute on: something for a doctor's node to find.
const preferredRecord = join(projectRoot, '..', 'shared', 'data', 'mitdb', '203')
// Low oxygen all the time: with fever and a low pressure it is an emergency.
const preferredVitals = join(projectRoot, '..', 'shared', 'data', 'bidmc', 'bidmc_49')

function secondsOf(path: string): number {
  const head = (readFileSync(`${path}.hea`, 'utf8').split('\n')[0] ?? '').trim().split(/\s+/)
  const rate = Number.parseFloat(head[2] ?? '')
  const samples = Number(head[3] ?? '')
  if (!(rate > 0) || !(samples > 0)) throw new CommandError(`${path}.hea has no length`)
  return Math.floor(samples / rate)
}

/** A signal to write: samples in units of `gain` to one of `units`. */
interface WrittenSignal {
  readonly gain: number
  readonly units: string
  readonly description: string
  readonly samples: Int16Array
}

/** Writes `FOLDER/<name>.hea` and `.dat` (WFDB format 16). Returns the path without ending. */
async function writeSignals(
  folder: string,
  record: { name: string; rateHz: number; signals: readonly WrittenSignal[] },
): Promise<string> {
  const { name, rateHz, signals } = record
  const count = signals[0]?.samples.length ?? 0
  const frames = new Int16Array(count * signals.length)
  const lines: string[] = []
  for (const [position, { gain, units, description, samples }] of signals.entries()) {
    for (let i = 0; i < count; i++) frames[i * signals.length + position] = samples[i] as number
    const sum = samples.reduce((total, value) => total + value, 0)
    lines.push(`${name}.dat 16 ${gain}/${units} 16 0 ${samples[0]} ${(sum << 16) >> 16} 0 ${description}`)
  }
  await mkdir(folder, { recursive: true })
  await writeFile(
    join(folder, `${name}.hea`),
    `${[`${name} ${signals.length} ${rateHz} ${count}`, ...lines].join('\n')}\n`,
  )
  await writeFile(join(folder, `${name}.dat`), new Uint8Array(frames.buffer))
  return join(folder, name)
}

/**
 * Writes a generated one-lead record.
 *
 * @returns Its path without ending.
 */
export function writeGeneratedRecord(
  folder: string,
  options: { name: string; seed: number; rateHz: number; seconds: number; rhythm: GeneratedRhythm },
): Promise<string> {
  const { name, rateHz } = options
  const gain = 200
  const samples = Int16Array.from(generateEcg(options), (millivolts) => Math.round(millivolts * gain))
  return writeSignals(folder, { name, rateHz, signals: [{ gain, units: 'mV', description: 'II', samples }] })
}

/** Numerics of a monitor, one value a second: heart rate, respiration, oxygen saturation. */
type Numerics = readonly (readonly [heartRate: number, respiration: number, saturation: number])[]

/** The numerics of a BIDMC file: Time, HR, PULSE, RESP, SpO2. What a monitor could not measure is 0. */
function parseNumerics(text: string): Numerics {
  const lines = text.trim().split(/\r?\n/).slice(1)
  return lines.map((line) => {
    const [, heartRate, , respiration, saturation] = line.split(',').map((cell) => Math.max(0, Number(cell) || 0))
    return [heartRate ?? 0, respiration ?? 0, saturation ?? 0]
  })
}

/** Somebody who breathes fast and lacks oxygen: slow waves around fixed values, the same each time. */
function generateNumerics(seconds: number): Numerics {
  return Array.from({ length: seconds }, (_, second) => {
    const wave = (periodSeconds: number): number => Math.sin((2 * Math.PI * second) / periodSeconds)
    return [Math.round(104 + 4 * wave(40)), Math.round(23 + wave(25)), Math.round(90 + wave(60))] as const
  })
}

/** Writes the vital signs of the story as numerics of a monitor: real ones if they are there, else generated (and it says so). */
export async function writeVitals(dir: string): Promise<Story['vitals']> {
  const isReal = existsSync(`${preferredVitals}_Numerics.csv`)
  const numerics = isReal
    ? parseNumerics(readFileSync(`${preferredVitals}_Numerics.csv`, 'utf8'))
    : generateNumerics(480)
  const signal = (position: 0 | 1 | 2, units: string, description: string): WrittenSignal => ({
    gain: 1,
    ...{ units, description, samples: Int16Array.from(numerics, (row) => Math.round(row[position])) },
  })
  const signals = [signal(0, 'bpm', 'HR'), signal(1, 'pm', 'RESP'), signal(2, '%', 'SpO2')]
  const path = await writeSignals(dir, { name: 'vitals', rateHz: 1, signals })
  const name = isReal ? `of the intensive-care patient ${preferredVitals.split('/').at(-1)}` : 'generated ones'
  return { path, name, isReal, seconds: numerics.length }
}

/** The recording of the story: the one asked for, a real one if it is there, else a generated one (and it says so). */
export async function chooseRecord(asked: string | undefined, dir: string): Promise<Story['record']> {
  const path =
    asked === undefined ? preferredRecord : (isAbsolute(asked) ? asked : resolve(asked)).replace(/\.hea$/, '')
  if (existsSync(`${path}.hea`)) {
    return { path, name: `record ${path.split('/').at(-1)}`, isReal: true, seconds: secondsOf(path) }
  }
  if (asked !== undefined) throw new CommandError(`there is no WFDB record ${asked} (looked for ${path}.hea)`)
  const generated = await writeGeneratedRecord(dir, {
    name: 'generated',
    seed: 7,
    rateHz: 360,
    seconds: 180,
    rhythm: 'irregular',
  })
  return { path: generated, name: 'a generated irregular rhythm', isReal: false, seconds: secondsOf(generated) }
}
