import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { generateEcg } from '@healthblock/diagnosis/generator'
import { parseAnnotations } from '@healthblock/diagnosis/wfdb'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CommandError, type Io, UsageError } from '../io.ts'
import { runEcg } from './ecg.ts'
import { runScore } from './score.ts'

const shared = new URL('../../../../shared/data/', import.meta.url)
const hasData = existsSync(shared)
/** A Python that has PhysioNet's own `wfdb`; set PYTHON to one in a virtual environment. */
const python = process.env.PYTHON ?? 'python3'
const hasWfdb = spawnSync(python, ['-c', 'import wfdb']).status === 0
let dir = ''

function terminal(input: string[] = []) {
  const out: string[] = []
  const err: string[] = []
  const io: Io = {
    stdin: (async function* () {
      for (const piece of input) yield new TextEncoder().encode(piece)
    })(),
    stdout: (text) => void out.push(text),
    stderr: (text) => void err.push(text),
    interactive: false,
  }
  return {
    io,
    text: () => out.join(''),
    lines: () =>
      out
        .join('')
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line)),
    err,
  }
}

function writeRecord(name: string, rhythm: 'regular' | 'irregular', head = `${name} 1 300 9000`) {
  const ecg = generateEcg({ seed: 4, rateHz: 300, seconds: 30, rhythm })
  const samples = Int16Array.from(ecg, (mv) => Math.round(mv * 1000))
  writeFileSync(join(dir, `${name}.hea`), `${head}\n${name}.dat 16 1000/mV 16 0\n`)
  writeFileSync(join(dir, `${name}.dat`), new Uint8Array(samples.buffer))
  return join(dir, name)
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'healthblock-ecg-'))
})
afterAll(() => rmSync(dir, { recursive: true }))

describe('ecg annotate', () => {
  test.skipIf(!hasWfdb)("PhysioNet's own wfdb for Python reads what is written", async () => {
    const { io } = terminal()
    expect(await runEcg(['annotate', writeRecord('two', 'irregular'), '--out', dir, '--json'], io)).toBe(0)
    const own = parseAnnotations(new Uint8Array(readFileSync(join(dir, 'two.hb'))))
    const script = `import wfdb, json
a = wfdb.rdann('two', 'hb')
print(json.dumps([a.sample.tolist(), a.symbol, [text.strip(chr(0)) for text in a.aux_note]]))`
    const { stdout, stderr } = spawnSync(python, ['-c', script], { cwd: dir, encoding: 'utf8' })
    expect(stderr).toBe('')
    expect(JSON.parse(stdout)).toEqual([
      own.map(({ sample }) => sample),
      own.map(({ symbol }) => symbol),
      own.map(({ aux }) => aux),
    ])
  })

  test('writes WFDB annotations of the record into the folder', async () => {
    const { io, lines } = terminal()
    const out = join(dir, 'out', 'deep')
    expect(await runEcg(['annotate', writeRecord('one', 'regular'), '--out', out, '--json'], io)).toBe(0)
    const annotations = parseAnnotations(new Uint8Array(readFileSync(join(out, 'one.hb'))))
    expect(lines()).toMatchObject([
      { file: join(out, 'one.hb'), annotations: annotations.length, rhythms: [{ rhythm: 'N' }] },
    ])
    expect(annotations[0]).toMatchObject({ symbol: '+', aux: '(N' })
    const beats = annotations.filter(({ symbol }) => symbol === 'N').map(({ sample }) => sample)
    expect(beats.length).toBeGreaterThan(30)
    expect(Math.max(...beats)).toBeLessThan(9000)
  })

  test.each([
    ['missing', 'cannot read'],
    ['rate', 'rate'],
    ['gain', 'gain'],
    ['short', 'truncated'],
    ['slow', '100 to 1000'],
  ])('a record that is %s: exit by an error that says so', async (name, message) => {
    if (name === 'rate') writeRecord(name, 'regular', `${name} 1 0 9000`)
    if (name === 'short') writeRecord(name, 'regular', `${name} 1 300 90000`)
    if (name === 'slow') writeRecord(name, 'regular', `${name} 1 50 9000`)
    if (name === 'gain') writeFileSync(join(dir, 'gain.hea'), 'gain 1 300 5\ngain.dat 16 0/mV\n')
    const run = runEcg(['annotate', join(dir, name), '--out', dir], terminal().io)
    await expect(run).rejects.toThrow(CommandError)
    await expect(run).rejects.toThrow(message)
  })

  test('of a monitor the ECG is judged, at its own rate, and annotations count frames', async () => {
    // A pressure first; then an ECG of four samples a frame, 2000 Hz, with a gap; then a lead that hangs loose.
    const ecg = generateEcg({ seed: 4, rateHz: 2000, seconds: 30 })
    const frames = Array.from({ length: 15_000 }, (_, i) => {
      const beat = Array.from({ length: 4 }, (_, k) => Math.round((ecg[4 * i + k] as number) * 1000))
      return [Math.round(80 + 40 * Math.sin(i / 64)), ...(i > 7000 && i < 8000 ? beat.fill(-32768) : beat), 3]
    })
    writeFileSync(join(dir, 'icu.dat'), new Uint8Array(Int16Array.from(frames.flat()).buffer))
    const head = 'icu 3 500 15000\nicu.dat 16 10/mmHg 16 0 0 0 0 ABP\nicu.dat 16x4 1/uV 16 0 0 0 0 lead V5\n'
    writeFileSync(join(dir, 'icu.hea'), `${head}icu.dat 16 1000/mV 16 0 0 0 0 ECG lead II\n`)
    const { io, lines } = terminal()
    expect(await runEcg(['annotate', join(dir, 'icu'), '--out', dir, '--json'], io)).toBe(0)
    expect(lines()[0]).toMatchObject({ unreadable: 1 })
    const annotations = parseAnnotations(new Uint8Array(readFileSync(join(dir, 'icu.hb'))))
    const beats = annotations.filter(({ symbol }) => 'NSV'.includes(symbol)).map(({ sample }) => sample)
    expect(beats.length).toBeGreaterThan(25)
    expect(Math.max(...beats)).toBeLessThan(15_000)
    expect(Math.max(...beats)).toBeGreaterThan(14_000)
    expect(beats.filter((sample) => sample > 7050 && sample < 7950)).toEqual([])
  })

  test('a record without an ECG is refused by what it has', async () => {
    writeFileSync(join(dir, 'pressure.hea'), 'pressure 1 125 100\npressure.dat 16 10/mmHg 16 0 0 0 0 ABP\n')
    for (const action of [
      ['annotate', join(dir, 'pressure'), '--out', dir],
      ['trends', join(dir, 'pressure')],
    ])
      await expect(runEcg(action, terminal().io)).rejects.toThrow('no signal of the record is an ECG: ABP in mmHg')
  })

  test('a channel that is not there', async () => {
    const run = runEcg(['annotate', writeRecord('one', 'regular'), '--out', dir, '--channel', '3'], terminal().io)
    await expect(run).rejects.toThrow('no channel 3')
  })
})

describe('ecg rhythm', () => {
  const text = (isPacked: boolean) => {
    let [at, chance] = [0, 1]
    const lines = Array.from({ length: 600 }, (_, i) => {
      // Without memory: what repeats itself is no fibrillation.
      chance = (chance * 48_271) % 2_147_483_647
      const seconds = i < 200 || i >= 400 ? 0.8 : 0.4 + (chance % 61) / 100
      const start = at
      at += Math.round(seconds * 250)
      return `${start}\t${seconds}\t${at}`
    })
    const bytes = Buffer.from(`${lines.join('\n')}\n`)
    return isPacked ? gzipSync(bytes) : bytes
  }

  test.each([false, true])('writes rhythm changes (packed: %s)', async (isPacked) => {
    const rr = join(dir, isPacked ? 'rr.txt.gz' : 'rr.txt')
    writeFileSync(rr, text(isPacked))
    const { io, lines } = terminal()
    const out = join(dir, 'rhythm', 'rr.hb')
    expect(await runEcg(['rhythm', '--rr', rr, '--rate', '250', '--out', out, '--json'], io)).toBe(0)
    expect(parseAnnotations(new Uint8Array(readFileSync(out))).map(({ aux }) => aux)).toEqual(['(N', '(AFIB', '(N'])
    expect(lines()).toMatchObject([{ file: out, intervals: 600 }])
  })

  test.each(['x', '1 2', '5 0.8 4', '-1 0.8 4', '1 nan 4'])('refuses a file with %j', async (line) => {
    writeFileSync(join(dir, 'bad.txt'), `0 0.8 200\n${line}\n`)
    const run = runEcg(
      ['rhythm', '--rr', join(dir, 'bad.txt'), '--rate', '250', '--out', join(dir, 'bad.hb')],
      terminal().io,
    )
    await expect(run).rejects.toThrow('line 2')
  })
})

describe('ecg classify', () => {
  test('one object a line; a record that cannot be read does not stop the others', async () => {
    const { io, lines } = terminal()
    const records = [writeRecord('calm', 'regular'), join(dir, 'nothing'), writeRecord('wild', 'irregular')]
    expect(await runEcg(['classify', ...records, '--json'], io)).toBe(1)
    const [calm, nothing, wild] = lines()
    expect(calm.record).toBe(records[0])
    expect(calm.probabilities.A).toBeLessThan(wild.probabilities.A)
    expect(nothing).toMatchObject({ record: records[1], error: { message: expect.stringContaining('cannot read') } })
    expect(['N', 'A', 'O', '~']).toContain(wild.label)
    const { N, A, O, '~': noisy } = wild.probabilities
    expect(N + A + O + noisy).toBeCloseTo(1, 9)
  })

  test('of a record that is wrong the error names the file and the field', async () => {
    const { io, lines } = terminal()
    const record = writeRecord('wrong', 'regular')
    writeFileSync(`${record}.hea`, readFileSync(`${record}.hea`, 'utf8').replace(/^(\S+ \d+) \S+/, '$1 1000000000'))
    expect(await runEcg(['classify', record], io)).toBe(1)
    expect(lines()).toMatchObject([
      { record, error: { code: 'ERR_WFDB_HEADER_INVALID', field: 'rate', file: `${record}.hea` } },
    ])
  })

  test.skipIf(!hasData)('data: a MATLAB record of the challenge', async () => {
    const { io, lines } = terminal()
    const record = new URL('cinc2017/A00001', shared).pathname
    expect(await runEcg(['classify', record], io)).toBe(0)
    expect(lines()[0].record).toBe(record)
  })
})

describe('usage', () => {
  test.each([
    [[]],
    [['nothing']],
    [['annotate']],
    [['annotate', 'x']],
    [['annotate', 'x', '--out', 'y', '--channel', '-1']],
    [['rhythm', '--rr', 'x', '--out', 'y']],
    [['rhythm', '--rr', 'x', '--out', 'y', '--rate', '0']],
    [['classify']],
    [['annotate', 'x', '--unknown']],
  ])('ecg %j is a usage error', async (args) => {
    const error = await runEcg(args, terminal().io).catch((thrown: unknown) => thrown)
    expect(error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS')).toBe(true)
  })

  test.each([[['--help']], [['annotate', '--help']]])('ecg %j prints help', async (args) => {
    const { io, text } = terminal()
    expect(await runEcg(args, io)).toBe(0)
    expect(text()).toContain('ecg annotate RECORD --out DIR')
  })
})

describe('score', () => {
  test('one object a line in, one out, whatever the pieces', async () => {
    const input =
      '{"respiratoryRate":26,"spo2":90,"supplementalOxygen":false,"systolicPressure":120,"pulse":95,"consciousness":"A","temperature":37}\n{}\n{"ageYears":3}'
    for (const size of [1, 7, 1000]) {
      const pieces = input.match(new RegExp(`[^]{1,${size}}`, 'g')) as string[]
      const { io, lines } = terminal(pieces)
      expect(await runScore(['news2'], io)).toBe(0)
      expect(lines()).toMatchObject([
        { total: 7, risk: 'high', missing: [] },
        { total: null, risk: null, notApplicable: 'no sign that NEWS2 can score was measured' },
        { total: null, risk: null, notApplicable: 'NEWS2 is not for an age below 16 years' },
      ])
      expect(lines()[1].missing).toHaveLength(7)
    }
  })

  test('a bad line says which field, and the others are scored', async () => {
    const { io, lines } = terminal(['{"pulse":-5}\nnot json\n{"pulse":80}\n'])
    expect(await runScore(['mews'], io)).toBe(1)
    expect(lines()).toMatchObject([{ error: { field: 'pulse' } }, { error: { field: 'line' } }, { total: 0 }])
  })

  test.each([[[]], [['apache']], [['news2', 'mews']], [['constructor']]])('score %j is a usage error', async (args) => {
    await expect(runScore(args, terminal().io)).rejects.toThrow(UsageError)
  })

  test('help', async () => {
    const { io, text } = terminal()
    expect(await runScore(['--help'], io)).toBe(0)
    expect(text()).toContain('news2|mews|qsofa')
  })
})
