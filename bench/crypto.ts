/** Every primitive of packages/crypto, through both providers. */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { provider as native } from '../packages/crypto/src/provider/native.ts'
import { provider as noble } from '../packages/crypto/src/provider/noble.ts'
import type { Provider } from '../packages/crypto/src/provider/provider.ts'
import { benchOptions, percentile, type Result, report } from './support/report.ts'

const options = benchOptions()
const durationMs = options.quick ? 150 : 1000
const bytes = (length: number): Uint8Array => new Uint8Array(randomBytes(length))

interface Primitive {
  readonly name: string
  readonly sizeBytes: number
  readonly run: () => unknown
}

/** OpenSSL's verification, without what this project does around it. */
function plainVerification(): Primitive {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const message = bytes(256)
  const signature = sign(null, message, privateKey)
  return { name: 'ed25519 verify', sizeBytes: 256, run: () => verify(null, message, publicKey, signature) }
}

/** Repeats an operation for a while, in groups long enough for the clock. */
async function measure(run: () => unknown): Promise<{ perSecond: number; p50Ms: number; p99Ms: number }> {
  await run()
  const first = performance.now()
  await run()
  const group = Math.max(1, Math.min(1000, Math.floor(1 / Math.max(0.001, performance.now() - first))))
  const samples: number[] = []
  let count = 0
  const begun = performance.now()
  let now = begun
  while (now - begun < durationMs || samples.length < 3) {
    const from = now
    for (let i = 0; i < group; i++) {
      const made = run()
      if (made instanceof Promise) await made
    }
    now = performance.now()
    samples.push((now - from) / group)
    count += group
  }
  return {
    perSecond: (count * 1000) / (now - begun),
    p50Ms: percentile(samples, 0.5),
    p99Ms: percentile(samples, 0.99),
  }
}

async function primitives(provider: Provider): Promise<Primitive[]> {
  const seed = bytes(32)
  const message = bytes(256)
  const publicKey = provider.ed25519PublicKey(seed)
  const signer = provider.ed25519Signer(seed)
  const verifier = provider.ed25519Verifier(publicKey)
  const signature = signer.sign(message)
  const checks = Array.from({ length: 64 }, () => ({ handle: verifier, signature, message }))
  const key = bytes(32)
  const nonce = bytes(12)
  const aad = bytes(64)
  const kemKey = await provider.hpke.DeserializePublicKey(provider.kemPublicKey(seed))
  const info = bytes(64)
  const contents = bytes(336)
  const privateKey = await provider.hpke.DeserializePrivateKey(seed)
  const { encapsulatedSecret, ciphertext } = await provider.hpke.Seal(kemKey, contents, { info })
  const hash = (sizeBytes: number): Primitive => {
    const input = [bytes(sizeBytes)]
    return { name: 'sha256', sizeBytes, run: () => provider.sha256(input) }
  }
  const aead = (sizeBytes: number): Primitive[] => {
    const plaintext = bytes(sizeBytes)
    const sealed = provider.aesGcmSeal({ key, nonce, aad, plaintext })
    return [
      { name: 'aes-256-gcm seal', sizeBytes, run: () => provider.aesGcmSeal({ key, nonce, aad, plaintext }) },
      { name: 'aes-256-gcm open', sizeBytes, run: () => provider.aesGcmOpen({ key, nonce, aad, sealed }) },
    ]
  }
  return [
    ...[64, 4096, 1_048_576].map(hash),
    {
      name: 'hkdf-sha256',
      sizeBytes: 32,
      run: () => provider.hkdfSha256({ ikm: key, salt: nonce, info, length: 32 }),
    },
    { name: 'ed25519 public key', sizeBytes: 32, run: () => provider.ed25519PublicKey(seed) },
    { name: 'ed25519 sign', sizeBytes: 256, run: () => signer.sign(message) },
    { name: 'ed25519 verify, key seen often', sizeBytes: 256, run: () => verifier.verify(signature, message) },
    { name: 'ed25519 verify, 64 such at once', sizeBytes: 256, run: () => provider.ed25519VerifyAll(checks) },
    {
      name: 'ed25519 verify, new key',
      sizeBytes: 256,
      run: () => provider.ed25519Verifier(publicKey).verify(signature, message),
    },
    ...[4096, 1_048_576].flatMap(aead),
    { name: 'ml-kem-768+x25519 public key', sizeBytes: 1216, run: () => provider.kemPublicKey(seed) },
    {
      name: 'hpke seal',
      sizeBytes: contents.length,
      run: () => provider.hpke.Seal(kemKey, contents, { info }),
    },
    {
      name: 'hpke open',
      sizeBytes: contents.length,
      run: () => provider.hpke.Open(privateKey, encapsulatedSecret, ciphertext, { info }),
    },
    {
      name: 'scrypt n=2^15 r=8 p=1',
      sizeBytes: 32,
      run: () => provider.scrypt(seed, key, { n: 2 ** 15, r: 8, p: 1 }),
    },
  ]
}

const results: Result[] = []
for (const [provider, measured] of [
  ['node:crypto', [plainVerification()]],
  [native.name, await primitives(native)],
  [noble.name, await primitives(noble)],
] as const) {
  for (const { name, sizeBytes, run } of measured) {
    const { perSecond, p50Ms, p99Ms } = await measure(run)
    results.push({
      primitive: name,
      provider,
      sizeBytes,
      operationsPerSecond: perSecond,
      megabytesPerSecond: (perSecond * sizeBytes) / 1e6,
      p50Ms,
      p99Ms,
    })
  }
}
report('crypto', results, options)
