import { encodeCbor } from '@healthblock/encoding/cbor'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StateOverlay } from './state.ts'
import { userTables } from './tables.ts'

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

describe('keys of the state', () => {
  it('are the canonical CBOR of SPEC.md §5', () => {
    const parts = fc.tuple(bytes(32), bytes(8), fc.oneof(fc.nat(30), fc.maxSafeNat()))
    fc.assert(
      fc.property(parts, ([patient, stream, gen]) => {
        expect(userTables.cut.key(patient, stream, gen)).toEqual(encodeCbor(['cut', patient, stream, gen]))
        expect(userTables.key.key(patient, gen, gen)).toEqual(encodeCbor(['key', patient, gen, gen]))
        expect(userTables.grant.key(patient, patient.subarray(16))).toEqual(
          encodeCbor(['grant', patient, patient.subarray(16)]),
        )
      }),
    )
  })

  it('of negative or fractional numbers do not exist', () => {
    expect(() => userTables.policy.key(-1)).toThrow()
    expect(() => userTables.policy.key(0.5)).toThrow()
  })
})

describe('an overlay', () => {
  it('reads through and keeps what is set', () => {
    const base = new StateOverlay({ get: () => undefined })
    const account = new Uint8Array(32)
    userTables.counter.set(base, 1, account)
    const upper = new StateOverlay(base)
    expect(userTables.counter.get(upper, account)).toBe(1)
    userTables.counter.set(upper, 2, account)
    expect([userTables.counter.get(base, account), userTables.counter.get(upper, account)]).toEqual([1, 2])
    expect([...upper.changes()]).toEqual([{ key: userTables.counter.key(account), value: encodeCbor(2) }])
  })

  it('takes back what was set since the beginning, and no more', () => {
    const overlay = new StateOverlay({ get: () => undefined })
    const [first, second] = [new Uint8Array(32), new Uint8Array(32).fill(1)]
    userTables.counter.set(overlay, 1, first)
    overlay.begin()
    for (const value of [2, 3]) for (const account of [first, second]) userTables.counter.set(overlay, value, account)
    overlay.undo()
    expect([userTables.counter.get(overlay, first), userTables.counter.get(overlay, second)]).toEqual([1, undefined])
    expect([...overlay.changes()]).toEqual([{ key: userTables.counter.key(first), value: encodeCbor(1) }])
    overlay.undo()
    expect(userTables.counter.get(overlay, first)).toBe(1)
  })
})
