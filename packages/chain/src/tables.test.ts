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
  it('reads through, keeps what is set, and gives it up only when absorbed', () => {
    const base = new StateOverlay({ get: () => undefined })
    const account = new Uint8Array(32)
    userTables.counter.set(base, 1, account)
    const upper = new StateOverlay(base)
    expect(userTables.counter.get(upper, account)).toBe(1)
    userTables.counter.set(upper, 2, account)
    expect([userTables.counter.get(base, account), userTables.counter.get(upper, account)]).toEqual([1, 2])
    base.absorb(upper)
    expect(userTables.counter.get(base, account)).toBe(2)
    expect([...base.changes()]).toEqual([{ key: userTables.counter.key(account), value: encodeCbor(2) }])
  })
})
