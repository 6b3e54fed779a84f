/** Signed load: patients with a stream each, and their IoT transactions, made before anything is measured. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import {
  type IotRecord,
  signTransaction,
  type TransactionBody,
  type TransactionSigner,
  transactionId,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { fromHex } from '@healthblock/encoding/bytes'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { type Item, submitAll } from './client.ts'
import type { BenchCluster } from './cluster.ts'

const epochMs = 3_600_000

/** A patient of the load: her next transaction continues her stream. */
export interface LoadPatient {
  readonly account: Uint8Array
  readonly op: SigningKey
  readonly stream: Uint8Array
  sequence: number
}

/** An account with its keys. */
export interface LoadAccount {
  readonly account: Uint8Array
  readonly op: SigningKey
}

/** Makes and signs transactions of one cluster's Userchain. */
export class Load {
  readonly ledgerId: Uint8Array
  readonly #organisation: { readonly account: Uint8Array; readonly op: SigningKey }
  #counter = Date.now()

  constructor({ dir }: BenchCluster) {
    const genesis = parseGenesis(readFileSync(clusterPaths.genesis(dir)))
    this.ledgerId = genesis.ledgerId
    const seed = readFileSync(join(clusterPaths.node(dir, 'accounting-0'), 'secrets', 'organisation-op.key'), 'utf8')
    this.#organisation = {
      account: genesisAccounts(genesis).organisations[0] as Uint8Array,
      op: signingKeyFromSeed(fromHex(seed.trim())),
    }
  }

  sign(body: TransactionBody, signers: readonly TransactionSigner[]): Item {
    const { leaf, bodyBytes } = signTransaction({ ledgerId: this.ledgerId, chain: 'userchain', body, signers })
    return { leaf, id: transactionId({ ledgerId: this.ledgerId, chain: 'userchain', bodyBytes }) }
  }

  /** A registration: role 1 is a patient, 2 a doctor. */
  registration(role: number, kem: Uint8Array = generateKemKeyPair().publicKey): { item: Item; person: LoadAccount } {
    const root = generateSigningKey()
    const op = generateSigningKey()
    const { account: sponsor, op: sponsorOp } = this.#organisation
    const keys = { root: root.publicKey, op: op.publicKey, kem, suite: kemSuiteDefault }
    const item = this.sign({ v: 1, t: 'register', role, ...keys, sponsor, salt: randomBytes(16) }, [
      { key: 0, signingKey: root },
      { key: 1, signingKey: op },
      { account: sponsor, key: 1, signingKey: sponsorOp },
    ])
    return { item, person: { account: item.id, op } }
  }

  /** A licence for ten years. */
  licence(doctor: Uint8Array): Item {
    const { account, op } = this.#organisation
    const range = { from: Date.now() - 60_000, to: Date.now() + 3650 * 86_400_000 }
    const body = { v: 1, t: 'licence', a: account, ...this.#consent(), doctor, state: 1, ...range } as const
    return this.sign(body, [{ account, key: 1, signingKey: op }])
  }

  /** Doctors on the ledger, registered and licensed. */
  async enrolDoctors(url: string, count: number): Promise<Uint8Array[]> {
    const made = Array.from({ length: count }, () => this.registration(2))
    await submitAll(
      url,
      made.map(({ item }) => item),
    )
    const accounts = made.map(({ person }) => person.account)
    await submitAll(
      url,
      accounts.map((doctor) => this.licence(doctor)),
    )
    return accounts
  }

  /** Registers patients, each with a device, a stream and generation 1. */
  async enrol(urls: readonly string[], count: number): Promise<LoadPatient[]> {
    const made = Array.from({ length: count }, () => this.registration(1))
    await submitAll(
      urls[0] as string,
      made.map(({ item }) => item),
    )
    const patients = made.map(({ person }) => ({ ...person, stream: randomBytes(8), sequence: 0 }))
    const devices = patients.map(({ account, op, stream }) =>
      this.sign(
        {
          ...{ v: 1, t: 'device', a: account, ...this.#consent() },
          ...{ dev: randomBytes(16), act: 1, streams: [stream], cert: randomBytes(32) },
        } as TransactionBody,
        [{ account, key: 1, signingKey: op }],
      ),
    )
    await submitAll(urls[0] as string, devices)
    return patients
  }

  /** The first generation of each patient. `seen` is a size and root of Userchain. */
  async begin(url: string, patients: readonly LoadPatient[], seen: readonly [number, Uint8Array]): Promise<void> {
    const keys = patients.map(({ account, op }) => {
      const body = {
        ...{ v: 1, t: 'key', a: account, ...this.#consent(), gen: 1, first: Math.floor(Date.now() / epochMs) },
        ...{ cut: [], close: [], open: [], env: [], why: 3, seen },
      } as TransactionBody
      return this.sign(body, [{ account, key: 1, signingKey: op }])
    })
    await submitAll(url, keys)
  }

  /** The patient's next transaction, with as many readings. */
  iot(patient: LoadPatient, records: number): Item {
    const epoch = Math.floor(Date.now() / epochMs)
    const r = Array.from(
      { length: records },
      (): IotRecord => [patient.stream, ++patient.sequence, 1, epoch, 0, 4096, randomBytes(32)],
    )
    const { account, op } = patient
    return this.sign({ v: 1, t: 'iot', a: account, r }, [{ account, key: 1, signingKey: op }])
  }

  #consent(): { n: number; x: number } {
    return { n: this.#counter++, x: Date.now() + epochMs }
  }
}
