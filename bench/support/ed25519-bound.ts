/** What the machine can verify when it does nothing else: the bound that throughputs are compared with. */
import { cpus } from 'node:os'
import { Worker } from 'node:worker_threads'

/** Ed25519 verifications per second of node:crypto, with one thread on each core at the same time. */
export async function ed25519VerifyPerSecond(durationMs: number): Promise<number> {
  return (await verifyOnAllCores(durationMs)).reduce((sum, { rate }) => sum + rate, 0)
}

async function verifyOnAllCores(durationMs: number): Promise<{ rate: number; cpuUs: number }[]> {
  return Promise.all(
    cpus().map(
      () =>
        new Promise<{ rate: number; cpuUs: number }>((resolve, reject) => {
          const worker = new Worker(new URL('./verify-worker.ts', import.meta.url), { workerData: { durationMs } })
          worker.once('message', resolve)
          worker.once('error', reject)
        }),
    ),
  )
}

/** What the machine verifies, in wall and in processor time. */
export interface Ed25519Bound {
  /** On all cores at the same time. */
  readonly perSecond: number
  /** User and system time of one verification: comparable even when other processes use the machine. */
  readonly cpuUs: number
}

/** Runs `work` between two measurements of the bound; the ratio is taken to their mean, for other processes share the machine. */
export async function betweenBounds<T>(
  durationMs: number,
  work: () => Promise<T>,
): Promise<{ value: T; bound: Ed25519Bound }> {
  const before = await boundOf(durationMs)
  const value = await work()
  const after = await boundOf(durationMs)
  const perSecond = (before.perSecond + after.perSecond) / 2
  return { value, bound: { perSecond, cpuUs: (before.cpuUs + after.cpuUs) / 2 } }
}

async function boundOf(durationMs: number): Promise<Ed25519Bound> {
  const rates = await verifyOnAllCores(durationMs)
  const perSecond = rates.reduce((sum, { rate }) => sum + rate, 0)
  return { perSecond, cpuUs: rates.reduce((sum, { cpuUs }) => sum + cpuUs, 0) / rates.length }
}
