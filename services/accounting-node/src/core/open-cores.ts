/**
 * Opens both chains of a node. The log is the truth: the ledger's stores follow from it, and a store that does not fit its log (ahead
 * of it after a restored disk, or of other blocks) is emptied and filled again.
 */
import { Ledger, SignatureCache } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { genesisAccounts, genesisLeaf } from '@healthblock/chain/genesis'
import { emptyRoot, leafHash, nodeHash } from '@healthblock/chain/merkle'
import { type RankedNode, rankedNodes } from '@healthblock/chain/policy'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import type { PreparationWorkers } from '@healthblock/chain/preparation'
import { encodeSealLeaf, parseSealLeaf, type Seal } from '@healthblock/chain/seal'
import { type ChainStore, MemoryChainStore } from '@healthblock/chain/store'
import { userTables } from '@healthblock/chain/tables'
import type { SigningKey } from '@healthblock/crypto/signature'
import { equalBytes } from '@healthblock/encoding/bytes'
import { AccountingError } from '../errors.ts'
import type { ChainCore } from './chain-core.ts'
import { ChainNode } from './chain-node.ts'
import { CoreState } from './core-state.ts'
import { BlockLog, recordOf } from './log.ts'
import { Memberships } from './members.ts'
import type { Clock, CoreObserver, Disk, HeadRegister, IntakeQueue, PeerNetwork } from './ports.ts'
import { TrailStore } from './trail-store.ts'

/** Good signatures remembered from the gateway until the block is sealed: as many as may be under way, and a few blocks. */
const signaturesMax = 40_960

/** What a node's cores are made with. */
export interface NodeOptions {
  /** Genesis file. */
  readonly genesis: Uint8Array
  /** Position in genesis' nodes; not needed with `account`. */
  readonly rank?: number
  /** Account of a node that joined later, or whose keys were replaced. */
  readonly account?: Uint8Array
  readonly nodeKey: SigningKey
  readonly chainKeys: Readonly<Record<ChainName, { readonly log: SigningKey; readonly cosigner: SigningKey }>>
  readonly clock: Clock
  readonly disks: Readonly<Record<ChainName, Disk>>
  readonly queues: Readonly<Record<ChainName, IntakeQueue>>
  readonly register: HeadRegister
  readonly network: PeerNetwork
  readonly observe: CoreObserver
  /** Threads that verify; without them the platform's thread pool does. */
  readonly workers?: PreparationWorkers
  /** Opens the store of a chain's derived state; with `fresh` it empties it first. Called again only after what it gave before is no longer used. */
  readonly openStore: (chain: ChainName, options: { fresh: boolean }) => ChainStore
  /** True once another ledger carries this one on: both cores then only follow and serve. */
  readonly isEnded?: () => boolean
  /** For demonstrations and tests only: as leader, this node leaves out transactions signed by these accounts (hex). */
  readonly faultCensor?: ReadonlySet<string>
}

/** Both chains of one node. */
export interface NodeCores {
  readonly ledger: Ledger
  readonly userchain: ChainCore
  readonly docchain: ChainCore
  /** The policy trail, as far as this node has it. */
  readonly trail: PolicyTrail
  /** A node in the policies that are in force, and in those before a switch that is under way; newest first, each once. */
  peer(account: Uint8Array): readonly RankedNode[]
  /** The account that had or has a rank. */
  accountOf(rank: number): Uint8Array | undefined
  /** True if a policy in force on either chain has a node of that rank. */
  isMember(rank: number): boolean
  /** Starts both, Userchain first. */
  start(): Promise<void>
  /** Stops both. */
  stop(): Promise<void>
}

const chainNames: readonly ChainName[] = ['userchain', 'docchain']

/** The SEAL of block 0, which the ledger commits by itself. */
function sealZero(zero: Ledger, chain: ChainName): Uint8Array {
  const { ms, stateRoot, anchor, root } = zero.head(chain)
  const fields: Seal = {
    h: 0,
    i0: 0,
    k: 1,
    psize: 0,
    proot: emptyRoot(),
    st: stateRoot,
    ms,
    rules: zero.genesis.body.params.seals,
    anchor: undefined,
  }
  const leaf = encodeSealLeaf(anchor === undefined ? fields : { ...fields, anchor: [[anchor.size, anchor.root]] })
  if (!equalBytes(nodeHash(leafHash(genesisLeaf(zero.genesis)), leafHash(leaf)), root)) {
    throw new AccountingError('block 0 is not what genesis fixes', {
      code: 'ERR_LOG_DAMAGED',
      chain,
      index: 1,
      reason: 'block 0',
    })
  }
  return leaf
}

/** True if the store's head is a block of the log. */
function fits(ledger: Ledger, log: BlockLog, chain: ChainName): boolean {
  const head = ledger.head(chain)
  if (head.height >= log.count() || log.place(head.height)?.size !== head.size) return false
  const leaves = log.leaves(head.height)
  const seal = parseSealLeaf(leaves[leaves.length - 1] as Uint8Array)
  if (!equalBytes(seal.st, head.stateRoot) || seal.ms !== head.ms) return false
  if (head.height + 1 >= log.count()) return true
  const next = log.leaves(head.height + 1)
  return equalBytes(parseSealLeaf(next[next.length - 1] as Uint8Array).proot, head.root)
}

async function openLog(options: NodeOptions, zero: Ledger, chain: ChainName): Promise<BlockLog> {
  const log = await BlockLog.open(options.disks[chain], chain)
  try {
    await checkLog(zero, chain, log)
    return log
  } catch (error) {
    await log.close()
    throw error
  }
}

/** Gives an empty log its block 0, and refuses one of another ledger. */
async function checkLog(zero: Ledger, chain: ChainName, log: BlockLog): Promise<void> {
  const first = [genesisLeaf(zero.genesis), sealZero(zero, chain)] as const
  if (log.count() === 0) await log.append(recordOf(first, []), first.length)
  if (!equalBytes(log.entry(0), first[0]) || !equalBytes(log.entry(1), first[1])) {
    const reason = 'the log belongs to another ledger'
    throw new AccountingError(reason, { code: 'ERR_LOG_DAMAGED', chain, index: 0, reason })
  }
}

function openLedger(options: NodeOptions, logs: Readonly<Record<ChainName, BlockLog>>): Ledger {
  const fresh = { userchain: false, docchain: false }
  const signatures = new SignatureCache(signaturesMax)
  for (let attempt = 0; ; attempt++) {
    const stores = {
      userchain: options.openStore('userchain', { fresh: fresh.userchain }),
      docchain: options.openStore('docchain', { fresh: fresh.docchain }),
    }
    const ledger = Ledger.open({
      genesis: options.genesis,
      stores,
      signatures,
      ...(options.workers === undefined ? {} : { workers: options.workers }),
    })
    const unfit = chainNames.filter((chain) => !fits(ledger, logs[chain], chain))
    if (unfit.length === 0) return ledger
    if (attempt > 0) {
      const chain = unfit[0] as ChainName
      const reason = 'an emptied store does not fit the log'
      throw new AccountingError(reason, { code: 'ERR_LOG_DAMAGED', chain, index: 0, reason })
    }
    for (const chain of unfit) {
      fresh[chain] = true
      // The log is durable before a store has a block: who has fewer in the log has lost some.
      if (ledger.head(chain).height >= logs[chain].count()) logs[chain].isDamaged = true
    }
  }
}

/**
 * Opens logs, stores and ledger of both chains. Nothing takes part in the ledger before `start`.
 *
 * @throws {AccountingError} `ERR_LOG_DAMAGED` for a log of another ledger. {ChainError} `ERR_GENESIS_INVALID`.
 */
export async function openCores(options: NodeOptions): Promise<NodeCores> {
  const zero = Ledger.open({
    genesis: options.genesis,
    stores: { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() },
  })
  const userchainLog = await openLog(options, zero, 'userchain')
  let docchainLog: BlockLog | undefined
  let trail: TrailStore | undefined
  try {
    docchainLog = await openLog(options, zero, 'docchain')
    trail = await TrailStore.open(options.disks.userchain, zero.genesis)
    return assemble(options, { userchain: userchainLog, docchain: docchainLog }, trail)
  } catch (error) {
    await userchainLog.close()
    await docchainLog?.close()
    await trail?.close()
    throw error
  }
}

/** The account with which a node takes part. */
function accountOf(options: NodeOptions, ledger: Ledger): Uint8Array {
  const account = options.account ?? genesisAccounts(ledger.genesis).nodes[options.rank ?? -1]
  if (account !== undefined) return account
  const reason = 'neither a rank of genesis nor an account is given'
  throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason })
}

/** Looks nodes up in the policies on record. */
function policyLookup(ledger: Ledger, memberships: Readonly<Record<ChainName, Memberships>>) {
  return {
    peer(account: Uint8Array): readonly RankedNode[] {
      const all = chainNames.flatMap((chain) => memberships[chain].cosignersOf(ledger.head(chain).height).toReversed())
      const own = all.flatMap(({ nodes }) => nodes.filter((node) => equalBytes(node.account, account)))
      return own.filter(({ node }, i) => own.findIndex((other) => equalBytes(other.node[2], node[2])) === i)
    },
    isMember(rank: number): boolean {
      return chainNames.some((chain) =>
        rankedNodes(ledger.policyOf(chain, ledger.head(chain).height + 1).policy).some((node) => node.rank === rank),
      )
    },
    accountOf(rank: number): Uint8Array | undefined {
      for (let { k } = ledger.policyOf('userchain', ledger.head('userchain').height + 1); k >= 0; k--) {
        const policy = userTables.policy.get(ledger.state('userchain'), k)
        const found = policy === undefined ? undefined : rankedNodes(policy).find((node) => node.rank === rank)
        if (found !== undefined) return found.account
      }
      return undefined
    },
  }
}

function assemble(options: NodeOptions, logs: Readonly<Record<ChainName, BlockLog>>, trail: TrailStore): NodeCores {
  const ledger = openLedger(options, logs)
  for (const chain of chainNames) {
    if (logs[chain].isDamaged)
      options.observe({ kind: 'damaged', chain, file: 'log/blocks', index: logs[chain].size() })
  }
  const { clock, register, network, observe, faultCensor, isEnded } = options
  const account = accountOf(options, ledger)
  const memberships = {
    userchain: new Memberships(ledger, 'userchain'),
    docchain: new Memberships(ledger, 'docchain'),
  }
  const make = (chain: ChainName, userchain: ChainCore | undefined): { node: ChainNode; core: CoreState } => {
    const core = new CoreState({
      ...{ chain, account, ledger, clock, register, network, observe, trail },
      memberships: memberships[chain],
      keys: { node: options.nodeKey, ...options.chainKeys[chain] },
      disk: options.disks[chain],
      queue: options.queues[chain],
      ...(userchain === undefined ? {} : { userchain }),
      ...(isEnded === undefined ? {} : { isEnded }),
      ...(faultCensor === undefined ? {} : { faultCensor }),
    })
    core.log = logs[chain]
    return { node: new ChainNode(core), core }
  }
  const { node: userchain } = make('userchain', undefined)
  const { node: docchain, core } = make('docchain', userchain)
  // Docchain waits for anchors, and seals when Userchain closed something.
  userchain.onApplied(() => core.changed.notify())
  userchain.onPublished(() => core.changed.notify())
  return {
    ledger,
    userchain,
    docchain,
    trail: trail.trail,
    ...policyLookup(ledger, memberships),
    async start() {
      await userchain.start()
      await docchain.start()
    },
    async stop() {
      try {
        await docchain.stop()
      } finally {
        await userchain.stop()
        await trail.close()
      }
    },
  }
}
