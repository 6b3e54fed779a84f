import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { isStorageError } from '../errors.ts'
import { parseDurationMs } from './duration.ts'
import { parseSinglePart } from './multipart.ts'

const type = 'multipart/form-data; boundary=xyz'

function body(content: Uint8Array | string, headers = 'Content-Disposition: form-data; name="file"\r\n'): Buffer {
  return Buffer.concat([Buffer.from(`--xyz\r\n${headers}\r\n`), Buffer.from(content), Buffer.from('\r\n--xyz--\r\n')])
}

/** True if read, false if refused by its own code. */
function parses(contentType: string, bytes: Buffer): boolean {
  try {
    parseSinglePart(contentType, bytes)
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
        expect(Buffer.compare(parseSinglePart(type, body(content)), content)).toBe(0)
      }),
    )
  })

  test('content that looks like multipart is content, short of the boundary itself', () => {
    for (const content of ['\r\n\r\n', '--xyz', '\r\n--xy', '\r\n--', 'a\r\n\r\nb']) {
      expect(parseSinglePart(type, body(content)).toString()).toBe(content)
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

  test('two parts, no end, no headers, long headers are refused', () => {
    const two = Buffer.concat([body('1').subarray(0, -8), Buffer.from('\r\n'), body('2')])
    const bad = [
      two,
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
