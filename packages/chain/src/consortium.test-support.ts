/** A ledger of four organisations whose keys tests know by name, with logs and checkpoints: for governance, evidence and trails. */
import { kemKeyPairFromSeed } from '@healthblock/crypto/envelope'
import { compareBytes } from '@healthblock/encoding/bytes'
import { genesisBlocks, Ledger, type PendingBlock, type Verdict } from './block/block.ts'
import type { ChainName } from './chains.ts'
import { addSignatures, chainOrigin, cosignCheckpoint, receiptCheckpoint, signCheckpoint } from './log/checkpoint.ts'
import { encodeProof } from './log/proof.ts'
import { genesisAccount, genesisAccounts } from './policy/genesis.ts'
import {
  encodeGovernArgument,
  type GovernArguments,
  type GovernedNode,
  type PolicyArgument,
} from './policy/governing.ts'
import { logPolicyOf, rankedNodes } from './policy/policy.ts'
import type { TrailStep } from './policy/policy-trail.ts'
import { b16, bytesOf, keyOf, SampleLog, sampleGenesis } from './sample.test-support.ts'
import { MemoryChainStore } from './state/store.ts'
import {
  signTransaction,
  type Transaction,
  type TransactionBody,
  type TransactionSigner,
} from './transaction/transaction.ts'

/** A node's keys by names: `suffix` tells generations of keys apart. */
export function nodeKeys(name: string): [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array] {
  const key = (role: string) => keyOf(`${role} ${name}`).publicKey
  return [key('node'), key('userchain log'), key('userchain cosigner'), key('docchain log'), key('docchain cosigner')]
}

/** A cosigner of a test: its rank and the name of its keys, by default the rank. */
export interface TestCosigner {
  readonly rank: number
  readonly name?: string
  /** How long before now it signed. */
  readonly agoMs?: number
}

/** The ledger, a mirror that checks each block, and both logs. */
export class Consortium {
  readonly genesis = sampleGenesis()
  readonly ledger: Ledger
  readonly mirror: Ledger
  readonly logs: Record<ChainName, SampleLog>
  readonly organisations: readonly Uint8Array[]
  readonly nodes: readonly Uint8Array[]
  nowMs: number
  #n = 0
  #counter = 0

  constructor() {
    const open = () =>
      Ledger.open({
        genesis: this.genesis.bytes,
        stores: { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() },
      })
    this.ledger = open()
    this.mirror = open()
    this.logs = {
      userchain: new SampleLog(this.genesis, 'userchain'),
      docchain: new SampleLog(this.genesis, 'docchain'),
    }
    const zero = genesisBlocks(this.genesis.bytes)
    for (const chain of ['userchain', 'docchain'] as const) this.logs[chain].add(...zero[chain].leaves)
    const { organisations, nodes } = genesisAccounts(this.genesis)
    this.organisations = organisations
    this.nodes = nodes
    this.nowMs = this.genesis.body.start + 1000
  }

  sign(chain: ChainName, body: TransactionBody, signers: readonly TransactionSigner[]): Transaction {
    return signTransaction({ ledgerId: this.genesis.ledgerId, chain, body, signers })
  }

  /** A `govern` signed by the organisations of these positions; `n` by default the next. */
  govern<A extends keyof GovernArguments>(
    act: A,
    argument: GovernArguments[A] | Uint8Array,
    options: { by?: readonly number[]; n?: number; a?: Uint8Array } = {},
  ): Transaction {
    const signers = (options.by ?? [0, 1, 2]).map((i) => ({
      account: this.organisations[i] as Uint8Array,
      key: 0,
      signingKey: keyOf(`root ${i}`),
    }))
    const a = options.a ?? ([...signers.map(({ account }) => account)].sort(compareBytes)[0] as Uint8Array)
    const arg = argument instanceof Uint8Array ? argument : encodeGovernArgument(act, argument)
    const n = options.n ?? this.#n + 1
    return this.sign('userchain', { v: 1, t: 'govern', a, act, arg, n }, signers)
  }

  judge(chain: ChainName, transaction: Transaction): Verdict {
    return this.ledger.judge(chain, transaction, { atMs: this.nowMs })
  }

  /** One block of transactions that must all be valid. */
  post(chain: ChainName, ...candidates: readonly Transaction[]): PendingBlock {
    this.nowMs += 1000
    const { pending, verdicts } = this.ledger.buildBlock({ chain, candidates, nowMs: this.nowMs })
    const wrong = verdicts.find((verdict) => verdict?.verdict !== 'valid')
    if (wrong !== undefined || pending === undefined) throw new Error(`not valid: ${JSON.stringify(wrong)}`)
    this.mirror.commit(this.mirror.checkBlock(pending))
    this.ledger.commit(pending)
    this.logs[chain].add(...pending.leaves)
    for (const { body } of candidates) if (body.t === 'govern') this.#n = Math.max(this.#n, body.n)
    return pending
  }

  /** The policy in force as an argument, changed. */
  policy(
    change: (argument: { -readonly [K in keyof PolicyArgument]: PolicyArgument[K] }) => void = () => {},
  ): PolicyArgument {
    const now = this.ledger.policy('userchain')
    const argument = {
      q: now.q,
      nodes: rankedNodes(now).map(({ rank, node }): GovernedNode => [rank, ...node]),
      stores: now.stores,
      last: [] as [Uint8Array, number][],
    }
    change(argument)
    return argument
  }

  /** A node that may join under `rank`, of an organisation by position, with keys of a name. */
  newNode(rank: number, organisation: number, name: string): GovernedNode {
    const keys = nodeKeys(name)
    const account = genesisAccount(this.genesis.ledgerId, keys[0])
    return [rank, this.organisations[organisation] as Uint8Array, account, ...keys]
  }

  /** Registers an account of a role under organisation 0. */
  registration(name: string, role: number): Transaction {
    const root = keyOf(`root ${name}`)
    const op = keyOf(`op ${name}`)
    const kem = kemKeyPairFromSeed(bytesOf(`kem ${name}`)).publicKey
    const sponsor = this.organisations[0] as Uint8Array
    return this.sign(
      'userchain',
      {
        v: 1,
        t: 'register',
        role,
        root: root.publicKey,
        op: op.publicKey,
        kem,
        suite: 1,
        sponsor,
        salt: b16(name),
      },
      [
        { key: 0, signingKey: root },
        { key: 1, signingKey: op },
        { account: sponsor, key: 1, signingKey: keyOf('op 0') },
      ],
    )
  }

  consent(a: Uint8Array): { a: Uint8Array; n: number; x: number } {
    return { a, n: this.nowMs + this.#counter++, x: this.nowMs + 3_600_000 }
  }

  /** A body signed by the op key of organisation 0. */
  byOrganisation(chain: ChainName, body: TransactionBody): Transaction {
    const account = this.organisations[0] as Uint8Array
    return this.sign(chain, body, [{ account, key: 1, signingKey: keyOf('op 0') }])
  }

  /** A checkpoint of the present head, or of another root, by these cosigners, with the log line of rank 2. */
  checkpoint(
    chain: ChainName,
    by: readonly TestCosigner[] = [{ rank: 0 }, { rank: 1 }, { rank: 2 }],
    at: { size?: number; root?: Uint8Array } = {},
  ): string {
    const { size, root } = this.ledger.head(chain)
    const origin = chainOrigin({ ledgerId: this.genesis.ledgerId, chain })
    const head = { origin, size: at.size ?? size, root: at.root ?? root }
    const lines = by.map(({ rank, name = String(rank), agoMs = 0 }) =>
      cosignCheckpoint(head, { rank, signer: keyOf(`${chain} cosigner ${name}`), nowMs: this.nowMs - agoMs }),
    )
    return addSignatures(signCheckpoint(head, keyOf(`${chain} log 2`)), lines)
  }

  /** The step for a leaf that was just posted, published by the policy that its chain's last block was under. */
  step(chain: ChainName, index: number, by?: readonly TestCosigner[]): TrailStep {
    const { height } = this.ledger.head(chain)
    const entry = this.logs[chain].entry(index, this.checkpoint(chain, by))
    const policy = this.logPolicy(chain, height)
    const checkpoint = receiptCheckpoint({ note: entry.checkpoint, origin: this.logs[chain].origin, policy })
    return { chain, leaf: entry.leaf, proof: encodeProof({ index, hashes: entry.hashes, checkpoint }) }
  }

  /** What checkpoints of a block are checked against. */
  logPolicy(chain: ChainName, height: number) {
    return logPolicyOf(this.ledger.policyOf(chain, height).policy, chain)
  }
}
