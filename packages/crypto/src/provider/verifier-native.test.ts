import { spawnSync } from 'node:child_process'
import crypto from 'node:crypto'
import { ed25519 } from '@noble/curves/ed25519.js'
import { afterEach, expect, test, vi } from 'vitest'
import type { Platform } from '../edwards/assembler.ts'
import type { Kernel } from '../edwards/kernel.ts'
import { sightingsMin } from '../edwards/known-keys.ts'

afterEach(() => {
  vi.unstubAllGlobals()
  vi.restoreAllMocks()
})

/** A verifier in a thread that has seen nothing yet. */
async function freshVerifiers() {
  vi.resetModules()
  return import('./verifier-native.ts')
}

function signer() {
  const { publicKey, privateKey } = crypto.generateKeyPairSync('ed25519')
  const raw = Uint8Array.from(publicKey.export({ format: 'der', type: 'spki' }).subarray(12))
  return { publicKey: raw, sign: (message: Uint8Array) => Uint8Array.from(crypto.sign(null, message, privateKey)) }
}

type Verifiers = Awaited<ReturnType<typeof freshVerifiers>>

/** A handle that has seen as many good signatures as make a key known. */
function seenOften({ Ed25519Verifier }: Verifiers, { publicKey, sign }: ReturnType<typeof signer>) {
  const handle = new Ed25519Verifier(publicKey)
  for (let i = 0; i < sightingsMin; i++) expect(handle.verify(sign(Uint8Array.of(i)), Uint8Array.of(i))).toBe(true)
  return handle
}

test('what a known key confirms takes no job; what it does not confirm is judged off the event loop when it may be', async () => {
  const key = signer()
  const handle = seenOften(await freshVerifiers(), key)
  expect(handle.known).toBeDefined()
  const openSsl = vi.spyOn(crypto, 'verify')
  const message = Uint8Array.of(1, 2, 3)
  const signature = key.sign(message)
  expect(await handle.verifyAsync(signature, message)).toBe(true)
  expect(openSsl).not.toHaveBeenCalled()
  signature[40] = (signature[40] as number) ^ 1
  expect(await handle.verifyAsync(signature, message)).toBe(false)
  expect(openSsl.mock.calls.map((call) => typeof call[4])).toEqual(['function'])
})

test('a key whose tables are spoilt by a fault of the platform does not become known, and nothing is forged', async () => {
  const verifiers = await freshVerifiers()
  let isFaulty = false
  const { Instance, Module } = (globalThis as unknown as { WebAssembly: Platform }).WebAssembly
  /** Makes every entry the identity once it is faulty: then [S]B alone is compared with R. */
  class FaultyInstance {
    readonly exports: object
    constructor(module: object) {
      const real = new Instance(module).exports as Kernel
      const entry = (target: number, x: number, y: number) => {
        real.entry(target, x, y)
        if (!isFaulty) return
        const doubles = new Float64Array(real.memory.buffer, target, 30)
        doubles.fill(0)
        for (const at of [0, 1, 10, 11]) doubles[at] = 1
      }
      this.exports = { ...real, entry }
    }
  }
  vi.stubGlobal('WebAssembly', { Instance: FaultyInstance, Module })
  expect(seenOften(verifiers, signer()).known).toBeDefined()
  isFaulty = true
  const handle = seenOften(verifiers, signer())
  const forged = new Uint8Array(64)
  forged.set(ed25519.Point.BASE.multiply(5n).toBytes())
  forged[32] = 5
  expect(handle.verify(forged, Uint8Array.of(1))).toBe(false)
  expect(handle.known).toBeUndefined()
})

test('where the platform has no WebAssembly, OpenSSL judges all', async () => {
  const verifiers = await freshVerifiers()
  vi.stubGlobal('WebAssembly', undefined)
  const key = signer()
  const handle = seenOften(verifiers, key)
  expect(handle.known).toBeUndefined()
  const message = Uint8Array.of(1)
  expect(handle.verify(key.sign(message), message)).toBe(true)
  expect(handle.verify(key.sign(message), Uint8Array.of(2))).toBe(false)
})

test.runIf(process.arch === 'x64')('where multiply-adds are not fused there are no known keys', () => {
  const program = `
    import crypto from 'node:crypto'
    import { KnownKeys } from ${JSON.stringify(new URL('../edwards/known-keys.ts', import.meta.url).href)}
    console.log(KnownKeys.create((input) => crypto.hash('sha512', input, 'binary')) !== undefined)
  `
  const answer = (...flags: string[]) =>
    spawnSync(process.execPath, [...flags, '--input-type=module', '-e', program], { encoding: 'utf8' }).stdout.trim()
  expect([answer(), answer('--no-enable-fma3')]).toEqual(['true', 'false'])
})
