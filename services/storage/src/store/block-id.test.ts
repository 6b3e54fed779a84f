import fc from 'fast-check'
import { CID } from 'multiformats/cid'
import { identity } from 'multiformats/hashes/identity'
import { sha512 } from 'multiformats/hashes/sha2'
import { expect, test } from 'vitest'
import { isStorageError } from '../errors.ts'
import {
  type BlockId,
  codecDagPb,
  codecRaw,
  codecs,
  encodeBlockId,
  encodeBlockIdBytes,
  fromCid,
  hashBlock,
  parseBlockId,
  parseBlockIdBytes,
  toCid,
} from './block-id.ts'

function refuses(parse: () => unknown): boolean {
  try {
    parse()
    return false
  } catch (error) {
    if (isStorageError(error, 'ERR_CID_INVALID')) return true
    throw error
  }
}

test('identifiers are read as they were written', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 50 }), fc.constantFrom(codecRaw, codecDagPb), (bytes, codec) => {
      const id = { digest: hashBlock(bytes), codec }
      expect(parseBlockId(encodeBlockId(id))).toEqual(id)
      expect(parseBlockId(`/ipfs/${encodeBlockId(id)}`)).toEqual(id)
      const inBase64Url = `u${Buffer.from(encodeBlockIdBytes(id)).toString('base64url')}`
      expect(parseBlockId(inBase64Url)).toEqual(id)
      expect(parseBlockIdBytes(encodeBlockIdBytes(id))).toEqual(id)
    }),
  )
})

test('texts are those of the library, and no text but the one is read in its place', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 32, maxLength: 32 }),
      fc.constantFrom(...new Set(Object.values(codecs))),
      fc.nat({ max: 60 }),
      fc.constantFrom(...'abz27018AZ=-é'),
      (digest, codec, place, letter) => {
        const cid = toCid({ digest, codec })
        const text = encodeBlockId({ digest, codec })
        expect(text).toBe(cid.toString())
        expect(encodeBlockIdBytes({ digest, codec })).toEqual(cid.bytes)
        expect(parseBlockIdBytes(cid.bytes)).toEqual({ digest, codec })
        const changed = `${text.slice(0, place)}${letter}${text.slice(place + 1)}`
        const byLibrary = (): BlockId => fromCid(CID.parse(changed))
        let expected: BlockId | undefined
        try {
          expected = byLibrary()
        } catch {
          expected = undefined
        }
        if (expected === undefined) expect(refuses(() => parseBlockId(changed))).toBe(true)
        else expect(parseBlockId(changed)).toEqual(expected)
      },
    ),
    { numRuns: 300 },
  )
})

test('known CIDs name the known digests', () => {
  // SHA-256 of "hello\n" and of the empty string; the latter also as CIDv0.
  const hello = 'bafkreicysg23kiwv34eg2d7qweipxwosdo2py4ldv42nbauguluen5v6am'
  expect(encodeBlockId({ digest: hashBlock(Buffer.from('hello\n')), codec: codecRaw })).toBe(hello)
  const empty = parseBlockId('QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n')
  expect(empty).toEqual({ digest: hashBlock(new Uint8Array(0)), codec: codecDagPb })
})

test('other hashes, codecs and lengths are refused', async () => {
  const bytes = new Uint8Array([1])
  const cids = [
    CID.createV1(codecRaw, await sha512.digest(bytes)),
    CID.createV1(codecRaw, identity.digest(bytes)),
    CID.createV1(0x85, CID.parse('QmdfTbBqBPQ7VNxZEYEj14VmRuZBkqFbiwReogJgS1zR1n').multihash),
  ]
  for (const cid of cids) {
    expect(refuses(() => parseBlockId(cid.toString()))).toBe(true)
    expect(refuses(() => parseBlockIdBytes(cid.bytes))).toBe(true)
  }
})

test('any text and any bytes are read or refused by name', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 200 }), fc.uint8Array({ maxLength: 60 }), (text, bytes) => {
      refuses(() => parseBlockId(text))
      refuses(() => parseBlockId(`b${text}`))
      refuses(() => parseBlockId(`u${text}`))
      refuses(() => parseBlockIdBytes(bytes))
      refuses(() => parseBlockIdBytes(Buffer.concat([Buffer.from([1, codecRaw, 0x12, 32]), bytes])))
    }),
    { numRuns: 300 },
  )
})
