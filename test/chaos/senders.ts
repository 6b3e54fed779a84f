/**
 * Senders that behave as a household's outbox does: a transaction is handed over until it is final, at whichever node answers; for each
 * submission a receipt is fetched and kept. Whatever happens to the nodes, none may be lost.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { signTransaction, transactionId } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import type { SigningKey } from '@healthblock/crypto/signature'
import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'

/** A signed transaction. */
export interface Item {
  readonly leaf: Uint8Array
  readonly id: Uint8Array
}

/** Somebody who may add algorithms: such transactions are valid in any order. */
export interface Organisation {
  readonly account: Uint8Array
  readonly op: SigningKey
}

/** A receipt that was given to a sender. */
export interface KeptReceipt {
  readonly id: Uint8Array
  readonly index: number
  readonly bytes: Uint8Array
}

/** What senders saw of the ledger. */
export interface Tally {
  /** Transactions with a 202. */
  promised: number
  /** Transactions that were answered with their index, each once. */
  committed: number
  /** Signed deferrals: no quorum within the promise. They were handed over again. */
  deferred: number
  /** Submissions that a full node turned away. */
  turnedAway: number
  readonly receipts: KeptReceipt[]
  /** Ids and indices of what was committed. */
  readonly indices: Map<string, number>
  /** What no honest ledger answers. */
  readonly wrong: string[]
  /** From the first submission to the answer `committed`, ms. */
  readonly latenciesMs: number[]
}

/** What a sender needs to know. */
export interface SenderOptions {
  readonly ledgerId: Uint8Array
  readonly urls: readonly string[]
  readonly organisation: Organisation
  readonly tally: Tally
}

const requestTimeoutMs = 8_000
const answerWaitMs = 3_000
const receiptTimeoutMs = 60_000

/** An empty tally. */
export function createTally(): Tally {
  return {
    ...{ promised: 0, committed: 0, deferred: 0, turnedAway: 0 },
    ...{ receipts: [], indices: new Map(), wrong: [], latenciesMs: [] },
  }
}

/** Makes `count` transactions of an organisation. */
export function signItems({ ledgerId, organisation }: Pick<SenderOptions, 'ledgerId' | 'organisation'>, count: number) {
  const { account, op } = organisation
  return Array.from({ length: count }, (): Item => {
    const named = { id: toHex(randomBytes(12)), version: '1', hash: randomBytes(32) }
    const body = { v: 1, t: 'algorithm', a: account, ...named, act: 1 } as const
    const { leaf, bodyBytes } = signTransaction({
      ledgerId,
      chain: 'userchain',
      body,
      signers: [{ account, key: 1, signingKey: op }],
    })
    return { leaf, id: transactionId({ ledgerId, chain: 'userchain', bodyBytes }) }
  })
}

async function post(url: string, type: string, body: Uint8Array): Promise<{ status: number; bytes: Uint8Array }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': type },
    body: body as NonNullable<RequestInit['body']>,
    signal: AbortSignal.timeout(requestTimeoutMs),
  })
  return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) }
}

/** One submission on its way. */
export class Delivery {
  readonly #options: SenderOptions
  readonly #items: readonly Item[]
  #open: readonly Item[]
  #at: number
  #isPromised = false
  #isFresh = true

  constructor(options: SenderOptions, items: readonly Item[], firstNode: number) {
    this.#options = options
    this.#items = items
    this.#open = items
    this.#at = firstNode
  }

  get #url(): string {
    const { urls } = this.#options
    return urls[this.#at % urls.length] as string
  }

  /** Hands over once. True if the node promised; it may also turn the submission away, or not answer. */
  async offer(): Promise<boolean> {
    try {
      return await this.#submit()
    } catch {
      return false
    }
  }

  /** Hands over until every transaction is final, then fetches a receipt. What was promised already is waited for first. */
  async run(): Promise<void> {
    const { tally } = this.#options
    const begunMs = performance.now()
    while (this.#open.length > 0) {
      try {
        const isOffered = this.#isPromised && this.#isFresh
        this.#isFresh = false
        if (isOffered || (await this.#submit())) await this.#await()
      } catch {
        // The node is away, or no answer came: another one is asked.
        this.#at++
        await delay(50)
      }
    }
    tally.latenciesMs.push(performance.now() - begunMs)
    await this.#fetchReceipt(this.#items[0] as Item)
  }

  /** True if the node promised. */
  async #submit(): Promise<boolean> {
    const { tally } = this.#options
    const body = concatBytes(...this.#open.map(({ leaf }) => leaf))
    const { status, bytes } = await post(`${this.#url}/v1/userchain/transactions`, 'application/cbor-seq', body)
    if (status === 202) {
      const { refused } = decodeCbor(bytes) as { refused: CborValue[] }
      if (refused.length > 0) tally.wrong.push(`${refused.length} transactions refused at once`)
      if (!this.#isPromised) tally.promised += this.#items.length
      this.#isPromised = true
      return true
    }
    if (status === 429 || status === 503) {
      tally.turnedAway++
      await delay(100)
      this.#at++
      return false
    }
    tally.wrong.push(`a submission was answered with ${status}: ${Buffer.from(bytes).toString().slice(0, 200)}`)
    this.#open = []
    return false
  }

  /** Asks until all are final here, or the node does not know them any more. */
  async #await(): Promise<void> {
    while (this.#open.length > 0) {
      const request = encodeCbor({ txs: this.#open.map(({ id }) => id), waitms: answerWaitMs })
      const { status, bytes } = await post(`${this.#url}/v1/userchain/answers`, 'application/cbor', request)
      if (status !== 200) throw new Error(`answers: ${status}`)
      const answers = decodeCbor(bytes) as unknown as [number, ...CborValue[]][]
      const before = this.#open
      this.#open = before.filter((item, position) => this.#isOpen(item, answers[position] ?? [0]))
      // Unknown or deferred: this node will do no more about it.
      if (answers.some(([kind]) => kind === 0 || kind === 4)) {
        this.#at++
        return
      }
    }
  }

  #isOpen({ id }: Item, [kind, first]: readonly [number, ...CborValue[]]): boolean {
    const { tally } = this.#options
    const name = toHex(id)
    if (kind === 2) {
      const index = first as number
      const known = tally.indices.get(name)
      if (known !== undefined && known !== index) tally.wrong.push(`${name} is at ${known} and at ${index}`)
      if (known === undefined) tally.committed++
      tally.indices.set(name, index)
      return false
    }
    if (kind === 4) tally.deferred++
    if (kind === 3) {
      tally.wrong.push(`${name} was refused: ${String((first as CborMap).rule)}`)
      return false
    }
    return true
  }

  async #fetchReceipt({ id }: Item): Promise<void> {
    const { tally, urls } = this.#options
    const index = tally.indices.get(toHex(id))
    if (index === undefined) return
    const deadline = performance.now() + receiptTimeoutMs
    while (performance.now() < deadline) {
      try {
        const url = `${this.#url}/v1/userchain/transactions/${toHex(id)}/receipt`
        const response = await fetch(url, { signal: AbortSignal.timeout(requestTimeoutMs) })
        const bytes = new Uint8Array(await response.arrayBuffer())
        if (response.ok) {
          tally.receipts.push({ id, index, bytes })
          return
        }
      } catch {
        // Another node has it too.
      }
      this.#at = (this.#at + 1) % urls.length
      await delay(50)
    }
    tally.wrong.push(`no node gave the receipt of ${toHex(id)}`)
  }
}

/** Steady load: `count` senders, each with one small submission under way. */
export class Senders {
  readonly #options: SenderOptions
  readonly #running: Promise<void>[]
  #isStopping = false

  constructor(options: SenderOptions, load: { count: number; batch: number; pauseMs: number }) {
    this.#options = options
    this.#running = Array.from({ length: load.count }, (_, sender) => this.#run(sender, load))
  }

  async #run(sender: number, load: { batch: number; pauseMs: number }): Promise<void> {
    for (let turn = sender; !this.#isStopping; turn++) {
      await new Delivery(this.#options, signItems(this.#options, load.batch), turn).run()
      await delay(load.pauseMs)
    }
  }

  /** Begins nothing more; resolves when everything that was begun is final. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await Promise.all(this.#running)
  }
}

/** Hands over many transactions as fast as the nodes take them. */
export async function pump(options: SenderOptions, plan: { count: number; batch: number; parallel: number }) {
  let left = Math.ceil(plan.count / plan.batch)
  const work = async (sender: number): Promise<void> => {
    for (let turn = sender; left-- > 0; turn++) await new Delivery(options, signItems(options, plan.batch), turn).run()
  }
  await Promise.all(Array.from({ length: plan.parallel }, (_, sender) => work(sender)))
}

/** What a flood did: how many were offered in which time, and the deliveries that were promised. */
export interface Flood {
  readonly offered: number
  readonly seconds: number
  readonly promised: readonly Delivery[]
}

/** The load of a flood, signed: this thread does nothing else meanwhile, so it is made before anything is measured. */
export function signBatches(options: SenderOptions, { count, batch }: { count: number; batch: number }): Item[][] {
  return Array.from({ length: Math.ceil(count / batch) }, () => signItems(options, batch))
}

/** Hands over signed batches without waiting for the end of any, whatever the nodes answer. */
export async function flood(options: SenderOptions, batches: readonly Item[][], parallel: number) {
  const promised: Delivery[] = []
  const begunMs = performance.now()
  let next = 0
  const work = async (): Promise<void> => {
    while (next < batches.length) {
      const turn = next++
      const delivery = new Delivery(options, batches[turn] as Item[], turn)
      if (await delivery.offer()) promised.push(delivery)
    }
  }
  await Promise.all(Array.from({ length: parallel }, work))
  return {
    offered: batches.reduce((sum, { length }) => sum + length, 0),
    seconds: (performance.now() - begunMs) / 1000,
    promised,
  } satisfies Flood
}
