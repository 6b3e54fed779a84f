/** How a ledger is governed now, read record by record with proofs under a quorum's checkpoint. */
import { type Genesis, genesisAccounts } from '@healthblock/chain/genesis'
import { type PolicyRecord, type RulesRecord, userTables } from '@healthblock/chain/tables'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { CommandError } from '../io.ts'

/** An organisation in force and its root key. */
export interface GoverningOrganisation {
  readonly account: Uint8Array
  readonly root: Uint8Array
}

/** What the organisations have decided so far. */
export interface GoverningState {
  /** n of the newest `govern`. */
  readonly n: number
  readonly organisations: readonly GoverningOrganisation[]
  readonly policy: PolicyRecord
  readonly policyNumber: number
  /** Highest rank that any policy ever had. */
  readonly rankMax: number
  readonly rules: readonly RulesRecord[]
  /** Version of the rules that the ledger began with. */
  readonly rulesFirst: number
  /** Height of Userchain's newest published block, and its size. */
  readonly height: number
  readonly size: number
  /** Size of Docchain after its newest published block. */
  readonly docchainSize: number
}

/** Version of the rules for Userchain's next block. */
export function rulesInForce({ rules, rulesFirst, height }: GoverningState): number {
  return rules.findLast(({ from }) => from <= height + 1)?.version ?? rulesFirst
}

/** Reads single records of Userchain's state. */
export class StateRecords {
  readonly #client: LedgerClient
  height = 0
  size = 0

  constructor(client: LedgerClient) {
    this.#client = client
  }

  /** The record at a key, proved; undefined if it is proved to be absent. */
  async get<T>(key: Uint8Array): Promise<T | undefined> {
    const { value, height, size } = await this.#client.state('userchain', key)
    this.height = Math.max(this.height, height)
    this.size = Math.max(this.size, size)
    return value === undefined ? undefined : (decodeCbor(value) as T)
  }

  /** All records that are numbered from 0. */
  async numbered<T>(keyOf: (k: number) => Uint8Array): Promise<T[]> {
    const records: T[] = []
    for (let k = 0; ; k++) {
      const record = await this.get<T>(keyOf(k))
      if (record === undefined) return records
      records.push(record)
    }
  }

  /** The account's open key of a role, or undefined. */
  async key(account: Uint8Array, role: number): Promise<Uint8Array | undefined> {
    const k = await this.get<number>(userTables.keyHead.key(account, role))
    if (k === undefined) return undefined
    const record = await this.get<{ key: Uint8Array; c?: number }>(userTables.key.key(account, role, k))
    return record?.c === undefined ? record?.key : undefined
  }
}

/** Reads everything that a proposal is made from. */
export async function readGoverningState(client: LedgerClient, genesis: Genesis): Promise<GoverningState> {
  const records = new StateRecords(client)
  const policies = await records.numbered<PolicyRecord>((k) => userTables.policy.key(k))
  const policy = policies.at(-1)
  if (policy === undefined) throw new CommandError('the ledger has no policy: is this its genesis file?')
  const accounts =
    (await records.get<Uint8Array[]>(userTables.organisations.key())) ?? genesisAccounts(genesis).organisations
  const organisations: GoverningOrganisation[] = []
  for (const account of accounts) {
    const root = await records.key(account, 0)
    if (root !== undefined) organisations.push({ account, root })
  }
  return {
    n: (await records.get<number>(userTables.governed.key())) ?? 0,
    organisations,
    policy,
    policyNumber: policies.length - 1,
    rankMax: Math.max(...policies.flatMap(({ nodes, ranks }) => ranks ?? nodes.map((_, position) => position))),
    rules: await records.numbered<RulesRecord>((k) => userTables.rules.key(k)),
    rulesFirst: genesis.body.params.seals,
    height: records.height,
    size: records.size,
    docchainSize: (await client.checkpoint('docchain')).size,
  }
}

/** The organisation whose root key this is. */
export function organisationOf(
  organisations: readonly GoverningOrganisation[],
  publicKey: Uint8Array,
): GoverningOrganisation {
  const found = organisations.find(({ root }) => equalBytes(root, publicKey))
  if (found !== undefined) return found
  throw new CommandError(`this key (${toHex(publicKey)}) is the root key of no organisation that governs this ledger`)
}
