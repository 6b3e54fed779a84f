import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { expect, test } from 'vitest'
import type { Person } from '../store/person.ts'
import { LedgerReaders } from './ledger-reader.ts'

/** People of a house, and which of their keys the ledger is known to have in force. */
function house(...names: string[]) {
  const people = names.map((id, at) => ({
    ...{ id, account: new Uint8Array(32).fill(at + 1), state: 'live', opKey: generateSigningKey() },
    nextOp: undefined as SigningKey | undefined,
  }))
  const inForce = new Map(people.map(({ account, opKey }) => [account[0] as number, opKey.publicKey]))
  let isTurnedAway = false
  const readers = new LedgerReaders({
    people: () => people as unknown as Person[],
    ledger: { opKey: (account) => inForce.get(account[0] as number) },
    isTurnedAway: () => isTurnedAway,
  })
  return {
    ...{ people, inForce, readers },
    turnAway: (is: boolean): void => {
      isTurnedAway = is
    },
    /** Who reads, in so many questions. */
    reading: (questions: number) => Array.from({ length: questions }, () => readers.choose()?.person.id),
  }
}

test('the first of the house reads the ledger as long as that key is taken', () => {
  expect(house('anna', 'bert').reading(3)).toEqual(['anna', 'anna', 'anna'])
})

test('a house whose first person has a key that was replaced goes on with the next one, and stays there', () => {
  const { reading, turnAway } = house('anna', 'bert', 'clara')
  expect(reading(1)).toEqual(['anna'])
  // An older copy of the folder: its ledger still has that key in force.
  turnAway(true)
  expect(reading(4)).toEqual(['bert', 'clara', 'anna', 'bert'])
  turnAway(false)
  expect(reading(3)).toEqual(['bert', 'bert', 'bert'])
})

test('a key that the ledger shows as replaced is left at once', () => {
  const { reading, inForce } = house('anna', 'bert')
  expect(reading(1)).toEqual(['anna'])
  inForce.set(1, generateSigningKey().publicKey)
  expect(reading(2)).toEqual(['bert', 'bert'])
})

test('while root replaces a key both are tried, and the one that is taken stays', () => {
  const { people, readers, turnAway, inForce } = house('anna')
  const [anna] = people as [(typeof people)[0]]
  const next = generateSigningKey()
  anna.nextOp = next
  const keys = (questions: number) => Array.from({ length: questions }, () => readers.choose()?.signingKey)
  expect(keys(2)).toEqual([anna.opKey, anna.opKey])
  turnAway(true)
  expect(keys(3)).toEqual([next, anna.opKey, next])
  turnAway(false)
  expect(keys(2)).toEqual([next, next])
  inForce.set(1, next.publicKey)
  anna.opKey = next
  anna.nextOp = undefined
  expect(keys(1)).toEqual([next])
})

test('nobody reads before anybody is enrolled, and who is being enrolled does so only where nobody else can', () => {
  const { people, reading, inForce } = house('anna', 'bert')
  const [anna, bert] = people as [(typeof people)[0], (typeof people)[0]]
  anna.state = 'registering'
  inForce.delete(1)
  expect(reading(1)).toEqual(['bert'])
  bert.state = 'pending'
  expect(reading(1)).toEqual(['anna'])
  anna.state = 'pending'
  expect(reading(1)).toEqual([undefined])
})

test('a key that was replaced bars nobody who comes after it from being tried', () => {
  const { reading, inForce, turnAway } = house('anna', 'bert', 'clara')
  expect(reading(1)).toEqual(['anna'])
  inForce.set(2, generateSigningKey().publicKey)
  expect(reading(1)).toEqual(['anna'])
  // Hers was replaced too, and nobody can read that any more with hers.
  turnAway(true)
  expect(reading(1)).toEqual(['clara'])
  turnAway(false)
  expect(reading(2)).toEqual(['clara', 'clara'])
})
