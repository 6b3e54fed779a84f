import { once } from 'node:events'
import type { Worker } from 'node:worker_threads'
import { type PreparationRequest, prepare } from '@healthblock/chain/preparation'
import { encodeEntryBundle } from '@healthblock/chain/tile'
import { signingMessage } from '@healthblock/chain/transaction'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { concatBytes } from '@healthblock/encoding/bytes'
import { afterEach, describe, expect, it } from 'vitest'
import { PreparationPool } from './preparation-pool.ts'

const key = generateSigningKey()
const ledgerId = new Uint8Array(32).fill(3)
const pools: PreparationPool[] = []
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close()
})

/** Bundles of one leaf whose body is 20 bytes; every third signature is not good. */
function requestOf(n: number) {
  const leaf = concatBytes(Uint8Array.of(0x83, 0x01), new Uint8Array(20).fill(n), Uint8Array.of(0x80))
  const place = { ledgerId, chain: 'userchain', bodyBytes: leaf.subarray(2, 22) } as const
  const signature = key.sign(signingMessage(place))
  if (n % 3 === 0) signature[40] = (signature[40] as number) ^ 1
  return {
    ledgerId,
    chain: 'userchain',
    bundle: encodeEntryBundle([leaf]),
    width: 1,
    bodies: Uint32Array.of(4, 24),
    claims: concatBytes(key.publicKey, signature),
    claimEnds: Uint32Array.of(1),
  } as const
}

describe('PreparationPool', () => {
  it('answers as one thread does, each request its own', async () => {
    const pool = new PreparationPool(2)
    pools.push(pool)
    const numbers = Array.from({ length: 30 }, (_, i) => i)
    const expected = numbers.map((n) => prepare(requestOf(n)))
    const answers = await Promise.all(numbers.map((n) => pool.prepare(requestOf(n))))
    expect(answers).toEqual(expected)
    expect(answers.map(({ good }) => good[0])).toEqual(numbers.map((n) => (n % 3 === 0 ? 0 : 1)))
  })

  it('ends each thread in order, also one that is still loading', async () => {
    const codes: Promise<unknown>[] = []
    const onWorker = (worker: Worker): void => void codes.push(once(worker, 'exit'))
    process.on('worker', onWorker)
    const loading = new PreparationPool(2)
    const busy = new PreparationPool(2)
    // Workers are told of in the next turn.
    await Promise.all([busy.prepare(requestOf(1)), loading.close()])
    process.off('worker', onWorker)
    await busy.close()
    expect(await Promise.all(codes)).toEqual([[0], [0], [0], [0]])
  })

  it('rejects what is under way when it closes, and everything afterwards', async () => {
    const pool = new PreparationPool(1)
    const waiting = pool.prepare(requestOf(1))
    const refused = expect(waiting).rejects.toMatchObject({ detail: { code: 'ERR_CLOSED' } })
    await pool.close()
    await refused
    await expect(pool.prepare(requestOf(2))).rejects.toMatchObject({ detail: { code: 'ERR_CLOSED' } })
  })

  it('does first what is urgent or soon done', async () => {
    const pool = new PreparationPool(1, 1)
    pools.push(pool)
    const one = requestOf(1)
    const claims = concatBytes(...Array.from({ length: 40 }, () => one.claims))
    const large = { ...one, claims, claimEnds: Uint32Array.of(40) }
    const done: string[] = []
    const ask = async (name: string, request: PreparationRequest): Promise<void> => {
      await pool.prepare(request)
      done.push(name)
    }
    const asked = ['large 1', 'large 2', 'large 3'].map((name) => ask(name, large))
    await Promise.all([...asked, ask('urgent', { ...large, isUrgent: true }), ask('small', one)])
    expect(done).toEqual(['large 1', 'urgent', 'small', 'large 2', 'large 3'])
  })

  it('a thread that dies rejects what it was asked for', async () => {
    const pool = new PreparationPool(1)
    pools.push(pool)
    const broken = { ...requestOf(1), bundle: Uint8Array.of(0) }
    await expect(pool.prepare(broken)).rejects.toMatchObject({ detail: { code: 'ERR_CLOSED' } })
  })
})
