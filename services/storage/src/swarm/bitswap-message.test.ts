import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { collectGarbage } from '../../../../test/support/fuzz.ts'
import { isStorageError, StorageError } from '../errors.ts'
import {
  type BitswapMessage,
  encodeBitswapMessage,
  encodeVarint,
  FrameDecoder,
  messageBytesMax,
  parseBitswapMessage,
} from './bitswap-message.ts'

const bytes = fc.uint8Array({ maxLength: 60 })
const messages: fc.Arbitrary<BitswapMessage> = fc.record({
  wants: fc.array(
    fc.record({ cid: bytes, cancel: fc.boolean(), wantType: fc.constantFrom(0, 1), sendDontHave: fc.boolean() }),
    { maxLength: 5 },
  ),
  full: fc.boolean(),
  blocks: fc.array(fc.record({ prefix: bytes, data: bytes }), { maxLength: 3 }),
  presences: fc.array(fc.record({ cid: bytes, have: fc.boolean() }), { maxLength: 3 }),
})

function plain(message: BitswapMessage): unknown {
  return JSON.parse(JSON.stringify(message, (_key, value) => (value instanceof Uint8Array ? Array.from(value) : value)))
}

/** Parses and tells apart a typed refusal from any other failure. */
function parses(input: Uint8Array): boolean {
  try {
    parseBitswapMessage(input)
    return true
  } catch (error) {
    if (isStorageError(error, 'ERR_BITSWAP_INVALID')) return false
    throw error
  }
}

describe('messages', () => {
  test('decode to what was encoded', () => {
    fc.assert(
      fc.property(messages, (message) => {
        expect(plain(parseBitswapMessage(new Uint8Array(encodeBitswapMessage(message))))).toEqual(plain(message))
      }),
    )
  })

  test('have the bytes that the protobuf schema gives', () => {
    const want = { cid: new Uint8Array([1, 2]), cancel: true, wantType: 1, sendDontHave: true }
    const message: BitswapMessage = {
      wants: [want],
      full: true,
      blocks: [{ prefix: new Uint8Array([9]), data: new Uint8Array([8, 7]) }],
      presences: [{ cid: new Uint8Array([5]), have: false }],
    }
    const entry = '0a02010210011801200128' + '01'
    const wantlist = `0a0c${entry}1001`
    const expected = `0a10${wantlist}1a07${'0a0109'}${'12020807'}2205${'0a0105'}1001`
    expect(Buffer.from(encodeBitswapMessage(message)).toString('hex')).toBe(expected)
  })

  test('unknown fields of each wire type are skipped', () => {
    const known = encodeBitswapMessage({
      wants: [],
      full: false,
      blocks: [],
      presences: [{ cid: new Uint8Array([5]), have: true }],
    })
    const unknown = ['2801', '3a0161', '4101020304050607' + '08', '4d01020304'].map((hex) => Buffer.from(hex, 'hex'))
    expect(parseBitswapMessage(Buffer.concat([...unknown, known])).presences).toHaveLength(1)
  })

  test('any bytes are read or refused by name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (input) => {
        parses(input)
      }),
      { numRuns: 3000 },
    )
  })

  test('cut and changed messages are read or refused by name', () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.nat(255), (message, at, value) => {
        const encoded = Buffer.from(encodeBitswapMessage(message))
        if (encoded.length === 0) return
        parses(encoded.subarray(0, at % encoded.length))
        encoded[at % encoded.length] = value
        parses(encoded)
      }),
      { numRuns: 2000 },
    )
  })

  test('too many entries are refused', () => {
    const entry = Buffer.from('0a020a00', 'hex')
    expect(parses(Buffer.concat(Array(4096).fill(entry)))).toBe(true)
    expect(parses(Buffer.concat(Array(4097).fill(entry)))).toBe(false)
  })
})

describe('frames', () => {
  test('come out as they went in, however the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 8 }),
        fc.integer({ min: 1, max: 50 }),
        (frames, step) => {
          const stream = Buffer.concat(frames.flatMap((frame) => [encodeVarint(frame.length), frame]))
          const decoder = new FrameDecoder()
          const out: Uint8Array[] = []
          for (let at = 0; at < stream.length; at += step) out.push(...decoder.push(stream.subarray(at, at + step)))
          expect(out.map((frame) => Buffer.from(frame).toString('hex'))).toEqual(
            frames.map((frame) => Buffer.from(frame).toString('hex')),
          )
        },
      ),
    )
  })

  test('a message that comes byte by byte costs little more than its bytes, and comes out whole', () => {
    const message = new Uint8Array(600_000).fill(7)
    const stream = Buffer.concat([encodeVarint(message.length), message])
    const decoder = new FrameDecoder()
    collectGarbage()
    const before = process.memoryUsage().heapUsed
    let early = 0
    for (let at = 0; at < stream.length - 1; at++) early += decoder.push(stream.subarray(at, at + 1)).length
    collectGarbage()
    // Kept apart, each byte would be an object of some hundred bytes: 60 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(20 * 1024 * 1024)
    expect(early).toBe(0)
    expect(decoder.push(stream.subarray(-1)).map(({ length }) => length)).toEqual([message.length])
  })

  test('lengths above the limit and endless varints are refused before any byte is kept', () => {
    expect(() => new FrameDecoder().push(encodeVarint(messageBytesMax + 1))).toThrow(StorageError)
    expect(() => new FrameDecoder().push(new Uint8Array(5).fill(0xff))).toThrow(StorageError)
  })
})
