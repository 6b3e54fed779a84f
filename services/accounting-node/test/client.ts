/** A client of accounting nodes and people who use them, for the tests of this service. It believes nothing. */

import type { ChainName } from '@healthblock/chain/chains'
import { verifyReceipt } from '@healthblock/chain/receipt'
import type { StatementName } from '@healthblock/chain/statement'
import { verifyStatement } from '@healthblock/chain/statement'
import { createToken } from '@healthblock/chain/token'
import {
  type IotRecord,
  signTransaction,
  type Transaction,
  type TransactionBody,
  type TransactionSigner,
  transactionId,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { concatBytes, equalBytes, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, decodeCborAt, encodeCbor } from '@healthblock/encoding/cbor'
import type { SampleLedger } from '../../../test/support/sample-ledger.ts'

/** A statement of a gateway, whose signature was checked. */
export interface SaidByGateway {
  readonly statement: CborMap
  readonly bytes: Uint8Array
}

/** What a submission was answered. */
export interface Submitted {
  readonly status: number
  readonly promise?: SaidByGateway
  readonly refused: readonly SaidByGateway[]
}

/** One answer as it lies on the wire. */
export type WireAnswer = readonly [kind: number, ...rest: CborValue[]]

/** One node over HTTP. */
export class Client {
  readonly url: string
  readonly ledger: SampleLedger
  readonly chain: ChainName
  token: string | undefined

  constructor(url: string, ledger: SampleLedger, chain: ChainName = 'userchain') {
    this.url = url
    this.ledger = ledger
    this.chain = chain
  }

  idOf(transaction: Transaction): Uint8Array {
    return transactionId({ ledgerId: this.ledger.ledgerId, chain: this.chain, bodyBytes: transaction.bodyBytes })
  }

  async get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    const authorization = this.token === undefined ? {} : { authorization: `Bearer ${this.token}` }
    return fetch(`${this.url}${path}`, {
      headers: { ...authorization, ...headers },
      signal: AbortSignal.timeout(30_000),
    })
  }

  async post(
    path: string,
    type: string,
    body: Uint8Array | string,
    headers: Record<string, string> = {},
  ): Promise<Response> {
    return fetch(`${this.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': type, ...headers },
      body: body as NonNullable<RequestInit['body']>,
      signal: AbortSignal.timeout(40_000),
    })
  }

  #checked(name: StatementName & ('accepted' | 'refused' | 'deferred'), value: CborValue): SaidByGateway {
    const [statement, signature] = value as [CborMap, Uint8Array]
    const signed = { statement: encodeCbor(statement), signature }
    const { ledgerId, nodes } = this.ledger
    const isSigned = nodes.some(({ node }) => {
      try {
        verifyStatement({ name, signed, ledgerId, publicKey: node.publicKey })
        return true
      } catch {
        return false
      }
    })
    if (!isSigned) throw new Error(`a statement of kind ${name} that no node signed`)
    return { statement, bytes: signed.statement }
  }

  async submitBytes(body: Uint8Array): Promise<Submitted> {
    const response = await this.post(`/v1/${this.chain}/transactions`, 'application/cbor-seq', body)
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (response.status !== 202 && response.status !== 422) return { status: response.status, refused: [] }
    const { promise, refused } = decodeCbor(bytes) as { promise?: CborValue; refused: CborValue[] }
    return {
      status: response.status,
      refused: refused.map((item) => this.#checked('refused', item)),
      ...(promise === undefined ? {} : { promise: this.#checked('accepted', promise) }),
    }
  }

  submit(...transactions: readonly Transaction[]): Promise<Submitted> {
    return this.submitBytes(concatBytes(...transactions.map(({ leaf }) => leaf)))
  }

  async answers(ids: readonly Uint8Array[], waitMs: number): Promise<WireAnswer[]> {
    const body = encodeCbor({ txs: [...ids], waitms: waitMs })
    const response = await this.post(`/v1/${this.chain}/answers`, 'application/cbor', body)
    if (!response.ok) throw new Error(`answers: ${response.status}`)
    const answers = decodeCbor(new Uint8Array(await response.arrayBuffer())) as unknown as WireAnswer[]
    for (const [kind, statement, signature] of answers) {
      if (kind === 3) this.#checked('refused', [statement as CborValue, signature as CborValue])
      if (kind === 4) this.#checked('deferred', [statement as CborValue, signature as CborValue])
    }
    return answers
  }

  /** Submits, and waits until all are committed; their indices. */
  async commit(...transactions: readonly Transaction[]): Promise<number[]> {
    const { status, refused } = await this.submit(...transactions)
    if (status !== 202 || refused.length > 0) {
      throw new Error(`not accepted: ${status} ${refused.map(({ statement }) => statement.rule).join()}`)
    }
    const answers = await this.answers(
      transactions.map((transaction) => this.idOf(transaction)),
      30_000,
    )
    return answers.map(([kind, index, ...rest]) => {
      if (kind !== 2) throw new Error(`not committed: ${kind} ${JSON.stringify([index, rest])}`)
      return index as number
    })
  }

  /** The verified receipt; undefined while there is none. */
  async receipt(id: Uint8Array) {
    const response = await this.get(`/v1/${this.chain}/transactions/${toHex(id)}/receipt`)
    const bytes = new Uint8Array(await response.arrayBuffer())
    if (!response.ok) return undefined
    const verified = verifyReceipt({ bytes, ledgerId: this.ledger.ledgerId })
    if (!equalBytes(verified.transactionId, id)) throw new Error('the receipt of another transaction')
    return verified
  }
}

/** Somebody with an account. */
export interface Person {
  readonly account: Uint8Array
  readonly root: SigningKey
  readonly op: SigningKey
}

/** Makes transactions of people of a ledger. */
export class People {
  readonly ledger: SampleLedger
  #counter = Date.now()

  constructor(ledger: SampleLedger) {
    this.ledger = ledger
  }

  sign(body: TransactionBody, signers: readonly TransactionSigner[], chain: ChainName = 'userchain'): Transaction {
    return signTransaction({ ledgerId: this.ledger.ledgerId, chain, body, signers })
  }

  consent(): { n: number; x: number } {
    return { n: ++this.#counter, x: Date.now() + 3_600_000 }
  }

  register(role: number): { transaction: Transaction; person: Person } {
    const [root, op] = [generateSigningKey(), generateSigningKey()]
    const { account: sponsor, op: sponsorOp } = this.ledger.organisation
    const transaction = this.sign(
      {
        ...{ v: 1, t: 'register', role, root: root.publicKey, op: op.publicKey },
        ...{ kem: generateKemKeyPair().publicKey, suite: 1, sponsor, salt: randomBytes(16) },
      },
      [
        { key: 0, signingKey: root },
        { key: 1, signingKey: op },
        { account: sponsor, key: 1, signingKey: sponsorOp },
      ],
    )
    const { bodyBytes } = transaction
    const account = transactionId({ ledgerId: this.ledger.ledgerId, chain: 'userchain', bodyBytes })
    return { transaction, person: { account, root, op } }
  }

  device(patient: Person, streams: readonly Uint8Array[]): Transaction {
    const { account, op } = patient
    const fields = { dev: randomBytes(16), act: 1, streams: [...streams], cert: randomBytes(32) }
    return this.sign({ v: 1, t: 'device', a: account, ...this.consent(), ...fields }, [
      { account, key: 1, signingKey: op },
    ])
  }

  key(
    patient: Person,
    fields: { gen: number; seen: readonly [number, Uint8Array] } & Partial<Extract<TransactionBody, { t: 'key' }>>,
  ): Transaction {
    const { account, root, op } = patient
    const body = {
      ...{ v: 1, t: 'key', a: account, ...this.consent(), first: Math.floor(Date.now() / 3_600_000) },
      ...{ cut: [], close: [], open: [], env: [], why: 1 },
      ...fields,
    } as Extract<TransactionBody, { t: 'key' }>
    const byOp = { account, key: 1, signingKey: op }
    return this.sign(body, body.open.length > 0 ? [{ account, key: 0, signingKey: root }, byOp] : [byOp])
  }

  iot(patient: Person, stream: Uint8Array, sequence: number, count = 1): Transaction {
    const { account, op } = patient
    const epoch = Math.floor(Date.now() / 3_600_000)
    const r = Array.from(
      { length: count },
      (_, i): IotRecord => [stream, sequence + i, 1, epoch, 0, 4096, randomBytes(32)],
    )
    return this.sign({ v: 1, t: 'iot', a: account, r }, [{ account, key: 1, signingKey: op }])
  }

  /** A token of the person; `untilMs` and `key` may be wrong on purpose. */
  token(
    person: Person,
    options: { untilMs?: number; scope?: 'ledger' | 'storage'; signingKey?: SigningKey } = {},
  ): string {
    const { untilMs = Date.now() + 3_600_000, scope = 'ledger', signingKey = person.op } = options
    const { ledgerId } = this.ledger
    const statement = { account: person.account, audience: ledgerId, scope, until: untilMs }
    return createToken({ ledgerId, statement, key: 1, signingKey })
  }

  /** Registers a patient with streams in generation 1, through a node. */
  async enrolPatient(client: Client, streamCount = 1): Promise<Person & { streams: Uint8Array[] }> {
    const { transaction, person } = this.register(1)
    const streams = Array.from({ length: streamCount }, () => randomBytes(8))
    await client.commit(transaction)
    await client.commit(this.device(person, streams))
    await client.commit(this.key(person, { gen: 1, seen: await headOf(client) }))
    return { ...person, streams }
  }
}

/** Size and root of the newest published checkpoint, from its text. */
export async function headOf(client: Client): Promise<readonly [number, Uint8Array]> {
  const text = await (await client.get(`/${client.chain}/checkpoint`)).text()
  const [, size, root] = text.split('\n') as [string, string, string]
  return [Number(size), new Uint8Array(Buffer.from(root, 'base64'))]
}

/** The values of a CBOR sequence. */
export function readSequence(bytes: Uint8Array): CborValue[] {
  const values: CborValue[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const { value, end } = decodeCborAt(bytes, offset)
    values.push(value)
    offset = end
  }
  return values
}
