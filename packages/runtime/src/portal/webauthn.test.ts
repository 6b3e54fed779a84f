import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { RuntimeError } from '../errors.ts'
import type { FastifyRequest } from '../http/http-app.ts'
import { type Lie, localPage, SoftwareKey } from './software-key.test-support.ts'
import {
  challengeOf,
  keyAlgorithms,
  keyPageOf,
  type SecurityKey,
  verifyAssertion,
  verifyRegistration,
} from './webauthn.ts'

const challenge = new Uint8Array(randomBytes(32))
const page = localPage

function reasonOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    const { detail } = error as RuntimeError
    if (error instanceof RuntimeError && detail.code === 'ERR_KEY_WRONG') return detail.reason
    throw error
  }
  return 'holds'
}

function registered(key: SoftwareKey): SecurityKey {
  const taken = verifyRegistration(key.register(challenge), { challenge, page })
  return { ...taken, name: 'blue key', addedMs: 0 }
}

test.each(keyAlgorithms)('a key of algorithm %i registers, and signs what it is asked', (algorithm) => {
  const software = new SoftwareKey(algorithm)
  const key = registered(software)
  expect(key).toMatchObject({ algorithm, counter: 0, place: 'http://localhost' })
  const answer = software.answer(challenge)
  expect(challengeOf(answer.clientData)).toEqual(challenge)
  expect(verifyAssertion(answer, { challenge, page, key })).toBe(1)
  // Any bit of what was signed, and of the signature.
  for (const part of ['authenticatorData', 'signature'] as const) {
    const bent = answer[part].slice()
    bent[bent.length - 1] = (bent[bent.length - 1] as number) ^ 1
    expect(reasonOf(() => verifyAssertion({ ...answer, [part]: bent }, { challenge, page, key }))).toBe('signature')
  }
  const space = new TextEncoder().encode(new TextDecoder().decode(answer.clientData).replace('{', '{ '))
  expect(reasonOf(() => verifyAssertion({ ...answer, clientData: space }, { challenge, page, key }))).toBe('signature')
  // Another key of the same kind.
  const other = registered(new SoftwareKey(algorithm))
  expect(reasonOf(() => verifyAssertion(answer, { challenge, page, key: other }))).toBe('signature')
})

const lies: readonly (readonly [string, Lie])[] = [
  ['type', { type: 'webauthn.other' }],
  ['challenge', { challenge: new Uint8Array(32) }],
  ['origin', { origin: 'http://localhost:9999' }],
  ['origin', { origin: 'https://localhost:8080' }],
  ['origin', { more: { crossOrigin: true } }],
  ['origin', { more: { topOrigin: 'https://elsewhere.example' } }],
  ['place', { rpId: 'elsewhere.example' }],
  ['presence', { flags: 0x44 }],
  ['verification', { flags: 0x41 }],
]

test.each(lies)('%s: an answer that says %o is refused', (reason, lie) => {
  const software = new SoftwareKey()
  const key = registered(software)
  expect(reasonOf(() => verifyAssertion(software.answer(challenge, lie), { challenge, page, key }))).toBe(reason)
  const answer = new SoftwareKey().register(challenge, lie)
  expect(reasonOf(() => verifyRegistration(answer, { challenge, page }))).toBe(reason)
})

test('a count that does not grow is that of a copy; a key that never counts is none', () => {
  const software = new SoftwareKey()
  const key = { ...registered(software), counter: 5 }
  const say = (counter: number) => software.answer(challenge, { counter })
  for (const counter of [0, 4, 5])
    expect(reasonOf(() => verifyAssertion(say(counter), { challenge, page, key }))).toBe('counter')
  expect(verifyAssertion(say(6), { challenge, page, key })).toBe(6)
  expect(verifyAssertion(say(0), { challenge, page, key: { ...key, counter: 0 } })).toBe(0)
})

test('a key of another address is not taken, and neither are an id that was not attested and a key of another kind', () => {
  const software = new SoftwareKey()
  const key = { ...registered(software), place: 'https://portal.example' }
  expect(reasonOf(() => verifyAssertion(software.answer(challenge), { challenge, page, key }))).toBe('place')
  const answer = software.register(challenge)
  const verify = (change: Partial<typeof answer>): string =>
    reasonOf(() => verifyRegistration({ ...answer, ...change }, { challenge, page }))
  expect(verify({})).toBe('holds')
  expect(verify({ id: new Uint8Array(20) })).toBe('form')
  expect(verify({ id: software.id.subarray(1) })).toBe('form')
  expect(verify({ id: new Uint8Array(0) })).toBe('form')
  expect(verify({ authenticatorData: answer.authenticatorData.subarray(0, 40) })).toBe('form')
  expect(verify({ algorithm: -8 })).toBe('algorithm')
  expect(verify({ publicKey: new SoftwareKey(-257).publicKey })).toBe('algorithm')
  expect(verify({ publicKey: new Uint8Array(91) })).toBe('form')
  for (const text of ['', '[]', 'null', '{', '\xff'])
    expect(verify({ clientData: new TextEncoder().encode(text) })).not.toBe('holds')
})

test('keys are used where browsers use them: with TLS, or on this machine at the port that is listened on', () => {
  const pageOf = (host: string | undefined, protocol = 'http'): string | undefined =>
    keyPageOf({ host, protocol, socket: { localPort: 8080 } } as unknown as FastifyRequest)?.place
  const proxied = 'https'
  expect(pageOf('localhost:8080')).toBe('http://localhost')
  expect(pageOf('localhost:9999')).toBeUndefined()
  expect(pageOf('portal.example', proxied)).toBe('https://portal.example')
  expect(pageOf('portal.example:444', proxied)).toBe('https://portal.example:444')
  for (const host of ['127.0.0.1:8080', '[::1]:8080', 'portal.example', undefined, 'a b', ''])
    expect(pageOf(host), host).toBeUndefined()
  for (const host of ['10.0.0.1', '[fd00::1]']) expect(pageOf(host, proxied), host).toBeUndefined()
})
