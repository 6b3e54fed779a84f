/** The least client of an accounting node that a sender needs: submit, wait for answers, fetch a receipt. */
import { Agent, request } from 'node:http'
import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'

/** A signed transaction. */
export interface Item {
  readonly leaf: Uint8Array
  readonly id: Uint8Array
}

const agent = new Agent({ keepAlive: true, maxSockets: 512 })
const waitMs = 30_000
/** A submission holds at most 256 transactions and 1 MiB. */
const batchMax = 256
const batchBytesMax = 1_000_000

interface Answer {
  readonly status: number
  readonly body: Buffer
}

function call(url: string, path: string, type?: string, body?: Uint8Array): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': type, 'content-length': body.length }
    const sent = request(
      new URL(path, url),
      { agent, method: body === undefined ? 'GET' : 'POST', headers },
      (answer) => {
        const parts: Buffer[] = []
        answer.on('data', (part: Buffer) => parts.push(part))
        answer.once('error', reject)
        answer.once('end', () => resolve({ status: answer.statusCode ?? 0, body: Buffer.concat(parts) }))
      },
    )
    sent.once('error', (error: NodeJS.ErrnoException) => {
      // A node closes a connection that nobody used for a while, and this may have been on its way then.
      if (sent.reusedSocket && error.code === 'ECONNRESET') resolve(call(url, path, type, body))
      else reject(error)
    })
    sent.setTimeout(60_000, () => sent.destroy(new Error(`${path}: no answer within 60 s`)))
    sent.end(body)
  })
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/**
 * Hands over up to 256 transactions and returns when all of them are committed under a quorum's signatures. A full queue (503, 429) is tried again,
 * and so is what was deferred, as any client would: a machine with too much else to do may pass a promise's deadline.
 *
 * @returns How often it was pushed back.
 * @throws {Error} if one is refused.
 */
export async function submit(url: string, items: readonly Item[]): Promise<number> {
  let busy = 0
  for (let open = items; open.length > 0; ) {
    busy += await handOver(url, open)
    open = await deferredOf(url, open)
  }
  return busy
}

/** Returns how often it was pushed back. */
async function handOver(url: string, items: readonly Item[]): Promise<number> {
  const body = concatBytes(...items.map(({ leaf }) => leaf))
  let busy = 0
  for (; !(await isAccepted(url, body)); busy++) await pause(20)
  return busy
}

/** False if the node is too busy. */
async function isAccepted(url: string, body: Uint8Array): Promise<boolean> {
  const { status, body: answer } = await call(url, '/v1/userchain/transactions', 'application/cbor-seq', body)
  if (status === 503 || status === 429) return false
  if (status !== 202) throw new Error(`HTTP ${status}: ${answer.toString('latin1').slice(0, 300)}`)
  const { refused } = decodeCbor(new Uint8Array(answer)) as { refused: CborValue[] }
  if (refused.length > 0) throw new Error(`${refused.length} transactions were refused at once`)
  return true
}

/** Waits until each has a final answer; returns those that were deferred. */
async function deferredOf(url: string, items: readonly Item[]): Promise<Item[]> {
  const deferred: Item[] = []
  let open = items
  while (open.length > 0) {
    const body = encodeCbor({ txs: open.map(({ id }) => id), waitms: waitMs })
    const { status, body: answer } = await call(url, '/v1/userchain/answers', 'application/cbor', body)
    if (status !== 200) throw new Error(`answers: HTTP ${status}: ${answer.toString('latin1').slice(0, 300)}`)
    const answers = decodeCbor(new Uint8Array(answer)) as number[][]
    const refused = answers.find(([code]) => code === 3)
    if (refused !== undefined) {
      const { rule } = refused[1] as unknown as { rule: string }
      throw new Error(`a transaction of the load was refused: ${rule}`)
    }
    deferred.push(...open.filter((_, position) => answers[position]?.[0] === 4))
    open = open.filter((_, position) => ![2, 4].includes(answers[position]?.[0] as number))
  }
  return deferred
}

/** Submits everything, in order, in as few requests as can be. */
export async function submitAll(url: string, items: readonly Item[]): Promise<void> {
  for (const batch of batches(items, batchMax)) await submit(url, batch)
}

/** Splits into submissions of at most `most` transactions and 1 MB. */
export function batches(items: readonly Item[], most: number): Item[][] {
  const all: Item[][] = []
  let bytes = 0
  for (const item of items) {
    const last = all.at(-1)
    if (last === undefined || last.length >= most || bytes + item.leaf.length > batchBytesMax) {
      all.push([item])
      bytes = item.leaf.length
    } else {
      last.push(item)
      bytes += item.leaf.length
    }
  }
  return all
}

/** The receipt of a transaction: its size in bytes. */
export async function fetchReceipt(url: string, id: Uint8Array): Promise<number> {
  for (let attempt = 0; ; attempt++) {
    const { status, body } = await call(url, `/v1/userchain/transactions/${toHex(id)}/receipt`)
    if (status === 200) return body.length
    if (attempt === 50) throw new Error(`receipt: HTTP ${status}: ${body.toString().slice(0, 300)}`)
    await pause(20)
  }
}

/** A published size and root of Userchain, from a node's checkpoint. */
export async function newestCheckpoint(url: string): Promise<[number, Uint8Array]> {
  const { body } = await call(url, '/userchain/checkpoint')
  const [, size, root] = body.toString().split('\n')
  if (size === undefined || root === undefined) throw new Error(`no checkpoint: ${body.toString().slice(0, 200)}`)
  return [Number(size), new Uint8Array(Buffer.from(root, 'base64'))]
}
