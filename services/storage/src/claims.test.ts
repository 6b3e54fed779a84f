import { expect, test } from 'vitest'
import { Claims } from './claims.ts'

const account = new Uint8Array(32).fill(1)
const [one, two] = [2, 3].map((byte) => new Uint8Array(32).fill(byte)) as [Uint8Array, Uint8Array]

test('a block is its last bringer to give up, unless somebody put it for good', async () => {
  const claims = new Claims()
  const [first, second] = [{}, {}]
  claims.begin(first)
  claims.begin(second)
  expect([claims.take(account, one, first), claims.take(account, one, second)]).toEqual([undefined, first])
  expect([claims.isHeld(account, one, first), claims.isHeld(account, one, second)]).toEqual([false, true])
  await claims.keepWhile(account, one, async () => {})
  expect([claims.take(account, one, first), claims.isHeld(account, one, first)]).toEqual([undefined, false])
  // While it is put for good it is nobody's to give up, also if the put fails for one and another one goes on.
  const failing = claims.keepWhile(account, two, async () => {
    expect([claims.take(account, two, first), claims.isHeld(account, two, first)]).toEqual([undefined, false])
    throw new Error('full')
  })
  await expect(failing).rejects.toThrow('full')
  expect([claims.take(account, two, first), claims.isHeld(account, two, first)]).toEqual([undefined, true])
})

test('of what others put during a long upload nothing is remembered', async () => {
  const claims = new Claims()
  await claims.keepWhile(account, one, async () => {})
  expect(claims.size).toBe(0)
  const upload = {}
  claims.begin(upload)
  for (let byte = 0; byte < 100; byte++) await claims.keepWhile(account, new Uint8Array(32).fill(byte), async () => {})
  expect(claims.size).toBe(0)
  claims.take(account, one, upload)
  await claims.keepWhile(account, one, async () => {})
  expect([claims.size, claims.isHeld(account, one, upload)]).toEqual([1, false])
  claims.end(upload)
  expect(claims.size).toBe(0)
})
