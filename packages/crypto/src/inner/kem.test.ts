import { fromHex } from '@healthblock/encoding/bytes'
import { x25519 } from '@noble/curves/ed25519.js'
import { expect, test } from 'vitest'
import { provider as native } from '../provider/native.ts'
import { provider as noble } from '../provider/noble.ts'
import { randomBytes } from '../random.ts'
import { hpkeSeal, kemPublicKeySizeBytes, requireKemPublicKey } from './kem.ts'

/** What the library says: it throws if the shared secret is zero. */
function hasSharedSecret(publicKey: Uint8Array): boolean {
  try {
    x25519.getSharedSecret(new Uint8Array(32).fill(0x55), publicKey)
    return true
  } catch {
    return false
  }
}

function isAccepted(x25519Key: Uint8Array): boolean {
  const key = new Uint8Array(kemPublicKeySizeBytes)
  key.set(x25519Key, kemPublicKeySizeBytes - 32)
  try {
    requireKemPublicKey(key)
    return true
  } catch {
    return false
  }
}

const near = [
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  `5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157`,
]
  .map(fromHex)
  .flatMap((key) => [key, key.with(0, (key[0] as number) + 1), key.with(30, (key[30] as number) ^ 1)])
const small = Array.from({ length: 16 }, (_, i) => new Uint8Array(32).with(0, i))
const large = Array.from({ length: 24 }, (_, i) =>
  new Uint8Array(32)
    .fill(0xff)
    .with(0, 0xe8 + i)
    .with(31, 0x7f),
)

test('a key is refused exactly if its shared secret would be zero', () => {
  const keys = [...small, ...large, ...near, ...Array.from({ length: 100 }, () => randomBytes(32))]
  let refused = 0
  for (const key of keys) {
    // The highest bit is not read.
    for (const each of [key.with(31, (key[31] as number) & 0x7f), key.with(31, (key[31] as number) | 0x80)]) {
      expect(isAccepted(each)).toBe(hasSharedSecret(each))
      if (!isAccepted(each)) refused++
    }
  }
  expect(refused).toBe(14)
})

test.each([
  ['native', native],
  ['noble', noble],
])('nothing is sealed to such a key, by %s', async (_, provider) => {
  const publicKey = provider.kemPublicKey(randomBytes(32))
  for (const point of [small[0], small[1], near[0]]) {
    publicKey.set(point as Uint8Array, kemPublicKeySizeBytes - 32)
    const sealing = hpkeSeal(provider.hpke, { publicKey, info: new Uint8Array(0), plaintext: new Uint8Array(4) })
    await expect(sealing).rejects.toMatchObject({ detail: { code: 'ERR_KEY_INVALID' } })
  }
})
