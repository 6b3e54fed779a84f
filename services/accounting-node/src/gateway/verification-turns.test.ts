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
      void turns.enter(owner).then(() => entered.push(name))
    }
    for (const name of ['a1', 'a2', 'a3']) enter(name, flood)
    enter('b', { account: 'b', sponsor: 't' })
    await settled()
    expect(entered).toEqual(['a1', 'b'])
    turns.leave(flood)
    await settled()
    expect(entered).toEqual(['a1', 'b', 'a2'])
    turns.leave(flood)
    turns.leave({ account: 'b', sponsor: 't' })
    await settled()
    expect(entered).toEqual(['a1', 'b', 'a2', 'a3'])
  })

  test('all accounts of a sponsor leave room for those of others', async () => {
    const turns = new VerificationTurns()
    const entered: string[] = []
    const sybil = (i: number) => ({ account: `sybil${i}`, sponsor: 's' })
    for (let i = 0; i < 20; i++) void turns.enter(sybil(i)).then(() => entered.push(`sybil${i}`))
    void turns.enter({ account: 'patient', sponsor: 't' }).then(() => entered.push('patient'))
    await settled()
    expect(entered).toContain('patient')
    const before = entered.length
    expect(before).toBeLessThan(20)
    turns.leave(sybil(0))
    await settled()
    expect(entered).toHaveLength(before + 1)
  })
})
