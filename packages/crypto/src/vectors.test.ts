import { readFileSync } from 'node:fs'
import { concatBytes, encodeUtf8, fromHex, toHex } from '@healthblock/encoding/bytes'
import { MLKEM768X25519 } from '@noble/post-quantum/hybrid.js'
import * as hpkeNoble from '@panva/hpke-noble'
import { CipherSuite, type Key } from 'hpke'
import { describe, expect, test } from 'vitest'
import { encodeContents, envelopeInfo, padContents, parseContents } from './inner/envelope.ts'
import { KemKeyPair, requireKemPublicKey } from './inner/kem.ts'
import { coverOfLeaves, deriveNodeWith, epochKeyWith } from './inner/key-tree.ts'
import { openPayloadWith, type PayloadKind, parseHeader, sealPayloadWith } from './inner/payload.ts'
import { createAeadNative, createKdfNative } from './provider/hpke-native.ts'
import { createKemNative, hasKemNative } from './provider/kem-native.ts'
import { provider as native } from './provider/native.ts'
import { provider as noble } from './provider/noble.ts'
import type { Provider } from './provider/provider.ts'

type Vector = Record<string, string> & { hex(name: string): Uint8Array<ArrayBuffer> }

function vectors(name: string): Vector[] {
  const file = JSON.parse(readFileSync(new URL(`../vectors/${name}.json`, import.meta.url), 'utf8'))
  expect(file.source).toMatch(/./)
  expect(file.vectors.length).toBeGreaterThan(0)
  return file.vectors.map((v: Record<string, string>) => ({ ...v, hex: (key: string) => fromHex(v[key] as string) }))
}

/** KDF and AEAD of a provider's suite. */
function suiteParts(provider: Provider) {
  return provider.name === 'native'
    ? ([createKdfNative, () => createAeadNative(provider)] as const)
    : ([hpkeNoble.KDF_HKDF_SHA256, hpkeNoble.AEAD_AES_256_GCM] as const)
}

describe.each([native, noble])('published vectors ($name)', (provider) => {
  test('AES-256-GCM', () => {
    for (const v of vectors('aes-256-gcm')) {
      const common = { key: v.hex('key'), nonce: v.hex('nonce'), aad: v.hex('aad') }
      const sealed = provider.aesGcmSeal({ ...common, plaintext: v.hex('plaintext') })
      expect(toHex(sealed)).toBe(`${v.ciphertext}${v.tag}`)
      expect(toHex(provider.aesGcmOpen({ ...common, sealed }) as Uint8Array)).toBe(v.plaintext)
      for (let bit = 0; bit < sealed.length * 8; bit++) {
        const wrong = sealed.slice()
        wrong[bit >> 3] = (wrong[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(provider.aesGcmOpen({ ...common, sealed: wrong })).toBeUndefined()
      }
      expect(provider.aesGcmOpen({ ...common, sealed: sealed.subarray(0, 15) })).toBeUndefined()
    }
  })

  test.each(['aes-256-gcm-wycheproof', 'aes-256-gcm-cavs'])('%s', (file) => {
    const results = new Set<string>()
    for (const v of vectors(file)) {
      const common = { key: v.hex('key'), nonce: v.hex('nonce'), aad: v.hex('aad') }
      const opened = provider.aesGcmOpen({ ...common, sealed: fromHex(`${v.ciphertext}${v.tag}`) })
      expect(opened && toHex(opened), v.note).toBe(v.result === 'valid' ? v.plaintext : undefined)
      results.add(v.result as string)
    }
    expect(results).toEqual(new Set(['valid', 'invalid']))
  })

  test('scrypt', async () => {
    for (const v of vectors('scrypt')) {
      const cost = { n: Number(v.n), r: Number(v.r), p: Number(v.p) }
      const key = await provider.scrypt(encodeUtf8(v.passphrase as string), encodeUtf8(v.salt as string), cost)
      expect(toHex(key)).toBe((v.key as string).slice(0, 64))
    }
  })

  test.each(['hkdf-sha256', 'hkdf-sha256-wycheproof'])('%s', (file) => {
    for (const v of vectors(file)) {
      const salt = v.hex('salt')
      const length = (v.okm as string).length / 2
      const options = { ikm: v.hex('ikm'), info: v.hex('info'), length }
      expect(toHex(provider.hkdfSha256(salt.length > 0 ? { ...options, salt } : options))).toBe(v.okm)
    }
  })

  test('HPKE base mode', async () => {
    // The KEM is another one than ours; what is tested here is the key schedule and the AEAD.
    const suite = new CipherSuite<Key>(hpkeNoble.KEM_DHKEM_X25519_HKDF_SHA256, ...suiteParts(provider))
    for (const v of vectors('hpke-rfc9180')) {
      const key = await suite.DeserializePrivateKey(v.hex('privateKey'))
      const options = { info: v.hex('info'), aad: v.hex('aad') }
      const opened = await suite.Open(key, v.hex('encapsulation'), v.hex('ciphertext'), options)
      expect(toHex(opened)).toBe(v.plaintext)
    }
  })

  test('HPKE base mode with MLKEM768-X25519', async () => {
    const [kdf] = suiteParts(provider)
    const kem = (provider.name === 'native' && createKemNative()) || hpkeNoble.KEM_MLKEM768_X25519
    // WebCrypto's ChaCha20Poly1305 is experimental too; the KEM and the key schedule are what is tested here.
    const suite = new CipherSuite<Key>(kem as never, kdf, hpkeNoble.AEAD_ChaCha20Poly1305)
    for (const v of vectors('hpke-pq')) {
      expect(toHex(provider.kemPublicKey(v.hex('seed')))).toBe(v.publicKey)
      const key = await suite.DeserializePrivateKey(v.hex('seed'))
      const shared = await kem().Decap(v.hex('encapsulation'), key as never, undefined)
      expect(toHex(shared)).toBe(v.sharedSecret)
      const options = { info: v.hex('info'), aad: v.hex('aad') }
      const opened = await suite.Open(key, v.hex('encapsulation'), v.hex('ciphertext'), options)
      expect(toHex(opened)).toBe(v.plaintext)
    }
  })

  test('X-Wing', async () => {
    for (const v of vectors('xwing')) {
      const publicKey = provider.kemPublicKey(v.hex('seed'))
      expect(toHex(publicKey).startsWith(v.publicKeyBegins as string)).toBe(true)
      expect(toHex(publicKey).endsWith(v.publicKeyEnds as string)).toBe(true)
      const { cipherText, sharedSecret } = MLKEM768X25519.encapsulate(publicKey, v.hex('eseed'))
      expect(toHex(sharedSecret)).toBe(v.sharedSecret)
      expect(toHex(cipherText).startsWith(v.ciphertextBegins as string)).toBe(true)
      expect(toHex(cipherText).endsWith(v.ciphertextEnds as string)).toBe(true)
      const kem = provider.name === 'native' ? createKemNative()?.() : hpkeNoble.KEM_MLKEM768_X25519()
      if (kem === undefined) throw new Error('this Node has no ML-KEM')
      const key = await kem.DeserializePrivateKey(v.hex('seed'), false)
      expect(toHex(await kem.Decap(cipherText, key as never, undefined))).toBe(v.sharedSecret)
    }
  })
})

test('ML-KEM keys that are not reduced are refused, whatever the library does', () => {
  const x25519 = native.kemPublicKey(new Uint8Array(32)).subarray(1184)
  for (const v of vectors('ml-kem-768-modulus')) {
    const key = concatBytes(v.hex('publicKey'), x25519)
    expect(() => requireKemPublicKey(key), v.note).toThrow(expect.objectContaining({ detail: { code: v.result } }))
  }
})

test('the native KEM is used where this Node has ML-KEM', () => {
  expect(hasKemNative()).toBe(true)
  expect(native.hpke.KEM).toEqual(noble.hpke.KEM)
})

describe.each([native, noble])('golden vectors ($name)', (provider) => {
  test('key tree', () => {
    for (const v of vectors('key-tree')) {
      const root = { depth: 0, index: 0, key: v.hex('root') }
      const [depth, index] = [Number(v.depth), Number(v.index)]
      expect(toHex(deriveNodeWith(provider, root, { depth, index }).key)).toBe(v.key)
      const first = 500_000
      const epoch = first + index * 2 ** (20 - depth)
      const leaf = epochKeyWith(provider, { nodes: [root], first, epoch })
      expect(toHex(leaf)).toBe(v.firstLeafKey)
    }
  })

  test('covers', () => {
    for (const v of vectors('covers')) {
      const cover = coverOfLeaves(Number(v.from), Number(v.until))
      expect(cover.map(({ depth, index }) => `${depth}/${index}`).join(' ')).toBe(v.cover)
    }
  })

  test('payload', () => {
    for (const v of vectors('payload')) {
      const fields = {
        kind: Number(v.kind) as PayloadKind,
        ledgerId: v.hex('ledgerId'),
        owner: v.hex('owner'),
        writer: v.hex('writer'),
        stream: v.hex('stream'),
        generation: Number(v.generation),
        epoch: Number(v.epoch),
        sequence: Number(v.sequence),
      }
      const epochKey = v.hex('epochKey')
      const sizeBytes = Number(v.sizeBytes)
      const block = sealPayloadWith(provider, {
        fields,
        epochKey,
        plaintext: v.hex('plaintext'),
        sizeBytes,
        salt: v.hex('salt'),
      })
      expect(toHex(parseHeader(block).commitment)).toBe(v.commitment)
      expect(toHex(block.subarray(0, 400))).toBe(v.blockBegins)
      expect(toHex(provider.sha256([block]))).toBe(v.blockSha256)
      expect(toHex(openPayloadWith(provider, { block, epochKey, expected: fields }))).toBe(v.plaintext)
    }
  })

  test('envelope', async () => {
    for (const v of vectors('envelope')) {
      const keyPair = new KemKeyPair(v.hex('seed'), provider)
      const context = {
        ledgerId: v.hex('ledgerId'),
        patient: v.hex('patient'),
        grantId: v.hex('grantId'),
        generation: Number(v.generation),
        recipient: v.hex('recipient'),
        recipientKemKey: keyPair.publicKey,
      }
      const info = envelopeInfo(provider, context)
      expect(toHex(info)).toBe(v.info)
      const contents = parseContents(v.hex('contents'))
      expect(toHex(encodeContents(contents))).toBe(v.contents)
      // Only the portable KEM can be given its randomness: it seals for both, and both open.
      const base = hpkeNoble.KEM_MLKEM768_X25519()
      const deterministic = () => ({
        ...base,
        Encap: async () => {
          const { cipherText, sharedSecret } = MLKEM768X25519.encapsulate(keyPair.publicKey, v.hex('eseed'))
          return { shared_secret: sharedSecret, enc: cipherText }
        },
      })
      const suite = new CipherSuite<Key>(deterministic as never, ...suiteParts(provider))
      const recipient = await suite.DeserializePublicKey(keyPair.publicKey)
      const sealed = await suite.Seal(recipient, padContents(v.hex('contents')), { info })
      const envelope = concatBytes(sealed.encapsulatedSecret, sealed.ciphertext)
      expect(envelope.length).toBe(Number(v.sizeBytes))
      expect(toHex(envelope.subarray(1120))).toBe(v.ciphertext)
      expect(toHex(provider.sha256([envelope]))).toBe(v.envelopeSha256)
      expect(
        toHex((await KemKeyPair.open(keyPair, info, envelope)).subarray(4, 4 + (v.contents as string).length / 2)),
      ).toBe(v.contents)
    }
  })
})
