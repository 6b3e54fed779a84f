/** Starts the server of a long ledger in a thread of its own, and tells it what to publish and what to alter. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { ServerAnswer, ServerOrder } from './ledger-server.ts'

/** A ledger that is served over HTTP. */
export interface ServedLedger extends ServerAnswer {
  /** The least size of at least so many entries at which a block ends. */
  sizeOf(entries: number): number
  tell(order: ServerOrder): Promise<void>
}

/** The token that its nodes ask for. */
export const servedToken = 'test-token'

/** Makes and serves a ledger of at least so many transactions, gives it to `work`, and ends. */
export async function withServedLedger<T>(
  options: { transactions: number; nodes: number },
  work: (ledger: ServedLedger) => Promise<T>,
): Promise<T> {
  const worker = new Worker(new URL('./ledger-server.ts', import.meta.url), { workerData: options })
  try {
    const [answer] = (await once(worker, 'message')) as [ServerAnswer]
    return await work({
      ...answer,
      sizeOf: (entries) => answer.boundaries.find((size) => size >= entries) ?? (answer.boundaries.at(-1) as number),
      tell: async (order) => {
        const done = once(worker, 'message')
        worker.postMessage(order)
        await done
      },
    })
  } finally {
    await worker.terminate()
  }
}
