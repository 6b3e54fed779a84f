/**
 * A process that makes a long ledger and serves it as several nodes. Its parent tells it how much of the ledger is published, and what
 * which node alters.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { tileWidth } from '@healthblock/chain/tile'
import { type Lies, startTestNode } from '../../packages/runtime/src/testkit.ts'
import { makeLongLedger } from './long-ledger.ts'

/** What the server is told: `size` published entries of Userchain, and a byte that is altered. */
export interface ServerOrder {
  readonly size: number
  readonly tamper?: { readonly node: number; readonly index: number; readonly what: 'entry' | 'hash' }
}

/** What it says once it serves. */
export interface ServerAnswer {
  readonly urls: readonly string[]
  readonly genesis: Uint8Array
  /** Sizes at which blocks end, ascending. */
  readonly boundaries: readonly number[]
}

const { transactions, nodes } = workerData as { transactions: number; nodes: number }
const history = makeLongLedger(transactions)
const index = history.ledger.index('userchain')
const boundaries = Array.from(
  { length: history.ledger.head('userchain').height + 1 },
  (_, height) => index.boundaryAt(height)?.size ?? 0,
)
let order: ServerOrder = { size: boundaries.at(-1) as number }

function flipped(bytes: Uint8Array, at: number): Uint8Array {
  return Uint8Array.from(bytes, (byte, i) => (i === at ? byte ^ 1 : byte))
}

function liesOf(rank: number): Lies {
  const alters = (what: 'entry' | 'hash') => order.tamper?.node === rank && order.tamper.what === what
  return {
    checkpoint: (chain) => history.checkpoint(chain, rank, chain === 'userchain' ? { size: order.size } : {}),
    entry: (chain, at, leaf) =>
      chain === 'userchain' && alters('entry') && at === order.tamper?.index ? flipped(leaf, leaf.length >> 1) : leaf,
    page: (heights) => heights.filter((height) => (boundaries[height as number] ?? 0) <= order.size),
    frame: (frame) => {
      const at = (order.tamper?.index ?? -1) - frame.firstIndex
      const leaf = frame.leaves[at]
      if (alters('entry') && leaf !== undefined) frame.leaves[at] = flipped(leaf, leaf.length >> 1)
    },
    tile: (path, bytes) => {
      if (!alters('hash') || !path.startsWith('userchain/tile/0/')) return bytes
      const at = order.tamper?.index ?? 0
      const tile = Math.floor(at / tileWidth)
      const served = Number(
        path
          .replace(/^userchain\/tile\/0\//, '')
          .replace(/\.p\/.*$/, '')
          .replaceAll(/[x/]/g, ''),
      )
      return served === tile ? flipped(bytes, (at % tileWidth) * 32) : bytes
    },
  }
}

const started = await Promise.all(
  Array.from({ length: nodes }, (_, rank) => startTestNode(history, { rank, lies: liesOf(rank) })),
)
parentPort?.on('message', (told: ServerOrder) => {
  order = told
  parentPort?.postMessage('done')
})
const genesis = history.consortium.genesis.bytes
const answer: ServerAnswer = { urls: started.map(({ url }) => url), genesis, boundaries }
parentPort?.postMessage(answer)
