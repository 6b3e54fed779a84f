import { describe, expect, test } from 'vitest'
import { VerificationTurns } from './verification-turns.ts'

/** Lets everything that is ready run. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe('turns of verification', () => {
  test('an account waits for itself, others do not', async () => {
    const turns = new VerificationTurns()
    const flood = { account: 'a', sponsor: 's' }
    const entered: string[] = []
    const enter = (name: string, owner: { account: string; sponsor: string }): void => {
      void turns.enter(owner, 1).then(() => entered.push(name))
    }
    for (const name of ['a1', 'a2', 'a3']) enter(name, flood)
    enter('b', { account: 'b', sponsor: 't' })
    await settled()
    expect(entered).toEqual(['a1', 'b'])
    turns.leave(flood, 1)
    await settled()
    expect(entered).toEqual(['a1', 'b', 'a2'])
    turns.leave(flood, 1)
    turns.leave({ account: 'b', sponsor: 't' }, 1)
    await settled()
    expect(entered).toEqual(['a1', 'b', 'a2', 'a3'])
  })

  test('all accounts of a sponsor leave room for those of others', async () => {
    const turns = new VerificationTurns()
    const entered: string[] = []
    const sybil = (i: number) => ({ account: `sybil${i}`, sponsor: 's' })
    for (let i = 0; i < 20; i++) void turns.enter(sybil(i), 256).then(() => entered.push(`sybil${i}`))
    void turns.enter({ account: 'patient', sponsor: 't' }, 1).then(() => entered.push('patient'))
    await settled()
    expect(entered).toContain('patient')
    const before = entered.length
    expect(before).toBeLessThan(20)
    turns.leave(sybil(0), 256)
    await settled()
    expect(entered).toHaveLength(before + 1)
  })

  test('many accounts of a sponsor with a transaction each are verified at one time, but not with more than some', async () => {
    const turns = new VerificationTurns()
    const entered: number[] = []
    const patient = (i: number) => ({ account: `patient${i}`, sponsor: 's' })
    for (let i = 0; i < 100; i++) void turns.enter(patient(i), 1).then(() => entered.push(i))
    void turns.enter({ account: 'large', sponsor: 's' }, 256).then(() => entered.push(-1))
    await settled()
    expect(entered).toHaveLength(64)
    for (let i = 0; i < 62; i++) turns.leave(patient(i), 1)
    await settled()
    expect(entered).toHaveLength(100)
    expect(entered).not.toContain(-1)
    // What comes now does not pass the large one by, which enters as soon as few are there.
    void turns.enter(patient(100), 1).then(() => entered.push(100))
    void turns.enter({ account: 'other', sponsor: 't' }, 1).then(() => entered.push(200))
    await settled()
    expect(entered.slice(100)).toEqual([200])
    for (let i = 62; i < 98; i++) turns.leave(patient(i), 1)
    await settled()
    expect(entered.slice(101)).toEqual([-1])
    turns.leave(patient(98), 1)
    await settled()
    expect(entered.slice(102)).toEqual([100])
  })
})
