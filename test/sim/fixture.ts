/**
 * One ledger for all runs: genesis, the nodes' keys, and what people send to it, all from fixed seeds and signed once a process. The
 * transactions are real and depend on each other as in life: two doctors, two patients with devices, grants, records, a rotation that
 * takes one doctor's grant away, a suspended licence, diagnoses before and after.
 */
import { Ledger } from '@healthblock/chain/block'
import { encodeGenesis, genesisAccount, ledgerIdOf } from '@healthblock/chain/genesis'
import { MemoryChainStore } from '@healthblock/chain/store'
import type { TransactionBody } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import { policyKeys, type SampleNodeKeys } from '../support/sample-ledger.ts'
import { type Course, governedRanks, governorsOf } from './governors.ts'
import {
  bytesOf,
  epochMs,
  type Item,
  kemOf,
  keyOf,
  type Lane,
  nodeKeysOf,
  type Party,
  Scribe,
  startMs,
} from './scribe.ts'

/** Number of nodes, and how many decide. */
export const nodeCount = 4
/** Nodes whose acks and cosignatures decide. */
export const quorum = 3
/** Everything that runs share. */
export interface Fixture {
  readonly genesis: Uint8Array
  readonly ledgerId: Uint8Array
  /** By rank: the nodes of genesis, and one that joins. */
  readonly nodes: readonly SampleNodeKeys[]
  /** What a node's keys are replaced by. */
  readonly replacing: SampleNodeKeys
  /** By rank. */
  readonly accounts: readonly Uint8Array[]
  readonly organisation: Uint8Array
  readonly lanes: readonly Lane[]
  /** What the organisations decide, in runs of the profile `governed`. */
  readonly governors: Readonly<Record<Course, Lane>>
}

/** What a doctor's node says of records that it could not read; the one type that would be valid twice. */
function unreadable(
  scribe: Scribe,
  name: string,
  doctor: Party,
  of: { patient: Party; g: Uint8Array; stream: Uint8Array },
): Item {
  const zero = scribe.zero
  const body: TransactionBody = {
    ...{ v: 1, t: 'unreadable', a: doctor.account, pat: of.patient.account, g: of.g, basis: zero },
    ...{ in: [[of.stream, 1, 1]], code: 1 },
  }
  return scribe.item(name, 'docchain', body, scribe.byOp(doctor), ['ann.record-1'])
}

/** A patient who grants to both doctors, sends records, and takes the second doctor's grant away. */
function patientLane(scribe: Scribe, name: string, doctors: readonly Party[]) {
  const { item, party } = scribe.register(name, 1)
  const stream = bytesOf(`${name} stream`, 8)
  const gids = doctors.map((_, i) => bytesOf(`${name} grant ${i}`, 16))
  const device = scribe.device(`${name}.device`, party, [stream], [item.name])
  const open = doctors.map(({ account }, i) => ({ gid: gids[i] as Uint8Array, to: account, streams: [stream] }))
  const needs = [device.name, ...doctors.map((_, i) => `doctor-${i}.licence`)]
  const first = scribe.key(`${name}.key-1`, party, { gen: 1, open }, needs)
  const records = (from: number, to: number, gen: number): Item[] =>
    Array.from({ length: to - from + 1 }, (_, i) =>
      scribe.iot(`${name}.record-${from + i}`, party, { stream, seq: from + i, gen }),
    )
  const second = scribe.key(
    `${name}.key-2`,
    party,
    { gen: 2, cut: [[stream, 1, 5]], close: [gids[1] as Uint8Array], kept: [gids[0] as Uint8Array] },
    [first.name],
  )
  const items = [item, device, first, ...records(1, 5, 1), second, ...records(6, 8, 2)]
  return { lane: { name, items }, patient: party, stream, gids }
}

function lanesOf(scribe: Scribe): Lane[] {
  const doctors = [0, 1].map((i) => scribe.register(`doctor-${i}`, 2))
  const parties = doctors.map(({ party }) => party)
  const licences = parties.map((party, i) => scribe.licence(`doctor-${i}.licence`, party, 1, [`doctor-${i}.register`]))
  const patients = ['ann', 'bob'].map((name) => patientLane(scribe, name, parties))
  const organisation: Item[] = [
    ...doctors.map(({ item }) => item),
    ...licences,
    ...Array.from({ length: 8 }, (_, i) => scribe.algorithm(i)),
    scribe.licence('doctor-0.suspended', parties[0] as Party, 2, ['ann.record-5']),
    scribe.licence('doctor-0.again', parties[0] as Party, 1, ['doctor-0.suspended']),
    ...Array.from({ length: 4 }, (_, i) => scribe.algorithm(8 + i)),
  ]
  const posts = parties.map((doctor, i): Lane => {
    const items = patients.flatMap(({ patient, stream, gids, lane }) =>
      [1, 2, 3].map((seq) =>
        scribe.diagnosis(
          `doctor-${i}.${lane.name}-${seq}`,
          doctor,
          { patient, g: gids[i] as Uint8Array, stream, from: seq, to: seq + 1, seq },
          [`${lane.name}.record-${seq + 1}`],
        ),
      ),
    )
    const { patient, stream, gids } = patients[0] as (typeof patients)[number]
    const about = { patient, stream, g: gids[i] as Uint8Array }
    return { name: `doctor-${i}`, items: [unreadable(scribe, `doctor-${i}.unreadable`, doctor, about), ...items] }
  })
  return [{ name: 'organisation', items: organisation }, ...patients.map(({ lane }) => lane), ...posts]
}

function genesisOf(organisation: { root: SigningKey; op: SigningKey }, nodes: readonly SampleNodeKeys[]): Uint8Array {
  return encodeGenesis({
    v: 1,
    t: 'genesis',
    start: startMs - 60_000,
    params: { epochms: epochMs, seals: 1 },
    q: quorum,
    orgs: [[organisation.root.publicKey, organisation.op.publicKey, kemOf('organisation kem'), 1, 1_000]],
    nodes: nodes.map((keys) => [0, ...policyKeys(keys)] as const),
    stores: [[0, keyOf('store').publicKey, bytesOf('peer', 38)]],
  })
}

/** Makes the ledger; the same in every process. */
export function createFixture(): Fixture {
  const nodes = Array.from({ length: nodeCount + 1 }, (_, rank) => nodeKeysOf(`${rank}`))
  const replacing = nodeKeysOf(`${governedRanks.replaced} replaced`)
  const keys = { root: keyOf('organisation root'), op: keyOf('organisation op') }
  const genesis = genesisOf(keys, nodes.slice(0, nodeCount))
  const ledgerId = ledgerIdOf(genesis)
  const account = genesisAccount(ledgerId, keys.root.publicKey)
  const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
  const { size, root } = Ledger.open({ genesis, stores }).head('userchain')
  const scribe = new Scribe(ledgerId, { account, ...keys }, [size, root])
  const lanes = lanesOf(scribe)
  const accounts = nodes.map(({ node }) => genesisAccount(ledgerId, node.publicKey))
  const governors = governorsOf(scribe, { nodes, replacing })
  return { genesis, ledgerId, nodes, replacing, accounts, organisation: account, lanes, governors }
}
