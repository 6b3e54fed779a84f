import { existsSync, readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { isAbsolute, join, resolve } from 'node:path'
import { type GeneratedRhythm, generateEcg } from '@healthblock/diagnosis/generator'
import { projectRoot } from '../cluster/root.ts'
import { CommandError } from '../io.ts'
import type { Story } from './story.ts'

// Atrial fibrillation with fast conduction from the first minute on: something for a doctor's node to find.
const preferredRecord = join(projectRoot, '..', 'shared', 'data', 'mitdb', '203')

function secondsOf(path: string): number {
  const head = (readFileSync(`${path}.hea`, 'utf8').split('\n')[0] ?? '').trim().split(/\s+/)
  const rate = Number.parseFloat(head[2] ?? '')
  const samples = Number(head[3] ?? '')
  if (!(rate > 0) || !(samples > 0)) throw new CommandError(`${path}.hea has no length`)
  return Math.floor(samples / rate)
}

/**
 * Writes a generated one-lead record `FOLDER/<name>.hea` and `.dat` (WFDB format 16).
 *
 * @returns Its path without ending.
 */
export async function writeGeneratedRecord(
  folder: string,
  options: { name: string; seed: number; rateHz: number; seconds: number; rhythm: GeneratedRhythm },
): Promise<string> {
  const { name, rateHz } = options
  const gain = 200
  const samples = Int16Array.from(generateEcg(options), (millivolts) => Math.round(millivolts * gain))
  await mkdir(folder, { recursive: true })
  const checksum = samples.reduce((sum, value) => (sum + value) & 0xffff, 0)
  const signed = checksum > 0x7fff ? checksum - 0x10000 : checksum
  const signal = `${name}.dat 16 ${gain} 16 0 ${samples[0]} ${signed} 0 II`
  await writeFile(join(folder, `${name}.hea`), `${name} 1 ${rateHz} ${samples.length}\n${signal}\n`)
  await writeFile(join(folder, `${name}.dat`), new Uint8Array(samples.buffer))
  return join(folder, name)
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
