/**
 * One ledger for all runs: genesis, the nodes' keys, and what people send to it, all from fixed seeds and signed once a process. The
 * transactions are real and depend on each other as in life: two doctors, two patients with devices, grants, records, a rotation that
 * takes one doctor's grant away, a suspended licence, diagnoses before and after.
 */
import { Ledger } from '@healthblock/chain/block'
import { encodeGenesis, genesisAccount, ledgerIdOf } from '@healthblock/chain/genesis'
import {
  encodeGovernArgument,
  type GovernArguments,
  type GovernedNode,
  governActs,
  type PolicyArgument,
} from '@healthblock/chain/governing'
import { MemoryChainStore } from '@healthblock/chain/store'
import {
  type ChainName,
  signTransaction,
  type TransactionBody,
  type TransactionSigner,
  transactionId,
} from '@healthblock/chain/transaction'
import { kemKeyPairFromSeed } from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import type { SampleNodeKeys } from '../support/sample-ledger.ts'
import { nodeSeedMark } from './provider.ts'

/** Number of nodes, and how many decide. */
export const nodeCount = 4
/** Nodes whose acks and cosignatures decide. */
export const quorum = 3
/** Unix ms at which every run begins. */
export const startMs = 1_800_000_000_000
const epochMs = 3_600_000
const dayMs = 86_400_000
const slot = Math.floor(startMs / epochMs)

/** One transaction of somebody. */
export interface Item {
  readonly name: string
  readonly chain: ChainName
  readonly id: Uint8Array
  /** The id in hex. */
  readonly key: string
  readonly leaf: Uint8Array
  /** Names of the items that its sender waits for. */
  readonly needs: readonly string[]
}

/** Somebody who sends items in order. */
export interface Lane {
  readonly name: string
  readonly items: readonly Item[]
}

/** Everything that runs share. */
export interface Fixture {
  readonly genesis: Uint8Array
  readonly ledgerId: Uint8Array
  readonly nodes: readonly SampleNodeKeys[]
  readonly organisation: Uint8Array
  readonly lanes: readonly Lane[]
  /** What the organisation decides, in runs of the profile `governed`. */
  readonly governors: Lane
}

function bytesOf(name: string, length = 32): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) {
    bytes.set(sha256(encodeUtf8(`simulated ${name} ${at}`)).subarray(0, Math.min(32, length - at)), at)
  }
  return bytes
}

function keyOf(name: string): SigningKey {
  return signingKeyFromSeed(bytesOf(name))
}

function nodeKeyOf(name: string): SigningKey {
  const seed = bytesOf(name)
  seed.set(nodeSeedMark)
  return signingKeyFromSeed(seed)
}

function kemOf(name: string): Uint8Array {
  return kemKeyPairFromSeed(bytesOf(name)).publicKey
}

interface Party {
  readonly account: Uint8Array
  readonly root: SigningKey
  readonly op: SigningKey
}

/** Signs what people send. */
class Scribe {
  readonly ledgerId: Uint8Array
  readonly organisation: Party
  /** Userchain's first boundary. */
  readonly zero: readonly [number, Uint8Array]
  #counter = 0

  constructor(ledgerId: Uint8Array, organisation: Party, zero: readonly [number, Uint8Array]) {
    this.ledgerId = ledgerId
    this.organisation = organisation
    this.zero = zero
  }

  item(
    name: string,
    chain: ChainName,
    body: TransactionBody,
    signers: TransactionSigner[],
    needs: readonly string[] = [],
  ): Item {
    const { leaf, bodyBytes } = signTransaction({ ledgerId: this.ledgerId, chain, body, signers })
    const id = transactionId({ ledgerId: this.ledgerId, chain, bodyBytes })
    return { name, chain, id, key: toHex(id), leaf, needs }
  }

  byOp({ account, op }: Party): TransactionSigner[] {
    return [{ account, key: 1, signingKey: op }]
  }

  byBoth({ account, root, op }: Party): TransactionSigner[] {
    return [
      { account, key: 0, signingKey: root },
      { account, key: 1, signingKey: op },
    ]
  }

  consent(): { n: number; x: number } {
    return { n: startMs + ++this.#counter, x: startMs + dayMs / 2 }
  }

  register(name: string, role: number): { item: Item; party: Party } {
    const [root, op] = [keyOf(`${name} root`), keyOf(`${name} op`)]
    const { account, op: sponsor } = this.organisation
    const keys = { root: root.publicKey, op: op.publicKey, kem: kemOf(`${name} kem`), suite: 1 }
    const body = { v: 1, t: 'register', role, ...keys, sponsor: account, salt: bytesOf(`${name} salt`, 16) } as const
    const signers = [
      { key: 0, signingKey: root },
      { key: 1, signingKey: op },
      { account, key: 1, signingKey: sponsor },
    ]
    const item = this.item(`${name}.register`, 'userchain', body, signers)
    return { item, party: { account: item.id, root, op } }
  }

  /** The n-th act of those who govern. */
  govern<A extends keyof GovernArguments>(
    n: number,
    act: A,
    argument: GovernArguments[A],
    needs: readonly string[],
  ): Item {
    const { account, root } = this.organisation
    const body = { v: 1, t: 'govern', a: account, act, arg: encodeGovernArgument(act, argument), n } as const
    return this.item(`governors.act-${n}`, 'userchain', body, [{ account, key: 0, signingKey: root }], needs)
  }

  algorithm(number: number): Item {
    const { account } = this.organisation
    const hash = bytesOf(`algorithm ${number}`)
    const body = { v: 1, t: 'algorithm', a: account, id: `a${number}`, version: '1', hash, act: 1 } as const
    return this.item(`algorithm.${number}`, 'userchain', body, this.byOp(this.organisation))
  }

  licence(name: string, doctor: Party, state: number, needs: readonly string[]): Item {
    const { account } = this.organisation
    const range = { state, from: startMs - dayMs, to: startMs + 300 * dayMs }
    const body = { v: 1, t: 'licence', a: account, ...this.consent(), doctor: doctor.account, ...range } as const
    return this.item(name, 'userchain', body, this.byOp(this.organisation), needs)
  }

  device(name: string, patient: Party, streams: readonly Uint8Array[], needs: readonly string[]): Item {
    const fields = { dev: bytesOf(name, 16), act: 1, streams: [...streams], cert: bytesOf(`${name} cert`) }
    const body = { v: 1, t: 'device', a: patient.account, ...this.consent(), ...fields } as const
    return this.item(name, 'userchain', body, this.byOp(patient), needs)
  }

  /** A rotation to `gen`; `open` are grants to doctors, `close` ids of grants. */
  key(
    name: string,
    patient: Party,
    change: {
      gen: number
      cut?: [Uint8Array, number, number][]
      close?: Uint8Array[]
      open?: { gid: Uint8Array; to: Uint8Array; streams: Uint8Array[] }[]
      kept?: Uint8Array[]
    },
    needs: readonly string[],
  ): Item {
    const { gen, cut = [], close = [], open = [], kept = [] } = change
    const [size, root] = this.zero
    const gids = [...open.map(({ gid }) => gid), ...kept]
    const body: TransactionBody = {
      ...{ v: 1, t: 'key', a: patient.account, ...this.consent(), gen, first: slot, cut, close },
      open: open.map(({ gid, to, streams }) => [gid, to, streams, slot, startMs + 90 * dayMs, 3, 1] as const),
      env: gids.map((gid) => [gid, gen, bytesOf(`${name} ${toHex(gid)}`, 1472)] as const),
      ...{ why: close.length > 0 ? 2 : 1, seen: [size, root] },
    }
    return this.item(name, 'userchain', body, open.length > 0 ? this.byBoth(patient) : this.byOp(patient), needs)
  }

  iot(name: string, patient: Party, record: { stream: Uint8Array; seq: number; gen: number }): Item {
    const { stream, seq, gen } = record
    const r = [[stream, seq, gen, slot, 0, 4096, bytesOf(`${name} cid`)] as const]
    return this.item(name, 'userchain', { v: 1, t: 'iot', a: patient.account, r }, this.byOp(patient))
  }

  diagnosis(
    name: string,
    doctor: Party,
    of: { patient: Party; g: Uint8Array; stream: Uint8Array; from: number; to: number; seq: number },
    needs: readonly string[],
  ): Item {
    const [size, root] = this.zero
    const { patient, g, stream, from, to, seq } = of
    const body: TransactionBody = {
      ...{ v: 1, t: 'diagnosis', a: doctor.account, pat: patient.account, g, basis: [size, root] },
      ...{ in: [[stream, from, to]], gen: 1, epoch: slot, seq, alg: new Uint8Array(32) },
      ...{ cid: bytesOf(`${name} cid`), len: 16_384 },
    }
    return this.item(name, 'docchain', body, this.byOp(doctor), needs)
  }
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

/** q rises and falls, the rules rise, a node goes, and all that are left must sign. */
function governorsOf(scribe: Scribe, nodes: readonly SampleNodeKeys[]): Lane {
  const { ledgerId, organisation } = scribe
  const governed = nodes.map(({ node, userchain, docchain }, rank): GovernedNode => {
    const account = genesisAccount(ledgerId, node.publicKey)
    const logs = [userchain.log, userchain.cosigner, docchain.log, docchain.cosigner].map(({ publicKey }) => publicKey)
    return [rank, organisation.account, account, node.publicKey, ...logs] as unknown as GovernedNode
  })
  const store = keyOf('store').publicKey
  const stores = [[organisation.account, genesisAccount(ledgerId, store), store, bytesOf('peer', 38)] as const]
  const gone = nodes.at(-1) as SampleNodeKeys
  const last = [gone.userchain.cosigner, gone.docchain.cosigner].map(({ publicKey }) => [publicKey, 2] as const)
  const few = governed.slice(0, -1)
  const after = (n: number): string[] => (n === 1 ? ['ann.register'] : [`governors.act-${n - 1}`])
  const policy = (n: number, argument: PolicyArgument) => scribe.govern(n, governActs.policy, argument, after(n))
  const rules = { quota: [], rules: [2, 40] as const }
  return {
    name: 'governors',
    items: [
      policy(1, { q: 4, nodes: governed, stores, last: [] }),
      policy(2, { q: 3, nodes: governed, stores, last: [] }),
      scribe.govern(3, governActs.parameters, rules, after(3)),
      policy(4, { q: 2, nodes: few, stores, last }),
      policy(5, { q: 3, nodes: few, stores, last: [] }),
    ],
  }
}

function genesisOf(organisation: { root: SigningKey; op: SigningKey }, nodes: readonly SampleNodeKeys[]): Uint8Array {
  return encodeGenesis({
    v: 1,
    t: 'genesis',
    start: startMs - 60_000,
    params: { epochms: epochMs, seals: 1 },
    q: quorum,
    orgs: [[organisation.root.publicKey, organisation.op.publicKey, kemOf('organisation kem'), 1, 1_000]],
    nodes: nodes.map(
      ({ node, userchain, docchain }) =>
        [
          0,
          node.publicKey,
          userchain.log.publicKey,
          userchain.cosigner.publicKey,
          docchain.log.publicKey,
          docchain.cosigner.publicKey,
        ] as const,
    ),
    stores: [[0, keyOf('store').publicKey, bytesOf('peer', 38)]],
  })
}

/** Makes the ledger; the same in every process. */
export function createFixture(): Fixture {
  const nodes = Array.from({ length: nodeCount }, (_, rank): SampleNodeKeys => {
    const pair = (chain: ChainName) => ({
      log: nodeKeyOf(`${chain} log ${rank}`),
      cosigner: nodeKeyOf(`${chain} cosigner ${rank}`),
    })
    return { node: nodeKeyOf(`node ${rank}`), userchain: pair('userchain'), docchain: pair('docchain') }
  })
  const keys = { root: keyOf('organisation root'), op: keyOf('organisation op') }
  const genesis = genesisOf(keys, nodes)
  const ledgerId = ledgerIdOf(genesis)
  const account = genesisAccount(ledgerId, keys.root.publicKey)
  const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
  const { size, root } = Ledger.open({ genesis, stores }).head('userchain')
  const scribe = new Scribe(ledgerId, { account, ...keys }, [size, root])
  const lanes = lanesOf(scribe)
  return { genesis, ledgerId, nodes, organisation: account, lanes, governors: governorsOf(scribe, nodes) }
}
