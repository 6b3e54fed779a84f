/** KEM keys and HPKE under the suites of SPEC.md §5, for a provider given by the caller. */
import { concatBytes, encodeUtf8, equalBytes, fromHex } from '@healthblock/encoding/bytes'
import type { CipherSuite, Key } from 'hpke'
import { CryptoError } from '../errors.ts'
import type { Bytes, Provider } from '../provider/provider.ts'
import { argumentInvalid, openFailed } from './failures.ts'

/** Suite 1: MLKEM768-X25519, HKDF-SHA256, AES-256-GCM. */
export const kemSuiteDefault = 1
/** Bytes of a KEM public key of suite 1. */
export const kemPublicKeySizeBytes = 1216
/** Bytes of a KEM seed. */
export const kemSeedSizeBytes = 32
/** Bytes of the encapsulation at the front of an envelope. */
export const encapsulationSizeBytes = 1120
/** Bytes that sealing adds to a plaintext: encapsulation and tag. */
export const sealOverheadBytes = encapsulationSizeBytes + 16

/** A KEM key pair in memory. */
export class KemKeyPair {
  readonly suite = kemSuiteDefault
  /** 1,216 bytes; read, never written. */
  readonly publicKey: Bytes
  readonly #seed: Bytes
  readonly #provider: Provider
  #handle: Promise<Key> | undefined
  constructor(seed: Uint8Array, provider: Provider) {
    this.#seed = Uint8Array.from(seed)
    this.#provider = provider
    this.publicKey = provider.kemPublicKey(seed)
  }

  /** The 32-byte seed, for storage inside the vault or the hot store. A copy. */
  exportSeed(): Bytes {
    return this.#seed.slice()
  }

  static open(pair: KemKeyPair, info: Uint8Array, sealed: Uint8Array): Promise<Bytes> {
    return pair.#open(info, sealed)
  }

  async #open(info: Uint8Array, sealed: Uint8Array): Promise<Bytes> {
    if (sealed.length < sealOverheadBytes) throw openFailed()
    const suite = this.#provider.hpke
    this.#handle ??= suite.DeserializePrivateKey(this.#seed)
    const handle = await this.#handle
    try {
      const encapsulation = sealed.subarray(0, encapsulationSizeBytes)
      const opened = await suite.Open(handle, encapsulation, sealed.subarray(encapsulationSizeBytes), { info })
      return opened as Bytes
    } catch {
      throw openFailed()
    }
  }
}

/** Throws `ERR_SUITE_UNKNOWN` for any suite but the known one. */
export function requireSuite(suite: number): void {
  if (suite !== kemSuiteDefault) {
    throw new CryptoError('unknown suite', { code: 'ERR_SUITE_UNKNOWN', suite })
  }
}

const mlKemKeySizeBytes = 1184
const mlKemModulus = 3329

/** FIPS 203 §7.2: each of the 768 twelve-bit coefficients is below the modulus. Not every library looks. */
function isReduced(publicKey: Uint8Array): boolean {
  for (let i = 0; i < mlKemKeySizeBytes - 32; i += 3) {
    const [a, b, c] = [publicKey[i] as number, publicKey[i + 1] as number, publicKey[i + 2] as number]
    if ((a | ((b & 15) << 8)) >= mlKemModulus || ((b >> 4) | (c << 4)) >= mlKemModulus) return false
  }
  return true
}

function keyInvalid(cause?: unknown): CryptoError {
  return new CryptoError('not a KEM public key', { code: 'ERR_KEY_INVALID' }, cause === undefined ? {} : { cause })
}

/**
 * The X25519 keys, less their highest bit (which nobody reads), whose shared secret is zero for every scalar: 0, 1, two of order 8, and
 * p - 1, p, p + 1. See RFC 7748 §6.1.
 */
const smallOrder = [
  '0000000000000000000000000000000000000000000000000000000000000000',
  '0100000000000000000000000000000000000000000000000000000000000000',
  'e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800',
  '5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157',
  'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
  'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f',
].map(fromHex)

function isOfSmallOrder(publicKey: Uint8Array): boolean {
  const last = (publicKey[31] as number) & 0x7f
  return smallOrder.some((point) => last === point[31] && equalBytes(publicKey.subarray(0, 31), point.subarray(0, 31)))
}

/** Throws `ERR_KEY_INVALID` unless envelopes can be sealed to the key, on every platform alike. */
export function requireKemPublicKey(publicKey: Uint8Array): void {
  if (publicKey.length !== kemPublicKeySizeBytes || !isReduced(publicKey)) throw keyInvalid()
  if (isOfSmallOrder(publicKey.subarray(mlKemKeySizeBytes))) throw keyInvalid()
}

/** encapsulation || ciphertext under HPKE base mode. */
export async function hpkeSeal(
  suite: CipherSuite<Key>,
  options: { publicKey: Uint8Array; info: Uint8Array; plaintext: Uint8Array },
): Promise<Bytes> {
  const { publicKey, info, plaintext } = options
  // Not every library looks.
  requireKemPublicKey(publicKey)
  try {
    const recipient = await suite.DeserializePublicKey(publicKey)
    const { encapsulatedSecret, ciphertext } = await suite.Seal(recipient, plaintext, { info })
    return concatBytes(encapsulatedSecret, ciphertext)
  } catch (cause) {
    throw keyInvalid(cause)
  }
}

const labelPattern = /^[a-z0-9._-]{1,64}$/

/** What binds sealed bytes to their purpose and place (SPEC.md §5, "Sealed to a key"). */
export function sealedInfo(label: string, context: Uint8Array): Bytes {
  if (!labelPattern.test(label)) throw argumentInvalid('label')
  return concatBytes(encodeUtf8(`healthblock/1 sealed\0${label}\0`), context)
}
