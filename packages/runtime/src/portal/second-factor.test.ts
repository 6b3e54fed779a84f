import { fromBase64Url } from '@healthblock/encoding/bytes'
import { expect, test } from 'vitest'
import { RuntimeError } from '../errors.ts'
import type { KeyQuestion } from '../key-question.ts'
import { actDigest } from './act-challenge.ts'
import { type Act, type FactorHolder, type Factors, SecondFactors } from './second-factor.ts'
import { localPage, SoftwareKey } from './software-key.test-support.ts'
import { totpOf } from './totp.ts'

const page = localPage
const path = '/v1/people/ann/grants'
const body = { doctor: 'ab', streams: ['ecg'], until: 5, purpose: 1 }

class Person implements FactorHolder {
  readonly id = 'ann'
  readonly label = 'Ann'
  readonly session: string
  kept: { factors: Factors }

  constructor(session = 'one', kept: { factors: Factors } = { factors: { keys: [] } }) {
    this.session = session
    this.kept = kept
  }

  read(): Factors {
    return this.kept.factors
  }

  write(factors: Factors): void {
    this.kept.factors = factors
  }
}

function base32(text: string): Uint8Array {
  const bits = [...text].map((letter) =>
    'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'),
  )
  return Uint8Array.from((bits.join('').match(/.{8}/g) ?? []).map((byte) => Number.parseInt(byte, 2)))
}

function codeOf(act: () => unknown): string {
  try {
    act()
  } catch (error) {
    if (!(error instanceof RuntimeError)) throw error
    const { detail } = error
    return detail.code === 'ERR_KEY_WRONG' ? detail.reason : detail.code
  }
  return 'done'
}

function setUp() {
  const clock = { ms: 1_800_000_000_000 }
  const factors = new SecondFactors({ nowMs: () => clock.ms })
  const ann = new Person()
  const key = new SoftwareKey()
  const challenge = fromBase64Url(factors.offerKey(ann, page).challenge)
  factors.addKey(ann, page, { name: 'blue', answer: key.register(challenge) })
  const ask = (act: Partial<Act> = {}, holder = ann): Uint8Array => {
    const question = factors.question(holder, { path, body, page, ...act }) as KeyQuestion
    return fromBase64Url(question.challenge)
  }
  const demand = (evidence: Act['evidence'], act: Partial<Act> = {}, holder = ann): string =>
    codeOf(() => factors.demand(holder, { path, body, page, evidence, ...act }))
  return { clock, factors, ann, key, ask, demand }
}

test('a key’s answer is good for the act that it was asked for, once', () => {
  const { ask, demand, key } = setUp()
  expect(demand({})).toBe('ERR_CODE_NEEDED')
  const answer = key.answer(ask())
  // The order of fields and what shows who acts are no part of an act.
  const same = { purpose: 1, until: 5, streams: ['ecg'], doctor: 'ab', key: { id: 'x' }, code: '123456' }
  expect(demand({ key: answer }, { body: same })).toBe('done')
  expect(demand({ key: answer })).toBe('challenge')
})

test.each([
  ['another doctor', { body: { ...body, doctor: 'cd' } }],
  ['more streams', { body: { ...body, streams: ['ecg', 'vitals'] } }],
  ['another end', { body: { ...body, until: 6 } }],
  ['no end', { body: { doctor: 'ab', streams: ['ecg'], purpose: 1 } }],
  ['another kind of act', { path: '/v1/people/ann/disclosures' }],
])('an answer for one grant is worth nothing for %s', (_, act) => {
  const { ask, demand, key } = setUp()
  const answer = key.answer(ask())
  expect(demand({ key: answer }, act)).toBe('challenge')
})

test('an answer is good in its session and for five minutes, and of a key that is known, here', () => {
  const { clock, ask, demand, ann, key } = setUp()
  const other = new Person('two', ann.kept)
  expect(demand({ key: key.answer(ask()) }, {}, other)).toBe('challenge')
  const late = key.answer(ask())
  clock.ms += 5 * 60_000
  expect(demand({ key: late })).toBe('challenge')
  expect(demand({ key: new SoftwareKey().answer(ask()) })).toBe('unknown')
  expect(demand({ key: key.answer(ask()) }, { page: undefined })).toBe('place')
  const elsewhere = { origin: 'https://portal.example', rpId: 'portal.example', place: 'https://portal.example' }
  const { factors } = setUp()
  expect(factors.question(ann, { path, body, page: elsewhere })).toBeUndefined()
  expect(factors.question(ann, { path, body, page: undefined })).toBeUndefined()
})

test('five wrong answers bar the person for a quarter of an hour, in every session', () => {
  const { clock, ask, demand, ann, key } = setUp()
  const stranger = new SoftwareKey()
  for (let i = 0; i < 5; i++) expect(demand({ key: stranger.answer(ask()) })).toBe('unknown')
  expect(demand({ key: key.answer(ask()) })).toBe('ERR_TOO_MANY_TRIES')
  expect(demand({ code: '123456' }, {}, new Person('two', ann.kept))).toBe('ERR_TOO_MANY_TRIES')
  clock.ms += 15 * 60_000
  expect(demand({ key: key.answer(ask()) })).toBe('done')
})

test('the count of a key is kept: its copy is noticed', () => {
  const { ask, demand, ann, key } = setUp()
  expect(demand({ key: key.answer(ask()) })).toBe('done')
  expect(ann.read().keys[0]?.counter).toBe(1)
  expect(demand({ key: key.answer(ask(), { counter: 1 }) })).toBe('counter')
})

test('app and keys live beside each other; each is removed alone', () => {
  const { clock, factors, ann, demand, ask, key } = setUp()
  const secretOf = (uri: string): string => new URL(uri).searchParams.get('secret') as string
  expect(codeOf(() => factors.confirmCode(ann, '123456'))).toBe('ERR_FACTOR_NOT_OFFERED')
  expect(secretOf(factors.offerCode(ann).uri)).toHaveLength(32)
  expect(codeOf(() => factors.confirmCode(ann, '000000'))).toBe('ERR_CODE_WRONG')
  const secret = new Uint8Array(20)
  ann.write({ ...ann.read(), totp: secret })
  expect(codeOf(() => factors.offerCode(ann))).toBe('ERR_FACTOR_ON')
  expect(demand({ code: totpOf(secret, Math.floor(clock.ms / 30_000)) })).toBe('done')
  expect(demand({ code: totpOf(secret, Math.floor(clock.ms / 30_000)) })).toBe('ERR_CODE_WRONG')
  factors.removeCode(ann)
  expect(factors.view(ann, page)).toMatchObject({ on: true, code: false, keys: [{ name: 'blue', isHere: true }] })
  const id = factors.view(ann, page).keys[0]?.id as string
  factors.renameKey(ann, id, 'green')
  expect(factors.view(ann, undefined)).toMatchObject({ isKeyPossible: false, keys: [{ name: 'green', isHere: false }] })
  expect(demand({ key: key.answer(ask()) })).toBe('done')
  factors.removeKey(ann, id)
  expect(demand({})).toBe('done')
  expect(codeOf(() => factors.removeKey(ann, id))).toBe('ERR_NOT_FOUND')
})

test('a registration is one that was begun in this session, and no key is taken twice', () => {
  const { factors, ann, key } = setUp()
  const add = (challenge: Uint8Array, added = new SoftwareKey(), holder: FactorHolder = ann): string =>
    codeOf(() => factors.addKey(holder, page, { name: 'x', answer: added.register(challenge) }))
  const offer = (): Uint8Array => fromBase64Url(factors.offerKey(ann, page).challenge)
  expect(add(new Uint8Array(32))).toBe('challenge')
  expect(add(offer(), new SoftwareKey(), new Person('two', ann.kept))).toBe('challenge')
  // What was asked for an act registers nothing.
  const question = factors.question(ann, { path, body, page }) as KeyQuestion
  expect(add(fromBase64Url(question.challenge))).toBe('challenge')
  // Nor does a question about an act that somebody made up: whoever asks it has shown no factor.
  for (const made of ['webauthn.create', 'factor offer', '']) {
    const { challenge } = factors.question(ann, { path: made, body: {}, page }) as KeyQuestion
    expect(add(fromBase64Url(challenge))).toBe('challenge')
  }
  expect(add(offer(), key)).toBe('form')
  const challenge = offer()
  expect(add(challenge)).toBe('done')
  expect(add(challenge)).toBe('challenge')
  for (let i = ann.read().keys.length; i < 8; i++) expect(add(offer())).toBe('done')
  expect(codeOf(offer)).toBe('ERR_LIMIT_EXCEEDED')
  expect(codeOf(() => factors.offerKey(ann, undefined))).toBe('ERR_KEY_PLACE')
})

test('what was offered before another factor was on is void: who began it has not shown that one', () => {
  const clock = { ms: 1_800_000_000_000 }
  const factors = new SecondFactors({ nowMs: () => clock.ms })
  const [ann, thief] = [new Person(), new Person('two')]
  thief.kept = ann.kept
  const early = fromBase64Url(factors.offerKey(thief, page).challenge)
  const secretOf = (uri: string): Uint8Array => base32(new URL(uri).searchParams.get('secret') as string)
  const secret = secretOf(factors.offerCode(thief).uri)
  const challenge = fromBase64Url(factors.offerKey(ann, page).challenge)
  factors.addKey(ann, page, { name: 'blue', answer: new SoftwareKey().register(challenge) })
  const answer = new SoftwareKey().register(early)
  expect(codeOf(() => factors.addKey(thief, page, { name: 'x', answer }))).toBe('challenge')
  const code = totpOf(secret, Math.floor(clock.ms / 30_000))
  expect(codeOf(() => factors.confirmCode(thief, code))).toBe('ERR_FACTOR_NOT_OFFERED')
  expect(factors.view(ann, page)).toMatchObject({ code: false, keys: [{ name: 'blue' }] })
})

test('the digest of an act is that of the SPEC', () => {
  expect(
    Buffer.from(actDigest('/a', { b: [1, 'x', { d: null, c: undefined }], a: true, code: '1' })).toString('hex'),
  ).toBe(Buffer.from(actDigest('/a', { a: true, b: [1, 'x', { d: null }], passphrase: 'p' })).toString('hex'))
  expect(actDigest('/a', {})).not.toEqual(actDigest('/b', {}))
  const nested = (depth: number): unknown => {
    let value: unknown = 1
    for (let i = 0; i < depth; i++) value = [value]
    return value
  }
  expect(codeOf(() => actDigest('/a', { b: nested(15) }))).toBe('done')
  expect(codeOf(() => actDigest('/a', { b: nested(10_000) }))).toBe('ERR_LIMIT_EXCEEDED')
  expect(actDigest('/a', { b: 1 })).not.toEqual(actDigest('/a', { b: '1' }))
})
