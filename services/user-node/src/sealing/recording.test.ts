/** Recordings as they come from monitors: waveforms, numerics, both, neither, and broken ones. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EcgBatch, VitalsBatch } from '@healthblock/diagnosis/batch'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { loadRecording } from './recording.ts'

const data = join(import.meta.dirname, '..', '..', '..', '..', '..', 'shared', 'data')
let dir: string

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'recording-'))
})
afterAll(() => {
  rmSync(dir, { recursive: true })
})

/** Sum of the values modulo 2^16, as a signed number. */
function checksum(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0)
  return (sum << 16) >> 16
}

/** Writes a record of format 16: signals as [header's end, values], `rate` frames a second. */
function write(name: string, rate: number, signals: [gain: string, description: string, values: number[]][]): string {
  const count = signals[0]?.[2].length ?? 0
  const samples = new Int16Array(count * signals.length)
  for (const [position, [, , values]] of signals.entries())
    for (let i = 0; i < count; i++) samples[i * signals.length + position] = values[i] as number
  const lines = signals.map(
    ([gain, description, values]) => `${name}.dat 16 ${gain} 16 0 ${values[0]} ${checksum(values)} 0 ${description}`,
  )
  writeFileSync(join(dir, `${name}.hea`), `${[`${name} ${signals.length} ${rate} ${count}`, ...lines].join('\n')}\n`)
  writeFileSync(join(dir, `${name}.dat`), new Uint8Array(samples.buffer))
  return join(dir, name)
}

const fails = async (path: string): Promise<string> => {
  const error = await loadRecording(path).then(
    () => undefined,
    (cause: unknown) => cause as Error & { detail: { code: string } },
  )
  expect(error?.detail.code).toBe('ERR_RECORD_INVALID')
  return error?.message ?? ''
}

test('what is no file is not read: a pipe would be waited for without end', async () => {
  execFileSync('mkfifo', [join(dir, 'pipe.hea')])
  expect(await fails(join(dir, 'pipe'))).toContain('pipe.hea is no file')
})

test('numerics of a monitor become vital signs, without what it could not measure', async () => {
  const path = write('numerics', 1, [
    ['1/bpm', 'HR', [80, 0, 82]],
    ['1/%', 'SpO2', [97, 96, -32768]],
    ['10/degC', 'Temp', [365, 366, 367]],
    ['1/NU', 'Quality', [1, 1, 1]],
  ])
  const recording = await loadRecording(path)
  expect(recording).toMatchObject({ kind: 'vitals', rateHz: 1, frames: 3 })
  const { rows } = recording.piece(0, 3, 5_000) as VitalsBatch
  expect(rows).toEqual([
    { atMs: 5_000, sign: 'heart-rate', value: 80 },
    { atMs: 5_000, sign: 'spo2', value: 97 },
    { atMs: 5_000, sign: 'temperature', value: 36.5 },
    { atMs: 6_000, sign: 'spo2', value: 96 },
    { atMs: 6_000, sign: 'temperature', value: 36.6 },
    { atMs: 7_000, sign: 'heart-rate', value: 82 },
    { atMs: 7_000, sign: 'temperature', value: 36.7 },
  ])
})

test('a stretch in which nothing was measured is no batch', async () => {
  const recording = await loadRecording(write('nothing', 1, [['1/bpm', 'HR', [0, 0, 71]]]))
  expect(recording.piece(0, 2, 0)).toBeUndefined()
  expect(recording.piece(0, 3, 0)?.kind).toBe('vitals')
})

test('of the signals of a monitor only those in millivolts are an ECG, wherever they stand', async () => {
  const values = Array.from({ length: 125 }, (_, i) => i)
  const path = write('waves', 125, [
    ['100/pm', 'RESP', values],
    ['100/NU', 'PLETH', values],
    ['200/mV', 'V', values.map((value) => value + 1)],
    ['200/mV', 'II', values.map((value) => value + 2)],
    ['200/mV', 'AVR', values],
  ])
  const recording = await loadRecording(path)
  expect(recording).toMatchObject({ kind: 'ecg', rateHz: 125, frames: 125 })
  const batch = recording.piece(10, 12, 0) as EcgBatch
  expect(batch.leads).toEqual(['ii', 'v'])
  expect([...batch.samples]).toEqual([12, 11, 13, 12])
})

test('a second lead of another gain is left out', async () => {
  const path = write('gains', 250, [
    ['200/mV', 'II', [1, 2]],
    ['100/mV', 'V1', [3, 4]],
  ])
  expect(((await loadRecording(path)).piece(0, 2, 0) as EcgBatch).leads).toEqual(['ii'])
})

test('what cannot be used is named, with the file', async () => {
  expect(await fails(join(dir, 'absent'))).toBe('absent.hea does not exist')
  writeFileSync(join(dir, 'text.hea'), 'this is not a header\n')
  expect(await fails(join(dir, 'text'))).toMatch(/^text\.hea is not a WFDB header: /)
  expect(await fails(write('pleth', 125, [['100/NU', 'PLETH', [1, 2]]]))).toBe(
    'pleth.hea has no ECG among its signals: PLETH in NU',
  )
  expect(await fails(write('quality', 1, [['1/NU', 'Quality', [1, 2]]]))).toContain('no vital sign that is known')
  const short = write('short', 250, [['200/mV', 'II', [1, 2, 3, 4]]])
  writeFileSync(`${short}.dat`, new Uint8Array(4))
  expect(await fails(short)).toMatch(/^short\.dat: /)
  rmSync(`${short}.dat`)
  expect(await fails(short)).toBe('short.dat does not exist')
})

describe.skipIf(!existsSync(join(data, 'mitdb')))('records of ../shared/data', () => {
  test('106 of MIT-BIH has two leads of one gain', async () => {
    const recording = await loadRecording(join(data, 'mitdb', '106'))
    expect(recording).toMatchObject({ kind: 'ecg', rateHz: 360, frames: 650_000 })
    expect((recording.piece(0, 360, 0) as EcgBatch).samples.length).toBe(720)
  })
})
