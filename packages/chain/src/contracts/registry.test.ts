/** What a gateway's first look at a `register` tries, and in which order. */
import { describe, expect, it } from 'vitest'
import { type Draft, World } from '../testkit.ts'
import type { Transaction } from '../transaction/transaction.ts'

const world = new World()
const { ledger } = world

function screened(transaction: Transaction): unknown {
  return ledger.screen('userchain', [transaction], { atMs: world.nowMs })[0]
}

/** Registrations of a patient; `kem` replaces the KEM key. */
function registration(kem?: Uint8Array): Draft {
  const { draft } = world.registration(1)
  return kem === undefined ? draft : ({ ...draft, body: { ...draft.body, kem } } as Draft)
}

/** The op key of somebody signs in the place of the sponsor's. */
function forged({ signers, ...draft }: Draft): Draft {
  const [root, op, sponsor] = signers
  return { ...draft, signers: [root, op, { ...sponsor, signingKey: op?.signingKey }] as Draft['signers'] }
}

describe('a first look at a registration', () => {
  const notAKey = new Uint8Array(1216).fill(255)

  it('comes to what the rules say', () => {
    const good = world.sign(registration())
    expect(screened(good)).toEqual({ verdict: 'valid' })
    expect(world.ledger.judge('userchain', good, { atMs: world.nowMs })).toEqual({ verdict: 'valid' })
    const keys = { verdict: 'refused', rule: 'register.keys' }
    expect(screened(world.sign(registration(notAKey)))).toEqual(keys)
    expect(world.judge(registration(notAKey))).toEqual(keys)
  })

  it('looks at the KEM key of nobody whose signatures are wrong', () => {
    const draft = forged(registration(notAKey))
    expect(world.judge(draft)).toEqual({ verdict: 'refused', rule: 'register.keys' })
    expect(screened(world.sign(draft))).toEqual({ verdict: 'refused', rule: 'register.signature' })
  })
})
