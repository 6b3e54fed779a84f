import { expect, test } from 'vitest'
import { Claims, kept } from './claims.ts'

const account = new Uint8Array(32).fill(1)
const [one, two] = [2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [Uint8Array, Uint8Array]

/** Requests that are under way. */
function begun<Count extends number>(claims: Claims<object>, count: Count): object[] {
  const requests = Array.from({ length: count }, (_, number) => ({ number }))
  for (const request of requests) claims.begin(request)
  return requests
}

test('a block that several requests bring is left to those that go on, and the last one takes it back', () => {
  const claims = new Claims<object>()
  const [first, second, third] = begun(claims, 3) as [object, object, object]
  expect([first, second, third].map((request) => claims.take(account, one, request))).toEqual([
    undefined,
    first,
    second,
  ])
  // Whoever took it over breaks off: the first one still has it.
  expect(claims.leave(account, one, third)).toBe(second)
  claims.end(third)
  expect(claims.leave(account, one, first)).toBe(second)
  claims.end(first)
  expect(claims.take(account, one, second)).toBeUndefined()
  expect(claims.leave(account, one, second)).toBeUndefined()
  // What it has left is not its own any more.
  expect(claims.leave(account, one, second)).toBe(kept)
})

test('a request that has ended is not left anything', () => {
  const claims = new Claims<object>()
  const [first, second] = begun(claims, 2) as [object, object]
  claims.take(account, one, first)
  claims.take(account, one, second)
  claims.end(first)
  expect(claims.leave(account, one, second)).toBeUndefined()
})

test('what one request has brought to its end, or somebody has put for good, nobody takes back', async () => {
  const claims = new Claims<object>()
  const [first, second] = begun(claims, 2) as [object, object]
  for (const digest of [one, two]) for (const request of [first, second]) claims.take(account, digest, request)
  claims.keep(account, one, first)
  claims.end(first)
  await claims.keepWhile(account, two, async () => {})
  expect(claims.take(account, two, second)).toBeUndefined()
  expect([one, two].map((digest) => claims.leave(account, digest, second))).toEqual([kept, kept])
})

test('while a block is put for good it is nobody’s to give up, also if the put fails for one and another one goes on', async () => {
  const claims = new Claims<object>()
  const [request] = begun(claims, 1) as [object]
  const failing = claims.keepWhile(account, two, async () => {
    expect([claims.take(account, two, request), claims.leave(account, two, request)]).toEqual([undefined, kept])
    throw new Error('full')
  })
  await expect(failing).rejects.toThrow('full')
  expect([claims.take(account, two, request), claims.leave(account, two, request)]).toEqual([undefined, undefined])
})

test('who brings a block that is being taken back waits for that', async () => {
  const claims = new Claims<object>()
  const { promise, resolve } = Promise.withResolvers<void>()
  const did: string[] = []
  const takenBack = claims.takeBack(account, one, () => promise.then(() => void did.push('taken back')))
  const other = claims.left(account, two).then(() => void did.push('another block'))
  const waiting = claims.left(account, one).then(() => void did.push('brought'))
  await other
  resolve()
  await Promise.all([takenBack, waiting])
  await claims.left(account, one)
  expect(did).toEqual(['another block', 'taken back', 'brought'])
})

test('of what others put during a long upload nothing is remembered', async () => {
  const claims = new Claims<object>()
  await claims.keepWhile(account, one, async () => {})
  expect(claims.size).toBe(0)
  const [upload] = begun(claims, 1) as [object]
  for (let byte = 0; byte < 100; byte++) await claims.keepWhile(account, new Uint8Array(32).fill(byte), async () => {})
  expect(claims.size).toBe(0)
  claims.take(account, one, upload)
  await claims.keepWhile(account, one, async () => {})
  expect([claims.size, claims.leave(account, one, upload)]).toEqual([1, kept])
  claims.end(upload)
  expect(claims.size).toBe(0)
})

test('of what other uploads bring during a long one nothing is remembered, unless that has brought it, too', async () => {
  const claims = new Claims<object>()
  const [long] = begun(claims, 1) as [object]
  claims.take(account, one, long)
  for (let byte = 0; byte < 100; byte++) {
    const upload = {}
    claims.begin(upload)
    const digest = new Uint8Array(32).fill(byte)
    claims.take(account, digest, upload)
    await claims.keepWhile(account, digest, async () => {})
    claims.keep(account, digest, upload)
    claims.end(upload)
  }
  expect(claims.size).toBe(1)
  expect(claims.leave(account, one, long)).toBe(kept)
  expect(claims.size).toBe(0)
})
