/** A small ledger with people on it, made at run time, for this package's tests. Every block is built on one ledger and checked on another. */
import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { Ledger, type PendingBlock, type SizeAndRoot, type Verdict } from './block/block.ts'
import type { ChainName } from './chains.ts'
import { encodeGenesis, genesisAccount, ledgerIdOf } from './policy/genesis.ts'
import { MemoryChainStore } from './state/store.ts'
import type {
  DiagnosisBody,
  GrantOpening,
  IotRecord,
  KeyBody,
  Transaction,
  TransactionBody,
  TransactionSigner,
} from './transaction/transaction.ts'
import { signTransaction } from './transaction/transaction.ts'

/** Somebody with an account. */
export interface Party {
  readonly account: Uint8Array
  root: SigningKey
  op: SigningKey
}

/** A body and who signs it; faults are made by changing either. */
export interface Draft {
  readonly chain: ChainName
  readonly body: TransactionBody
  readonly signers: readonly TransactionSigner[]
}

/** Length of an epoch on these ledgers. */
export const hourMs = 3_600_000
/** Time of block 0. */
export const startMs = 1_700_000_000_000
const dayMs = 24 * hourMs

/** Empty stores for both chains. */
export function memoryStores() {
  return { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
}

function genesisOf(
  organisations: readonly { root: SigningKey; op: SigningKey }[],
  quota: number,
  nodes: number,
  storeKey: SigningKey,
  rules: number,
): Uint8Array {
  const key = () => generateSigningKey().publicKey
  return encodeGenesis({
    v: 1,
    t: 'genesis',
    start: startMs,
    params: { epochms: hourMs, seals: rules },
    q: Math.floor(nodes / 2) + 1,
    orgs: organisations.map(({ root, op }) => {
      return [root.publicKey, op.publicKey, generateKemKeyPair().publicKey, 1, quota] as const
    }),
    nodes: Array.from({ length: nodes }, () => [0, key(), key(), key(), key(), key()] as const),
    stores: [[0, storeKey.publicKey, randomBytes(38)]],
  })
}

/** A ledger, its mirror, and a clock that moves one second a block. `quota`: of each organisation; `rules`: the version that it begins with. */
export class World {
  readonly genesis: Uint8Array
  readonly ledger: Ledger
  /** Gets every block by `checkBlock`. */
  readonly mirror: Ledger
  readonly organisations: readonly Party[]
  /** Of the one store. */
  readonly storeKey: SigningKey = generateSigningKey()
  /** All leaves so far, SEALs included. */
  readonly leaves: Record<ChainName, Uint8Array[]> = { userchain: [], docchain: [] }
  /** State roots by height. */
  readonly stateRoots: Record<ChainName, Uint8Array[]> = { userchain: [], docchain: [] }
  nowMs = startMs + 1000
  #counter = 0

  constructor(options: { quota?: number; organisations?: number; rules?: number } = {}) {
    const keys = Array.from({ length: options.organisations ?? 2 }, () => ({
      root: generateSigningKey(),
      op: generateSigningKey(),
    }))
    this.genesis = genesisOf(keys, options.quota ?? 100, 3, this.storeKey, options.rules ?? 1)
    const ledgerId = ledgerIdOf(this.genesis)
    this.organisations = keys.map((pair) => ({ account: genesisAccount(ledgerId, pair.root.publicKey), ...pair }))
    this.ledger = Ledger.open({ genesis: this.genesis, stores: memoryStores() })
    this.mirror = Ledger.open({ genesis: this.genesis, stores: memoryStores() })
  }

  get organisation(): Party {
    return this.organisations[0] as Party
  }

  /** T of a block built now. */
  get slot(): number {
    return Math.floor(this.nowMs / hourMs)
  }

  get userHead(): SizeAndRoot {
    return this.ledger.head('userchain')
  }

  /** The fields `n` and `x` of the next consent transaction. */
  consent(): { n: number; x: number } {
    this.#counter = Math.max(this.#counter + 1, this.nowMs)
    return { n: this.#counter, x: this.nowMs + hourMs }
  }

  sign({ chain, body, signers }: Draft): Transaction {
    return signTransaction({ ledgerId: this.ledger.ledgerId, chain, body, signers })
  }

  judge(draft: Draft, at: { atMs?: number; anchor?: SizeAndRoot } = {}): Verdict {
    return this.ledger.judge(draft.chain, this.sign(draft), { ...at, atMs: at.atMs ?? this.nowMs })
  }

  /** Builds, checks on the other ledger, and commits one block. */
  block(chain: ChainName, transactions: readonly Transaction[], anchor?: SizeAndRoot) {
    this.nowMs += 1000
    const order = { chain, candidates: transactions, nowMs: this.nowMs }
    const built = this.ledger.buildBlock(anchor === undefined ? order : { ...order, anchor })
    if (built.pending !== undefined) this.commit(built.pending)
    return built
  }

  commit(pending: PendingBlock): void {
    const checked = this.mirror.checkBlock(pending)
    this.ledger.commit(pending)
    this.mirror.commit(checked)
    this.leaves[pending.chain].push(...pending.leaves)
    this.stateRoots[pending.chain].push(checked.head.stateRoot)
  }

  /** Commits drafts that must all be valid, as one block. */
  post(...drafts: readonly Draft[]): PendingBlock {
    const chain = drafts[0]?.chain ?? 'userchain'
    const { pending, verdicts } = this.block(
      chain,
      drafts.map((draft) => this.sign(draft)),
    )
    for (const verdict of verdicts) {
      if (verdict?.verdict !== 'valid') throw new Error(`not valid: ${JSON.stringify(verdict)}`)
    }
    if (pending === undefined) throw new Error('no block')
    return pending
  }

  byOp(party: Party, body: TransactionBody, chain: ChainName = 'userchain'): Draft {
    return { chain, body, signers: [{ account: party.account, key: 1, signingKey: party.op }] }
  }

  byRoot(party: Party, body: TransactionBody): Draft {
    return { chain: 'userchain', body, signers: [{ account: party.account, key: 0, signingKey: party.root }] }
  }

  byBoth(party: Party, body: TransactionBody): Draft {
    const { account, root, op } = party
    const signers = [
      { account, key: 0, signingKey: root },
      { account, key: 1, signingKey: op },
    ]
    return { chain: 'userchain', body, signers }
  }

  registration(role: number, sponsor: Party = this.organisation): { draft: Draft; party: () => Party } {
    const root = generateSigningKey()
    const op = generateSigningKey()
    const body = {
      v: 1,
      t: 'register',
      role,
      root: root.publicKey,
      op: op.publicKey,
      kem: generateKemKeyPair().publicKey,
      suite: 1,
      sponsor: sponsor.account,
      salt: randomBytes(16),
    } as const
    const signers = [
      { key: 0, signingKey: root },
      { key: 1, signingKey: op },
      { account: sponsor.account, key: 1, signingKey: sponsor.op },
    ]
    const draft = { chain: 'userchain', body, signers } as const
    return { draft, party: () => ({ account: this.ledger.transactionId('userchain', this.sign(draft)), root, op }) }
  }

  /** Registers as many accounts in one block. */
  register(role: number, count = 1, sponsor: Party = this.organisation): Party[] {
    const all = Array.from({ length: count }, () => this.registration(role, sponsor))
    this.post(...all.map(({ draft }) => draft))
    return all.map(({ party }) => party())
  }

  licence(doctor: Party, fields: { state?: number; from?: number; to?: number } = {}, org = this.organisation): Draft {
    const range = { state: 1, from: startMs, to: startMs + 365 * dayMs, ...fields }
    return this.byOp(org, { v: 1, t: 'licence', a: org.account, ...this.consent(), doctor: doctor.account, ...range })
  }

  /** Registered doctors with a licence. */
  doctors(count: number): Party[] {
    const doctors = this.register(2, count)
    this.post(...doctors.map((doctor) => this.licence(doctor)))
    return doctors
  }

  device(patient: Party, streams: readonly Uint8Array[], act = 1, dev: Uint8Array = randomBytes(16)): Draft {
    const fields = { dev, act, streams: [...streams], cert: randomBytes(32) }
    return this.byOp(patient, { v: 1, t: 'device', a: patient.account, ...this.consent(), ...fields })
  }

  /** A `key` of the patient; signed by root too if it opens grants. */
  key(patient: Party, fields: Partial<KeyBody> & { gen: number }): Draft {
    const { size, root } = this.userHead
    const body: KeyBody = {
      v: 1,
      t: 'key',
      a: patient.account,
      ...this.consent(),
      first: this.slot,
      cut: [],
      close: [],
      open: [],
      env: [],
      why: 1,
      seen: [size, root],
      ...fields,
    }
    return body.open.length > 0 ? this.byBoth(patient, body) : this.byOp(patient, body)
  }

  opening(doctor: Party, streams: readonly Uint8Array[], gid: Uint8Array = randomBytes(16)): GrantOpening {
    return [gid, doctor.account, streams, this.slot, this.nowMs + 90 * dayMs, 3, 1]
  }

  iot(patient: Party, records: readonly IotRecord[]): Draft {
    return this.byOp(patient, { v: 1, t: 'iot', a: patient.account, r: [...records] })
  }

  record(stream: Uint8Array, seq: number, gen = 1): IotRecord {
    return [stream, seq, gen, this.slot, 0, 4096, randomBytes(32)]
  }

  diagnosis(doctor: Party, patient: Party, fields: Partial<DiagnosisBody> & Pick<DiagnosisBody, 'g' | 'in'>): Draft {
    const { size, root } = this.userHead
    const body: DiagnosisBody = {
      v: 1,
      t: 'diagnosis',
      a: doctor.account,
      pat: patient.account,
      basis: [size, root],
      gen: 1,
      epoch: this.slot,
      seq: 1,
      alg: new Uint8Array(32),
      cid: randomBytes(32),
      len: 16_384,
      ...fields,
    }
    return this.byOp(doctor, body, 'docchain')
  }
}

/** A patient with streams, in generation 1, with a grant and an envelope for a licensed doctor. */
export interface Care {
  readonly patient: Party
  readonly doctor: Party
  readonly device: Uint8Array
  readonly streams: readonly [Uint8Array, Uint8Array]
  readonly gid: Uint8Array
  /** Id of the `key` that opened generation 1. */
  readonly key: Uint8Array
}

/** Enrols a new patient and grants both streams to the doctor, by default a new one. */
export function enrol(world: World, doctor: Party = world.doctors(1)[0] as Party): Care {
  const [patient] = world.register(1) as [Party]
  const streams = [randomBytes(8), randomBytes(8)] as const
  const device = randomBytes(16)
  world.post(world.device(patient, streams, 1, device))
  const opening = world.opening(doctor, streams)
  const gid = opening[0]
  const pending = world.post(world.key(patient, { gen: 1, open: [opening], env: [[gid, 1, randomBytes(1472)]] }))
  return { patient, doctor, device, streams, gid, key: pending.transactions[0]?.id as Uint8Array }
}

/** Cuts of both streams at generation `gen`. */
export function cutsOf(care: Care, gen: number, last: number): [Uint8Array, number, number][] {
  return care.streams.map((stream) => [stream, gen, last])
}
