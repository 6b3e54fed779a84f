import { generateSigningKey } from '@healthblock/crypto/signature'
import { encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { beforeAll, describe, expect, it } from 'vitest'
import { ChainError } from '../errors.ts'
import { b32, flipBit } from '../sample.test-support.ts'
import { type Party, World } from '../testkit.ts'
import {
  createErasureOrder,
  type ErasureOrder,
  erasureKeysAt,
  orderClockMs,
  parseErasureOrder,
  verifyErasureOrder,
} from './erasure-order.ts'

const world = new World()
const { ledgerId } = world.ledger
const digest = b32('block')
let patient: Party
let made: Uint8Array
/** Of the two op keys that she had one after the other: from when on each was in force. */
let [firstFromMs, secondFromMs] = [0, 0]

beforeAll(() => {
  patient = world.register(1)[0] as Party
  firstFromMs = world.ledger.head('userchain').ms
  const fields = { account: patient.account, digest, codec: 0x55, ms: firstFromMs, key: 1 }
  made = createErasureOrder({ ...fields, ledgerId, signingKey: patient.op })
  const op = generateSigningKey()
  world.post(
    world.byRoot(patient, { v: 1, t: 'update', a: patient.account, ...world.consent(), op: op.publicKey, why: 0 }),
  )
  secondFromMs = world.ledger.head('userchain').ms
})

const ledger = () => ({ state: world.ledger.state('userchain'), index: world.ledger.index('userchain') })
const keysAt = (ms: number, account = patient.account, key = 1) => erasureKeysAt(ledger(), { account, key }, ms)

function verify(order: ErasureOrder, publicKeys = keysAt(order.ms) ?? []): ErasureOrder {
  return verifyErasureOrder({ order, ledgerId, publicKeys })
}

describe('an erasure order', () => {
  it('reads back and verifies under the key that was in force when it was signed, also after that was replaced', () => {
    const order = parseErasureOrder(made)
    expect(order).toMatchObject({ account: patient.account, digest, codec: 0x55, ms: firstFromMs, key: 1 })
    expect(verify(order)).toBe(order)
  })

  it('counts for nothing but what it says', () => {
    const order = parseErasureOrder(made)
    for (const other of [
      { ...order, digest: b32('another block') },
      { ...order, codec: 0x70 },
      { ...order, ms: order.ms + 1 },
      { ...order, account: b32('somebody') },
      { ...order, signature: flipBit(order.signature, 9) },
    ]) {
      expect(() => verify(other, [patient.op.publicKey])).toThrow(ChainError)
    }
    const stranger = generateSigningKey().publicKey
    expect(() => verify(order, [stranger])).toThrow(ChainError)
    expect(() => verifyErasureOrder({ order, ledgerId: b32('x'), publicKeys: [patient.op.publicKey] })).toThrow(
      ChainError,
    )
  })

  it('does not count under a key once that was replaced, nor long before it came', () => {
    expect(keysAt(firstFromMs - orderClockMs - 1)).toEqual([])
    expect(keysAt(firstFromMs - orderClockMs)).toEqual([patient.op.publicKey])
    expect(keysAt(secondFromMs - 1)).toContainEqual(patient.op.publicKey)
    expect(keysAt(secondFromMs)).toHaveLength(1)
    expect(keysAt(secondFromMs)).not.toContainEqual(patient.op.publicKey)
    const late = { account: patient.account, digest, codec: 0x55, ms: secondFromMs, key: 1 }
    const order = parseErasureOrder(createErasureOrder({ ...late, ledgerId, signingKey: patient.op }))
    expect(() => verify(order)).toThrow(ChainError)
  })

  it('says of an account that is not known that it is not', () => {
    expect(keysAt(secondFromMs, b32('nobody'))).toBeUndefined()
    expect(keysAt(secondFromMs, patient.account, 2)).toBeUndefined()
  })

  it('is read from no other bytes', () => {
    const refused = [encodeCbor([]), encodeCbor([{}, 1, new Uint8Array(64)]), encodeCbor(1), made.subarray(1)]
    for (const bytes of refused) expect(() => parseErasureOrder(bytes)).toThrow(ChainError)
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(() => parseErasureOrder(bytes)).toThrow(ChainError)
      }),
    )
  })
})
