import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fromBase64Url } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { isRuntimeError, type RuntimeError } from '../errors.ts'
import type { KeyQuestion } from '../key-question.ts'
import { PortalAccounts } from './portal-accounts.ts'
import type { OpenPortalSession } from './portal-session.ts'
import type { Evidence } from './second-factor.ts'
import { localPage, SoftwareKey } from './software-key.test-support.ts'
import { totpOf } from './totp.ts'

const passphrase = 'correct horse battery'
const secret = new Uint8Array(20)
let dir: string
let accounts: PortalAccounts
let nowMs = 1_800_000_000_000

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'accounts-'))
  accounts = new PortalAccounts({ dir, nowMs: () => nowMs })
  await accounts.set({ name: 'ann', role: 'doctor', passphrase })
  const holder = accounts.holderOf({ name: 'ann', id: 'session' })
  holder.write({ keys: [], totp: secret })
})

afterAll(() => rmSync(dir, { recursive: true }))

function open(evidence: Evidence, source = 'here'): Promise<OpenPortalSession> {
  const act = { path: '/portal/login', body: { name: 'ann', passphrase }, page: localPage, evidence }
  return accounts.open({ name: 'ann', passphrase, act, source })
}

async function refusalOf(evidence: Evidence, source?: string): Promise<RuntimeError['detail']> {
  try {
    await open(evidence, source)
  } catch (error) {
    return (error as RuntimeError).detail
  }
  throw new Error('let in')
}

test('a damaged file is named, with what to do', () => {
  const other = join(dir, 'other')
  mkdirSync(other)
  writeFileSync(join(other, 'portal.json'), '[{"name')
  const words = /^\S+portal\.json is damaged \(.+\): restore it, or move it away/
  expect(() => new PortalAccounts({ dir: other, nowMs: () => nowMs })).toThrow(words)
})

test('who guesses codes is barred where he guesses from, and the person is not', async () => {
  for (let i = 0; i < 5; i++) expect(await refusalOf({ code: '000000' }, 'there')).toEqual({ code: 'ERR_CODE_WRONG' })
  const code = totpOf(secret, Math.floor(nowMs / 30_000))
  expect(await refusalOf({ code }, 'there')).toMatchObject({ code: 'ERR_TOO_MANY_TRIES' })
  expect(await open({ code })).toMatchObject({ name: 'ann', role: 'doctor' })
})

test('a key opens the door for the login that it was asked for, from where it was asked, and is kept over a restart', async () => {
  nowMs += 3_600_000
  const key = new SoftwareKey()
  const holder = accounts.holderOf({ name: 'ann', id: 'session' })
  expect(await refusalOf({})).toEqual({ code: 'ERR_CODE_NEEDED' })
  const challenge = fromBase64Url(accounts.factors.offerKey(holder, localPage).challenge)
  accounts.factors.addKey(holder, localPage, { name: 'blue', answer: key.register(challenge) })
  accounts = new PortalAccounts({ dir, nowMs: () => nowMs })
  const ask = async (source?: string): Promise<Uint8Array> => {
    const detail = await refusalOf({}, source)
    return fromBase64Url((detail as { keys: KeyQuestion }).keys.challenge)
  }
  expect(await refusalOf({ key: key.answer(await ask('there')) })).toMatchObject({ reason: 'challenge' })
  const answer = key.answer(await ask())
  expect(await open({ key: answer })).toMatchObject({ name: 'ann' })
  expect(await refusalOf({ key: answer })).toMatchObject({ reason: 'challenge' })
  // A wrong passphrase is not told what keys there are.
  const act = { path: '/portal/login', body: { name: 'ann' }, page: localPage, evidence: {} }
  const wrong = await accounts
    .open({ name: 'ann', passphrase: 'wrong horse', act, source: 'x' })
    .catch((error) => error)
  expect(isRuntimeError(wrong, 'ERR_PASSPHRASE_WRONG')).toBe(true)
  expect(accounts.list()).toEqual([{ name: 'ann', role: 'doctor', secondFactor: true }])
})

test('a new passphrase leaves the second factor on, over a restart too, and only who says so ends it', async () => {
  nowMs += 3_600_000
  await accounts.set({ name: 'ida', role: 'doctor', passphrase })
  const app = { keys: [], totp: secret }
  accounts.holderOf({ name: 'ida', id: 'session' }).write(app)
  await accounts.set({ name: 'ida', role: 'administrator', passphrase: 'another passphrase' })
  accounts = new PortalAccounts({ dir, nowMs: () => nowMs })
  const login = (evidence: Evidence) => {
    const act = { path: '', body: {}, page: localPage, evidence }
    return accounts.open({ name: 'ida', passphrase: 'another passphrase', act, source: 'here' })
  }
  await expect(login({})).rejects.toMatchObject({ detail: { code: 'ERR_CODE_NEEDED' } })
  const code = totpOf(secret, Math.floor(nowMs / 30_000))
  expect(await login({ code })).toMatchObject({ name: 'ida', role: 'administrator' })
  // The same code is taken once, whatever is set meanwhile.
  await accounts.set({ name: 'ida', role: 'administrator', passphrase: 'another passphrase' })
  await expect(login({ code })).rejects.toMatchObject({ detail: { code: 'ERR_CODE_WRONG' } })
  const lost = { name: 'ida', role: 'administrator', passphrase: 'another passphrase', endsSecondFactor: true }
  await accounts.set(lost)
  expect(await login({})).toMatchObject({ name: 'ida' })
})

test('who is logged in changes the passphrase with the old one and the second factor, and ends her other sessions', async () => {
  nowMs += 3_600_000
  await accounts.set({ name: 'pat', role: 'auditor', passphrase })
  const login = (words: string, evidence: Evidence = {}) => {
    const act = { path: '', body: {}, page: localPage, evidence }
    return accounts.open({ name: 'pat', passphrase: words, act, source: 'here' })
  }
  const [here, there] = [await login(passphrase), await login(passphrase)]
  accounts.holderOf(here).write({ keys: [], totp: secret })
  const change = (words: string, evidence: Evidence = {}) => {
    const act = { path: '/v1/portal/passphrase', body: {}, page: localPage, evidence }
    const words2 = { passphrase: words, newPassphrase: 'another passphrase' }
    return accounts.changePassphrase(here, { ...words2, act, source: 'here' })
  }
  await expect(change('wrong horse')).rejects.toMatchObject({ detail: { code: 'ERR_PASSPHRASE_WRONG' } })
  await expect(change(passphrase)).rejects.toMatchObject({ detail: { code: 'ERR_CODE_NEEDED' } })
  const step = Math.floor(nowMs / 30_000)
  await change(passphrase, { code: totpOf(secret, step) })
  expect([accounts.find(here.id, true)?.name, accounts.find(there.id, true)]).toEqual(['pat', undefined])
  await expect(login(passphrase)).rejects.toMatchObject({ detail: { code: 'ERR_PASSPHRASE_WRONG' } })
  const code = totpOf(secret, step + 1)
  expect(await login('another passphrase', { code })).toMatchObject({ name: 'pat', role: 'auditor' })
  // One that an operator set meanwhile stands.
  nowMs += 60_000
  const late = accounts.changePassphrase(here, {
    ...{ passphrase: 'another passphrase', newPassphrase: 'a third passphrase', source: 'here' },
    act: { path: '', body: {}, page: localPage, evidence: { code: totpOf(secret, step + 2) } },
  })
  const set = accounts.set({ name: 'pat', role: 'auditor', passphrase, endsSecondFactor: true })
  await expect(Promise.all([set, late])).rejects.toMatchObject({
    detail: { code: expect.stringMatching(/^ERR_(SESSION_MISSING|PASSPHRASE_WRONG)$/) },
  })
  expect(await login(passphrase)).toMatchObject({ name: 'pat' })
})

test('a login with the old passphrase that was under way when it was changed is refused', async () => {
  await accounts.set({ name: 'eve', role: 'doctor', passphrase })
  const login = (source: string) => {
    const act = { path: '/portal/login', body: {}, page: localPage, evidence: {} }
    return accounts.open({ name: 'eve', passphrase, act, source })
  }
  // They are tried one at a time: the last one is, after the change.
  const under = Promise.allSettled([login('a'), login('b'), login('c'), login('d'), login('e'), login('f')])
  await accounts.set({ name: 'eve', role: 'doctor', passphrase: 'another passphrase' })
  const last = (await under).at(-1)
  expect(last).toMatchObject({ status: 'rejected', reason: { detail: { code: 'ERR_PASSPHRASE_WRONG' } } })
  for (const one of await under)
    if (one.status === 'fulfilled') expect(accounts.find(one.value.id, true)).toBeUndefined()
})

test('a stranger who knocks with made-up names keeps nobody out, and is told to wait himself', async () => {
  await accounts.set({ name: 'zoe', role: 'doctor', passphrase })
  const knock = (name: string, source: string, words: string = passphrase) =>
    accounts.open({ name, passphrase: words, act: { path: '', body: {}, page: localPage, evidence: {} }, source })
  const order: string[] = []
  const strange = Promise.allSettled(
    Array.from({ length: 50 }, (_, n) => knock(`made up ${n}`, 'stranger').finally(() => order.push('stranger'))),
  )
  expect(await knock('zoe', 'home').finally(() => order.push('home'))).toMatchObject({ name: 'zoe' })
  const reasons = (await strange).map((one) => (one.status === 'rejected' ? one.reason.detail.code : 'let in'))
  expect(reasons.filter((code) => code === 'ERR_PASSPHRASE_WRONG')).toHaveLength(8)
  expect(reasons.filter((code) => code === 'ERR_TOO_MANY_AT_ONCE')).toHaveLength(42)
  // Those who were not even tried were refused at once; of the others one or two came before her.
  expect(order.indexOf('home')).toBeLessThan(45)
  // What was not tried does not count as a wrong try.
  for (let n = 0; n < 5; n++)
    await expect(knock('made up 49', 'stranger')).rejects.toMatchObject({ detail: { code: 'ERR_PASSPHRASE_WRONG' } })
})

test('a session that was opened while the clock was ahead does not last until then', async () => {
  nowMs += 2 * 86_400_000
  const { id } = await open({ code: totpOf(secret, Math.floor(nowMs / 30_000)) })
  expect(accounts.find(id, true)?.id).toBe(id)
  nowMs -= 2 * 86_400_000
  expect(accounts.find(id, true)).toBeUndefined()
})
