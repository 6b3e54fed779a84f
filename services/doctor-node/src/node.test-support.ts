/** For this service's tests: a whole node over HTTP, and the enrolment of its doctor. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseTransactionLeaf, signingMessage } from '@healthblock/chain/transaction'
import { fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { createDoctorNode, type DoctorNode } from './app.ts'
import type { OpenedRecords } from './reading/opened-records.ts'
import { license, type Recipient, startNetwork, type TestNetwork } from './sample.test-support.ts'

/** A diagnosis as the node lists it. */
export interface Diagnosis {
  readonly transactionId: string
  readonly patient: string
  readonly in: { stream: string; from: number; to: number }[]
  readonly status: string
  readonly algorithm: string
  readonly note?: string
  readonly refused?: { rule: string }
  readonly text?: string
  readonly amendments: { act: string; text?: string }[]
}

/** What a call answered. */
export interface Answer<T> {
  readonly status: number
  readonly body: T
}

/** What the node's administrator sends. */
export const apiSecret = 'secret-of-the-local-administrator'

/** A running node and how to call it. */
export class Node {
  readonly dir: string
  /** How far its clock is ahead. */
  clockMs = 0
  readonly #network: TestNetwork
  #node: DoctorNode | undefined
  #url = ''
  constructor(dir: string, network: TestNetwork) {
    this.dir = dir
    this.#network = network
  }

  async start(): Promise<void> {
    const { accountingUrl, storageUrl, history } = this.#network
    const ledger = { genesis: history.consortium.genesis.bytes, accounting: [accountingUrl], storage: [storageUrl] }
    const settings = {
      dir: this.dir,
      host: '127.0.0.1',
      port: 0,
      postIntervalMs: 900_000,
      webDir: this.dir,
      logLevel: 'silent',
    } as const
    const logger = createLogger({ name: 'doctor-node', level: 'silent' })
    const nowMs = (): number => Date.now() + this.clockMs
    this.#node = await createDoctorNode({ config: { ...settings, ledger }, secrets: { apiSecret }, logger, nowMs })
    this.#url = (await this.#node.listen()).url
  }

  async stop(): Promise<void> {
    await this.#node?.stop()
    this.#node = undefined
  }

  /** Where it listens. */
  get url(): string {
    return this.#url
  }

  /** What it opens for its doctor. */
  get opened(): OpenedRecords {
    if (this.#node === undefined) throw new Error('the node does not run')
    return this.#node.services.opened
  }

  async call<T>(method: string, path: string, body?: unknown, bearer = apiSecret): Promise<Answer<T>> {
    const response = await fetch(new URL(path, this.#url), {
      method,
      headers: {
        authorization: `Bearer ${bearer}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    return { status: response.status, body: (await response.json()) as T }
  }

  async get<T>(path: string): Promise<T> {
    return (await this.call<T>('GET', path)).body
  }

  /** The process dies at its `step`-th call of the database from now on; `hasDied` tells whether it came to that. */
  dieAt(step: number): { hasDied: () => boolean } {
    let calls = 0
    const database = this.#node?.services.database
    if (database === undefined) throw new Error('the node does not run')
    for (const name of ['run', 'get', 'all'] as const) {
      const call = database[name].bind(database) as (...args: unknown[]) => unknown
      Object.assign(database, {
        [name]: (...args: unknown[]) => {
          if (++calls >= step) throw new Error('dies here')
          return call(...args)
        },
      })
    }
    return { hasDied: () => calls >= step }
  }

  /** Listens to events; what it gives reads them until `isEnough` of what came. */
  async listen(): Promise<(isEnough: (text: string) => boolean) => Promise<string>> {
    const headers = { authorization: `Bearer ${apiSecret}` }
    const response = await fetch(new URL('/v1/events', this.#url), { headers })
    return async (isEnough) => {
      let text = ''
      for await (const bytes of response.body as ReadableStream<Uint8Array>) {
        text += new TextDecoder().decode(bytes)
        if (isEnough(text)) break
      }
      return text
    }
  }

  catchUp(): Promise<Answer<{ pending: number; userchain: number }>> {
    return this.call('POST', '/v1/catch-up', { timeoutMs: 20_000 })
  }

  /** Catches up until the list of diagnoses is as wanted. */
  async diagnosesWhen(isGood: (list: Diagnosis[]) => boolean): Promise<Diagnosis[]> {
    for (;;) {
      await this.catchUp()
      const list = await this.get<Diagnosis[]>('/v1/diagnoses')
      if (isGood(list)) return list
    }
  }
}

/** A ledger and stores with one doctor node, in a folder of its own. */
export interface Practice {
  readonly root: string
  readonly network: TestNetwork
  readonly node: Node
  close(): Promise<void>
}

/** Starts one; the node's files are in `ROOT/doctor`. */
export async function openPractice(): Promise<Practice> {
  const root = mkdtempSync(join(tmpdir(), 'healthblock-doctor-'))
  const network = await startNetwork()
  const node = new Node(join(root, 'doctor'), network)
  const close = async (): Promise<void> => {
    await node.stop()
    await network.close()
    rmSync(root, { recursive: true, force: true })
  }
  await node.start()
  return { root, network, node, close }
}

/** Has the sponsor confirm the node's doctor. @returns the account. */
export async function confirm(node: Node, network: TestNetwork): Promise<Uint8Array> {
  const { organisation } = network.history.consortium
  const asked = { name: 'doctor-a', sponsor: toHex(organisation.account) }
  const { body: made } = await node.call<{ account: string; body: string }>('POST', '/v1/identity', asked)
  const bodyBytes = fromBase64(made.body)
  const { ledgerId } = network.history.ledger
  const signature = organisation.op.sign(signingMessage({ ledgerId, chain: 'userchain', bodyBytes }))
  await node.call('POST', '/v1/identity/confirm', { signature: toBase64(signature) })
  return fromHex(made.account)
}

/** Enrols the node's doctor as the hospital's administrator does. */
export async function enrol(node: Node, network: TestNetwork): Promise<Recipient> {
  const account = await confirm(node, network)
  const state = async (): Promise<string> => (await node.get<{ state: string }>('/v1/identity')).state
  while ((await state()) !== 'registered') await node.catchUp()
  license(network.history, account)
  while ((await state()) !== 'licensed') await node.catchUp()
  const leaf = network.accounting.received.find((one) => parseTransactionLeaf(one).body.t === 'register') as Uint8Array
  const { kem } = parseTransactionLeaf(leaf).body as { kem: Uint8Array }
  return { account, kemKey: kem }
}
