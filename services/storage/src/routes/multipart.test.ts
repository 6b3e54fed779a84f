import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isStorageError } from '../errors.ts'
import { parseDurationMs } from './duration.ts'
import { parseParts, readParts } from './multipart.ts'

const type = 'multipart/form-data; boundary=xyz'

function body(content: Uint8Array | string, headers = 'Content-Disposition: form-data; name="file"\r\n'): Buffer {
  return Buffer.concat([Buffer.from(`--xyz\r\n${headers}\r\n`), Buffer.from(content), Buffer.from('\r\n--xyz--\r\n')])
}

/** True if read, false if refused by its own code. */
function parses(contentType: string, bytes: Buffer): boolean {
  try {
    parseParts(contentType, bytes)
    return true
  } catch (error) {
    if (isStorageError(error, 'ERR_MULTIPART_INVALID')) return false
    throw error
  }
}

describe('one file in multipart', () => {
  test('comes out as it went in', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), (content) => {
        fc.pre(!Buffer.from(content).includes('\r\n--xyz'))
        expect(Buffer.compare(parseParts(type, body(content))[0] as Buffer, content)).toBe(0)
      }),
    )
  })

  test('content that looks like multipart is content, short of the boundary itself', () => {
    for (const content of ['\r\n\r\n', '--xyz', '\r\n--xy', '\r\n--', 'a\r\n\r\nb']) {
      expect(String(parseParts(type, body(content)))).toBe(content)
    }
  })

  test('boundaries are read quoted, among parameters, and in any case of the name', () => {
    for (const header of [
      'multipart/form-data; boundary="xyz"',
      'Multipart/Form-Data;charset=utf-8; Boundary=xyz',
      `${type};a=b`,
    ]) {
      expect(parses(header, body('1'))).toBe(true)
    }
    for (const header of [
      '',
      'multipart/form-data',
      'multipart/form-data; boundary=',
      'multipart/mixed; boundary=xyz',
      'text/plain',
    ]) {
      expect(parses(header, body('1'))).toBe(false)
    }
  })

  test('several parts come out in their order', () => {
    const two = Buffer.concat([body('1').subarray(0, -11), Buffer.from('\r\n'), body('2')])
    expect(parseParts(type, two).map(String)).toEqual(['1', '2'])
  })

  test('no end, no headers, long headers, a second part without end are refused', () => {
    const bad = [
      Buffer.concat([body('1').subarray(0, -11), Buffer.from('\r\n'), body('2').subarray(0, -4)]),
      Buffer.concat([body('1').subarray(0, -2), Buffer.from('x')]),
      body('1').subarray(0, -4),
      Buffer.from('--xyz\r\n'),
      Buffer.alloc(0),
      body('1', `X: ${'a'.repeat(9000)}\r\n`),
    ]
    for (const bytes of bad) expect(parses(type, bytes)).toBe(false)
  })

  test('any bytes are read or refused by name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), fc.string({ maxLength: 100 }), (bytes, header) => {
        parses(type, Buffer.from(bytes))
        parses(type, Buffer.concat([Buffer.from('--xyz\r\n'), Buffer.from(bytes)]))
        parses(`multipart/form-data; ${header}`, Buffer.from(bytes))
      }),
      { numRuns: 1000 },
    )
  })

  test('a cut or changed body is never taken for another content of the same length', () => {
    const whole = body('hello')
    for (let at = 0; at < whole.length - 2; at++) expect(parses(type, whole.subarray(0, at))).toBe(false)
  })
})

test('durations are read as Go writes them', () => {
  const good = {
    '1s': 1000,
    '1m30s': 90_000,
    '250ms': 250,
    '1.5s': 1500,
    '100h': 3_600_000,
    '1ns': 1,
    '10000ms': 10_000,
  }
  for (const [text, ms] of Object.entries(good)) expect(parseDurationMs(text)).toBe(ms)
  for (const text of ['', '10', 's', '-1s', '1 s', '1d', 'NaNs', '1e9s', '1s'.repeat(40)]) {
    expect(() => parseDurationMs(text)).toThrow(/duration/)
  }
})

describe('a stream of parts', () => {
  async function* cut(bytes: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const size = sizes[turn % sizes.length] as number
      yield bytes.subarray(at, at + size)
      at += size
    }
  }

  /** What comes out, or undefined if it is refused by its own code. */
  async function read(
    bytes: Buffer,
    sizes: readonly number[] = [1000],
    take = Number.POSITIVE_INFINITY,
  ): Promise<{ name: string; content: Buffer }[] | undefined> {
    const found: { name: string; content: Buffer }[] = []
    try {
      for await (const part of readParts(type, cut(bytes, sizes))) {
        const pieces: Uint8Array[] = []
        if (take > 0) {
          for await (const piece of part.content) {
            pieces.push(piece)
            if (pieces.length >= take) break
          }
        }
        found.push({ name: part.name, content: Buffer.concat(pieces) })
      }
      return found
    } catch (error) {
      if (isStorageError(error, 'ERR_MULTIPART_INVALID')) return undefined
      throw error
    }
  }

  function bodyOf(parts: readonly { name: string; content: Uint8Array }[]): Buffer {
    const pieces = parts.flatMap(({ name, content }) => [
      Buffer.from(
        `--xyz\r\nContent-Disposition: form-data; name="file"; filename="${encodeURIComponent(name)}"\r\n\r\n`,
      ),
      Buffer.from(content),
      Buffer.from('\r\n'),
    ])
    return Buffer.concat([...pieces, Buffer.from('--xyz--\r\n')])
  }

  const anyPart = fc.record({ name: fc.string({ maxLength: 20 }), content: fc.uint8Array({ maxLength: 300 }) })
  const anySizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 })

  test('comes out as it went in, however it is cut', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(anyPart, { maxLength: 4 }), anySizes, async (parts, sizes) => {
        fc.pre(parts.every(({ content }) => !Buffer.from(content).includes('\r\n--xyz')))
        const read1 = await read(bodyOf(parts), sizes)
        expect(read1?.map(({ name }) => name)).toEqual(parts.map(({ name }) => name))
        for (const [index, { content }] of parts.entries()) {
          expect(Buffer.compare(read1?.[index]?.content as Buffer, content)).toBe(0)
        }
      }),
    )
  })

  test('a part that is skipped, or left in the middle, does not hurt the next', async () => {
    const parts = ['a', 'b', 'c'].map((name) => ({ name, content: new Uint8Array(5000).fill(name.charCodeAt(0)) }))
    expect((await read(bodyOf(parts), [100], 0))?.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
    expect((await read(bodyOf(parts), [100], 2))?.map(({ name }) => name)).toEqual(['a', 'b', 'c'])
  })

  test('a body that ends anywhere early, or is noise, is refused', async () => {
    const whole = bodyOf([{ name: 'a', content: new Uint8Array(50) }])
    for (let at = 0; at < whole.length - 2; at++) expect(await read(whole.subarray(0, at), [7])).toBeUndefined()
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 300 }), anySizes, async (bytes, sizes) => {
        await read(Buffer.from(bytes), sizes)
        await read(Buffer.concat([Buffer.from('--xyz\r\n'), Buffer.from(bytes)]), sizes)
      }),
      { numRuns: 500 },
    )
  })
})
