import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { concatBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  chunkSizeBytes,
  encodeFileLength,
  type FileCipher,
  fileGeometry,
  fileSizeOf,
  lengthSizeBytes,
  openFileCipher,
  parseFileHeader,
  parseFileLength,
  sealFileHeader,
} from './chunked-file.ts'
import { CryptoError } from './errors.ts'
import { fileKeyWith, sealChunkWith, sealFileHeaderWith } from './inner/chunked-file.ts'
import { padmeLength, parsePayloadHeader, payloadKinds, sealPayload } from './payload.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'

const epochKey = new Uint8Array(32).fill(7)
const fields = {
  ledgerId: new Uint8Array(32).fill(1),
  owner: new Uint8Array(32).fill(2),
  writer: new Uint8Array(32).fill(3),
  stream: new Uint8Array(8).fill(4),
  generation: 5,
  epoch: 495_000,
  sequence: 6,
}
const sizes = [0, 1, 800, 65_527, 65_528, 65_529, 131_064, 131_065, 262_144, 1_000_000, 3_333_333]

function code(act: () => unknown): string {
  try {
    act()
    return 'none'
  } catch (error) {
    if (error instanceof CryptoError) return error.detail.code
    throw error
  }
}

/** Seals data whole, as a writer does it chunk by chunk. */
function seal(data: Uint8Array): { header: Uint8Array; chunks: Uint8Array[]; sizeBytes: number } {
  const sizeBytes = fileSizeOf(data.length)
  const header = sealFileHeader({ ...fields, sizeBytes, epochKey })
  const cipher = cipherOf(header, sizeBytes)
  const plaintext = new Uint8Array(cipher.geometry.plaintextBytes)
  plaintext.set(encodeFileLength(data.length))
  plaintext.set(data, lengthSizeBytes)
  const chunks = Array.from({ length: cipher.geometry.count }, (_, index) =>
    cipher.seal(index, plaintext.subarray(index * chunkSizeBytes, (index + 1) * chunkSizeBytes)),
  )
  return { header, chunks, sizeBytes }
}

function cipherOf(header: Uint8Array, sizeBytes: number, changed: object = {}): FileCipher {
  return openFileCipher({ header, epochKey, expected: { kind: payloadKinds.file, ...fields, sizeBytes, ...changed } })
}

describe('a file in chunks', () => {
  test.each(sizes)('of %i bytes fills a Padmé length and opens, each chunk by itself', (size) => {
    const data = new Uint8Array(createHash('shake256', { outputLength: size }).update('data').digest())
    const { header, chunks, sizeBytes } = seal(data)
    expect(padmeLength(sizeBytes)).toBe(sizeBytes)
    expect(concatBytes(header, ...chunks)).toHaveLength(sizeBytes)
    expect(sizeBytes).toBeLessThan(Math.max(1100, size * 1.12 + 1000))
    const cipher = cipherOf(header, sizeBytes)
    let at = 208
    for (const [index, chunk] of chunks.entries()) {
      expect(cipher.geometry.place(index)).toEqual({ offset: at, sizeBytes: chunk.length })
      at += chunk.length
    }
    // Last first: none needs another.
    const opened = chunks.map((chunk, index) => [index, cipher.open(index, chunk)] as const).reverse()
    const plaintext = concatBytes(...opened.sort(([a], [b]) => a - b).map(([, bytes]) => bytes))
    expect(parseFileLength(plaintext, cipher.geometry)).toBe(size)
    expect(Buffer.compare(plaintext.subarray(lengthSizeBytes, lengthSizeBytes + size), data)).toBe(0)
    expect(plaintext.subarray(lengthSizeBytes + size).every((byte) => byte === 0)).toBe(true)
  })

  test('any size has a length that holds it, and no smaller one does', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 38 }), (size) => {
        const sizeBytes = fileSizeOf(size)
        expect(fileGeometry(sizeBytes).plaintextBytes).toBeGreaterThanOrEqual(size + lengthSizeBytes)
        expect(fileSizeOf(fileGeometry(sizeBytes).plaintextBytes - lengthSizeBytes)).toBe(sizeBytes)
      }),
    )
    expect(code(() => fileSizeOf(2 ** 40))).toBe('ERR_SIZE_INVALID')
    expect(code(() => fileGeometry(1025))).toBe('ERR_ARGUMENT_INVALID')
  })

  test('chunks that are cut off, appended, exchanged, repeated or of another file do not open', () => {
    const { header, chunks, sizeBytes } = seal(new Uint8Array(200_000).fill(1))
    const other = seal(new Uint8Array(200_000).fill(1))
    const cipher = cipherOf(header, sizeBytes)
    const [first, second, third, last] = chunks as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
    for (const [index, chunk] of [
      [0, second],
      [1, first],
      [2, last],
      [3, third],
      [0, other.chunks[0] as Uint8Array],
      [3, last.subarray(1)],
      [3, last.subarray(0, 15)],
    ] as const) {
      expect(code(() => cipher.open(index, chunk))).toBe('ERR_OPEN_FAILED')
    }
    // The same chunks under a header that says that the file ends earlier: the key is another.
    const shorter = fileSizeOf(131_000)
    const forged = header.slice()
    new DataView(forged.buffer).setBigUint64(136, BigInt(shorter))
    expect(code(() => cipherOf(forged, shorter))).toBe('ERR_OPEN_FAILED')
    expect(code(() => cipher.seal(4, first))).toBe('ERR_ARGUMENT_INVALID')
    expect(code(() => cipher.seal(0, first.subarray(1)))).toBe('ERR_ARGUMENT_INVALID')
  })

  test('a flipped bit anywhere in header or chunk fails, and so does every other field that is expected', () => {
    const { header, chunks, sizeBytes } = seal(new Uint8Array(3))
    const [chunk] = chunks as [Uint8Array]
    const flip = (bytes: Uint8Array, bit: number): Uint8Array => {
      const wrong = bytes.slice()
      wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
      return wrong
    }
    for (let bit = 0; bit < header.length * 8; bit++) {
      expect(code(() => cipherOf(flip(header, bit), sizeBytes))).toBe('ERR_OPEN_FAILED')
    }
    const cipher = cipherOf(header, sizeBytes)
    for (let bit = 0; bit < chunk.length * 8; bit++) {
      expect(code(() => cipher.open(0, flip(chunk, bit)))).toBe('ERR_OPEN_FAILED')
    }
    const wrong = [
      { kind: payloadKinds.data },
      { owner: fields.writer },
      { stream: new Uint8Array(8) },
      { generation: 6 },
      { epoch: 1 },
      { sequence: 7 },
      { sizeBytes: fileSizeOf(5000) },
    ]
    for (const changed of wrong) expect(code(() => cipherOf(header, sizeBytes, changed))).toBe('ERR_OPEN_FAILED')
  })

  test('no file is taken for a payload in one block, nor the other way round', () => {
    const { header, chunks } = seal(new Uint8Array(3))
    expect(code(() => parsePayloadHeader(concatBytes(header, ...chunks)))).toBe('ERR_FORMAT_INVALID')
    const { block } = sealPayload({
      kind: payloadKinds.file,
      ...fields,
      epochKey,
      plaintext: new Uint8Array(3),
      sizeBytes: 1024,
    })
    expect(code(() => parseFileHeader(block))).toBe('ERR_FORMAT_INVALID')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect(['none', 'ERR_FORMAT_INVALID']).toContain(code(() => parseFileHeader(bytes)))
      }),
    )
  })
})

describe('vectors', () => {
  interface Vector {
    dataBytes: number
    salt: string
    sizeBytes: number
    header: string
    chunks: string[]
  }
  const { source, vectors } = JSON.parse(
    readFileSync(new URL('../vectors/chunked-file.json', import.meta.url), 'utf8'),
  ) as { source: string; vectors: Vector[] }

  test.each([native, noble])('headers and chunks, byte for byte ($name)', (provider) => {
    expect(source).toMatch(/./)
    expect(vectors.length).toBeGreaterThan(2)
    for (const vector of vectors) {
      expect(fileSizeOf(vector.dataBytes)).toBe(vector.sizeBytes)
      const { sizeBytes } = vector
      const header = sealFileHeaderWith(provider, { fields, sizeBytes, epochKey, salt: fromHex(vector.salt) })
      expect(toHex(header)).toBe(vector.header)
      const geometry = fileGeometry(sizeBytes)
      const expected = { kind: payloadKinds.file, ...fields, sizeBytes }
      const key = fileKeyWith(provider, { header, epochKey, expected })
      const plaintext = new Uint8Array(geometry.plaintextBytes)
      plaintext.set(encodeFileLength(vector.dataBytes))
      for (let i = 0; i < vector.dataBytes; i++) plaintext[8 + i] = i % 251
      const chunks = Array.from({ length: geometry.count }, (_, index) => {
        const piece = plaintext.subarray(index * chunkSizeBytes, (index + 1) * chunkSizeBytes)
        return sealChunkWith(provider, { key, index, count: geometry.count, plaintext: piece })
      })
      expect(chunks.map((chunk) => createHash('sha256').update(chunk).digest('hex'))).toEqual(vector.chunks)
    }
  })
})
