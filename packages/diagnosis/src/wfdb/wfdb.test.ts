import { existsSync, readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DiagnosisError } from '../errors.ts'
import {
  type Annotation,
  decodeSignal,
  encodeAnnotations,
  isBeat,
  parseAnnotations,
  parseHeader,
  sampleMissing,
} from './record.ts'

const data = new URL('../../../../../shared/data/', import.meta.url)
const hasData = existsSync(data)
const read = (path: string) => new Uint8Array(readFileSync(new URL(path, data)))
const header = (text: string) => parseHeader(new TextEncoder().encode(text))
const line = 'r.dat 212 200 11 1024 995 -22131 0 MLII'

function refused(run: () => unknown): DiagnosisError['detail'] {
  try {
    run()
  } catch (error) {
    expect(error).toBeInstanceOf(DiagnosisError)
    return (error as DiagnosisError).detail
  }
  throw new Error('was accepted')
}

describe('header', () => {
  test('reads record and signal lines', () => {
    const parsed = header(`# comment\nr 2 360 650000 12:00:00\n${line}\nr.dat 212 100(5)/uV\r\n# 68 M`)
    expect(parsed).toMatchObject({ name: 'r', rate: 360, sampleCount: 650000 })
    expect(parsed.signals[0]).toMatchObject({
      gain: 200,
      baseline: 1024,
      units: 'mV',
      description: 'MLII',
      checksum: -22131,
    })
    expect(parsed.signals[1]).toMatchObject({ gain: 100, baseline: 5, units: 'uV', byteOffset: 0, checksum: undefined })
  })

  test('an offset in the file, and a gain with an exponent', () => {
    expect(header('a 1 250 10\na.mat 16+24 1.052e+04/mV').signals[0]).toMatchObject({ byteOffset: 24, gain: 10520 })
  })

  test.each([
    ['', 'record line'],
    ['# only a comment', 'record line'],
    [`r/3 2 360 100\n${line}`, 'record name'],
    [`../r 1 360 100\n${line}`, 'record name'],
    ['r', 'number of signals'],
    ['r x', 'number of signals'],
    ['r 65', 'number of signals'],
    ['r -1', 'number of signals'],
    [`r 1 0 100\n${line}`, 'rate'],
    [`r 1 -360 100\n${line}`, 'rate'],
    [`r 1 1e9 100\n${line}`, 'rate'],
    [`r 1 nan 100\n${line}`, 'rate'],
    [`r 1 0x10 100\n${line}`, 'rate'],
    [`r 1 360 -5\n${line}`, 'number of samples'],
    [`r 1 360 99999999999\n${line}`, 'number of samples'],
    [`r 1 360 1.5\n${line}`, 'number of samples'],
    ['r 2 360 100\nr.dat 212', 'signal line'],
    ['r 1 360 100\n../secret 212 200', 'signal file'],
    ['r 1 360 100\n/etc/passwd 212 200', 'signal file'],
    ['r 1 360 100\nr.dat', 'format'],
    ['r 1 360 100\nr.dat 999 200', 'format'],
    ['r 1 360 100\nr.dat 16x0 200', 'samples per frame'],
    ['r 1 360 100\nr.dat 16x65 200', 'samples per frame'],
    ['r 1 360 100\nr.dat 16:9 200', 'skew'],
    ['r 1 360 100\nr.dat 16 0 11', 'gain'],
    ['r 1 360 100\nr.dat 16 -200 11', 'gain'],
    ['r 1 360 100\nr.dat 16 abc 11', 'gain'],
    ['r 1 360 100\nr.dat 16 1e999 11', 'gain'],
    ['r 1 360 100\nr.dat 16 200(x)/mV 11', 'baseline'],
    ['r 1 360 100\nr.dat 16 200 x', 'resolution'],
    ['r 1 360 100\nr.dat 16 200 11 x', 'zero'],
    ['r 1 360 100\nr.dat 16 200 11 0 x', 'initial value'],
    ['r 1 360 100\nr.dat 16 200 11 0 0 x', 'checksum'],
  ])('refuses %j naming the %s', (text, field) => {
    expect(refused(() => header(text))).toMatchObject({ code: 'ERR_WFDB_HEADER_INVALID', field })
  })

  test('any bytes are read or refused with a typed error', () => {
    const near = fc.array(
      fc.constantFrom('r', '1', '2', '360', '0', '-1', '/', '.dat', '212', '16', ' ', '\n', '#', '(', ')', 'e9'),
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array(),
          near.map((parts) => new TextEncoder().encode(parts.join(''))),
        ),
        (bytes) => {
          try {
            parseHeader(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(DiagnosisError)
          }
        },
      ),
      { numRuns: 1000 },
    )
  })
})

describe('signals', () => {
  test('format 212 with two signals alternates', () => {
    const parsed = header('r 2 360 1\nr.dat 212\nr.dat 212')
    expect([...decodeSignal(parsed, 0, Uint8Array.of(0x01, 0xf8, 0xff))]).toEqual([-2047])
    expect([...decodeSignal(parsed, 1, Uint8Array.of(0x01, 0xf8, 0xff))]).toEqual([-1])
  })

  test('several samples of a signal in a frame are read in order, others between them', () => {
    const parsed = header('r 3 125 2\nr.dat 16 200\nr.dat 16x3 200\nr.dat 16 200')
    const bytes = new Uint8Array(Int16Array.from([1, 10, 11, 12, 2, 3, 13, 14, -32768, 4]).buffer)
    expect([0, 1, 2].map((index) => [...decodeSignal(parsed, index, bytes)])).toEqual([
      [1, 3],
      [10, 11, 12, 13, 14, sampleMissing],
      [2, 4],
    ])
    expect(refused(() => decodeSignal(parsed, 1, bytes.subarray(1)))).toMatchObject({ code: 'ERR_WFDB_SIGNAL_INVALID' })
  })

  test.each([8, 16, 24, 32, 61, 80, 160, 212, 310, 311])(
    'format %i: a short file is refused, whatever its length',
    (format) => {
      for (let size = 0; size < 24; size++) {
        const parsed = header(`r 1 360 30\nr.dat ${format}`)
        expect(refused(() => decodeSignal(parsed, 0, new Uint8Array(size)))).toMatchObject({ field: 'file' })
        const open = header(`r 1 360\nr.dat ${format}`)
        expect(decodeSignal(open, 0, new Uint8Array(size)).length).toBeLessThanOrEqual(size * 1.5)
      }
    },
  )

  test('refuses a signal that is not there, an offset past the end, and mixed formats in one file', () => {
    expect(refused(() => decodeSignal(header('r 1 360\nr.dat 16'), 1, new Uint8Array(8)))).toMatchObject({
      field: 'signal',
    })
    expect(refused(() => decodeSignal(header('r 1 360\nr.dat 16+24'), 0, new Uint8Array(8)))).toMatchObject({
      field: 'file',
    })
    const mixed = header('r 2 360\nr.dat 16\nr.dat 212')
    expect(refused(() => decodeSignal(mixed, 0, new Uint8Array(8)))).toMatchObject({ field: 'format' })
  })

  test.skipIf(!hasData)('data: every binary format has the checksum of its header', () => {
    const parsed = parseHeader(read('wfdb-formats/binformats.hea'))
    for (const [index, signal] of parsed.signals.entries()) {
      const samples = decodeSignal(parsed, index, read(`wfdb-formats/${signal.file}`))
      const sum = checksum(samples, signal.format)
      expect([signal.format, (sum << 16) >> 16]).toEqual([signal.format, signal.checksum])
      expect(samples.length).toBe(499)
    }
  })

  test.skipIf(!hasData)('data: three channels in format 212 with an odd number of samples, and a MATLAB file', () => {
    for (const record of ['100_3chan', 'a103l', 'v102s']) {
      const parsed = parseHeader(read(`wfdb-formats/${record}.hea`))
      for (const [index, signal] of parsed.signals.entries()) {
        const samples = decodeSignal(parsed, index, read(`wfdb-formats/${signal.file}`))
        expect(samples[0]).toBe(signal.initialValue)
        const sum = checksum(samples, signal.format)
        const declared = signal.checksum as number
        expect([record, index, sum]).toEqual([record, index, declared & 0xffff])
      }
    }
  })

  test.skipIf(!hasData)('data: a record cut anywhere is refused', () => {
    const parsed = parseHeader(read('mitdb/101.hea'))
    const bytes = read('mitdb/101.dat')
    expect(decodeSignal(parsed, 0, bytes).length).toBe(650000)
    for (const size of [0, 1, 1000, bytes.length - 1]) {
      expect(refused(() => decodeSignal(parsed, 0, bytes.subarray(0, size)))).toMatchObject({ field: 'file' })
    }
  })
})

function checksum(samples: Int32Array, format: number): number {
  return samples.reduce((sum, value) => (sum + (value === -(2 ** 31) ? missingValue(format) : value)) & 0xffff, 0)
}

const missingValue = (format: number) =>
  ({ 16: -32768, 24: -8388608, 32: -(2 ** 31), 61: -32768, 80: -128, 160: -32768, 212: -2048, 310: -512, 311: -512 })[
    format
  ] ?? 0

const byte = fc.integer({ min: -128, max: 127 })
const annotation = fc.record({
  gap: fc.oneof(fc.nat(1023), fc.nat(2 ** 33)),
  symbol: fc.constantFrom('N', 'V', 'S', 'F', 'Q', '+', '~', '[', ']', '"', '/'),
  subtype: byte,
  channel: fc.nat(255),
  number: byte,
  aux: fc.string({ unit: fc.integer({ min: 1, max: 255 }).map((code) => String.fromCharCode(code)), maxLength: 40 }),
})
const annotations = fc.array(annotation, { maxLength: 30 }).map((list) => {
  let sample = 0
  return list.map(({ gap, ...rest }): Annotation => {
    sample += gap
    return { sample, ...rest }
  })
})

describe('annotations', () => {
  test('what is written is read back', () => {
    fc.assert(
      fc.property(annotations, (list) => {
        expect(parseAnnotations(encodeAnnotations(list))).toEqual(list)
      }),
    )
  })

  test('any bytes are read or refused with a typed error', () => {
    const damaged = fc.tuple(annotations.map(encodeAnnotations), fc.nat(), fc.nat(255)).map(([bytes, at, x]) => {
      bytes[at % bytes.length] = (bytes[at % bytes.length] as number) ^ x
      return bytes
    })
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), damaged), (bytes) => {
        try {
          parseAnnotations(bytes)
        } catch (error) {
          expect(error).toBeInstanceOf(DiagnosisError)
        }
      }),
      { numRuns: 2000 },
    )
  })

  test('a cut file is refused', () => {
    const bytes = encodeAnnotations([{ sample: 5, symbol: '+', subtype: 0, channel: 0, number: 0, aux: '(N' }])
    for (let size = 0; size < bytes.length; size++) refused(() => parseAnnotations(bytes.subarray(0, size)))
  })

  test.each([
    [{ sample: -1 }, 'sample'],
    [{ sample: 1.5 }, 'sample'],
    [{ symbol: 'nothing' }, 'symbol'],
    [{ subtype: 128 }, 'subtype'],
    [{ number: -129 }, 'number'],
    [{ channel: 256 }, 'channel'],
    [{ aux: '€' }, 'aux'],
    [{ aux: 'x'.repeat(256) }, 'aux'],
  ])('refuses to write %j', (wrong, field) => {
    const good: Annotation = { sample: 0, symbol: 'N', subtype: 0, channel: 0, number: 0, aux: '' }
    expect(refused(() => encodeAnnotations([{ ...good, ...wrong }]))).toMatchObject({ field })
  })

  test('refuses samples that go back', () => {
    const at = (sample: number): Annotation => ({ sample, symbol: 'N', subtype: 0, channel: 0, number: 0, aux: '' })
    expect(refused(() => encodeAnnotations([at(5), at(4)]))).toMatchObject({ field: 'sample', at: 1 })
  })

  test.skipIf(!hasData)('data: the text of an annotation file is what is read', () => {
    const lines = readFileSync(new URL('wfdb-formats/ann-3', data), 'latin1').trimEnd().split('\n')
    // The file begins with definitions of its own types, which its text leaves out.
    const parsed = parseAnnotations(read('wfdb-formats/1003.atr')).filter(({ sample }) => sample > 0)
    expect(parsed.length).toBe(lines.length)
    for (const [index, text] of lines.entries()) {
      const [, sample, symbol] = text.trim().split(/\s+/)
      expect([index, parsed[index]?.sample, parsed[index]?.symbol]).toEqual([index, Number(sample), symbol])
    }
  })

  test.skipIf(!hasData)('data: reference annotations survive a rewrite byte for byte', () => {
    const bytes = read('mitdb/207.atr')
    const parsed = parseAnnotations(bytes)
    expect(parsed.filter(({ symbol }) => isBeat(symbol)).length).toBe(1860)
    expect(parseAnnotations(encodeAnnotations(parsed))).toEqual(parsed)
  })
})
