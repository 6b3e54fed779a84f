import { hash } from 'node:crypto'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { decodeGroup, decodeOutcome, encodeGroup, encodeOutcome } from './group-message.ts'
import type { Operation, Outcome } from './operations.ts'

const largeBlock = new Uint8Array(65_536).fill(7)
const account = fc.uint8Array({ minLength: 32, maxLength: 32 })
const time = fc.nat({ max: Number.MAX_SAFE_INTEGER })
const header = fc.record({
  owner: account,
  writer: account,
  stream: fc.uint8Array({ minLength: 8, maxLength: 8 }),
  sequence: time,
})
const pins = fc.record({ direct: time, recursive: time, removed: time })
const put = fc
  .record({
    digest: account,
    codec: fc.constantFrom(0x55, 0x0129),
    // Some are above the size from which a block travels by itself.
    bytes: fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.constant('large' as const)),
    isExternal: fc.boolean(),
    references: fc.array(
      fc.record({ account, at: time, pin: fc.nat(2), pins }, { requiredKeys: ['account', 'at', 'pin'] }),
      { maxLength: 3 },
    ),
    handoff: fc.array(account, { maxLength: 2 }),
    handoffDelayMs: fc.nat(),
    bytesMax: time,
    now: time,
    header: fc.option(header),
    accountBytesMax: fc.option(time),
    incident: fc.option(
      fc.record({ at: time, kind: fc.constant('block-healed' as const), digest: account, node: account }),
    ),
  })
  .map(({ header: own, accountBytesMax, incident, bytes: some, ...rest }): Operation => {
    const bytes = some === 'large' ? largeBlock : some
    const quota = accountBytesMax === null ? {} : { accountBytesMax }
    return { kind: 'put', size: bytes.length, bytes, ...rest, ...own, ...quota, ...(incident ? { incident } : {}) }
  })
const others: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ kind: fc.constant('unpin' as const), digest: account, account, at: time }),
  fc.record({
    kind: fc.constant('handoff-done' as const),
    entries: fc.array(fc.record({ id: fc.nat(), at: time }), { maxLength: 3 }),
  }),
)

function plain(operations: readonly Operation[]): unknown {
  const text = JSON.stringify(operations, (_key, value) => {
    if (!(value instanceof Uint8Array)) return value
    return value.length > 1000 ? `${value.length} ${hash('sha256', value)}` : Buffer.from(value).toString('hex')
  })
  return JSON.parse(text)
}

test('a group comes out as it went in, in its order', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(put, others), { maxLength: 12 }), (operations) => {
      const { message, moved } = encodeGroup(operations)
      expect(plain(decodeGroup(structuredClone(message, { transfer: moved })))).toEqual(plain(operations))
    }),
  )
})

test('what was asked for keeps its bytes: a copy goes over', () => {
  const bytes = new Uint8Array(70_000).fill(3)
  const operation: Operation = {
    kind: 'put',
    ...{ digest: new Uint8Array(32), codec: 0x55, bytes, size: bytes.length, isExternal: false },
    ...{ references: [], handoff: [], handoffDelayMs: 0, bytesMax: 1, now: 1 },
  }
  const { message, moved } = encodeGroup([operation])
  structuredClone(message, { transfer: moved })
  expect(bytes).toEqual(new Uint8Array(70_000).fill(3))
})

test('outcomes come back as they were', () => {
  const refusal = (code: string): Outcome => ({ ok: false, code }) as Outcome
  const outcomes = [
    { ok: true, changed: false, deleted: 0 } as const,
    { ok: true, changed: true, deleted: 1000 } as const,
    ...['ERR_BLOCK_ERASED', 'ERR_QUOTA_EXCEEDED', 'ERR_STORE_FAILED', 'ERR_NOT_PINNED'].map(refusal),
  ]
  expect(outcomes.map(encodeOutcome).map(decodeOutcome)).toEqual(outcomes)
})
