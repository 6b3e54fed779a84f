/** What the machine can verify when it does nothing else: the bound that throughputs are compared with. */
import { cpus } from 'node:os'
import { Worker } from 'node:worker_threads'

/** Ed25519 verifications per second of node:crypto, with one thread on each core at the same time. */
export async function ed25519VerifyPerSecond(durationMs: number): Promise<number> {
  const rates = await Promise.all(
    cpus().map(
      () =>
        new Promise<number>((resolve, reject) => {
          const worker = new Worker(new URL('./verify-worker.ts', import.meta.url), { workerData: { durationMs } })
          worker.once('message', resolve)
          worker.once('error', reject)
        }),
    ),
  )
  return rates.reduce((sum, rate) => sum + rate, 0)
}

/** Runs `work` between two measurements of the bound; the ratio is taken to their mean, for other processes share the machine. */
export async function betweenBounds<T>(
  durationMs: number,
  work: () => Promise<T>,
): Promise<{ value: T; bound: number }> {
  const before = await ed25519VerifyPerSecond(durationMs)
  const value = await work()
  const after = await ed25519VerifyPerSecond(durationMs)
  return { value, bound: (before + after) / 2 }
}
