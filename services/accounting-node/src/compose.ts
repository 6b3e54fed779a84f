/** Puts a node together from its configuration, and takes it apart again. */
import { join } from 'node:path'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { receiptSizeBytesMax } from '@healthblock/chain/receipt'
import { parseSealLeaf } from '@healthblock/chain/seal'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, lockFolder, readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
import type { HttpApp } from '@healthblock/runtime/http-app'
import { PreparationPool } from '@healthblock/runtime/preparation-pool'
import { Registry } from 'prom-client'
import { type BullQueue, openBullQueue } from './adapters/bullmq-queue.ts'
import { openFileDisk } from './adapters/file-disk.ts'
import { type HttpPeers, openHttpPeers } from './adapters/http-peers.ts'
import { type OpenRegister, openRegister } from './adapters/open-register.ts'
import { createSystemClock } from './adapters/system-clock.ts'
import { createApp } from './app.ts'
import type { AccountingConfig } from './config.ts'
import { type NodeCores, openCores } from './core/open-cores.ts'
import type { Clock, CoreEvent } from './core/ports.ts'
import { Directory } from './directory.ts'
import { AccountingError } from './errors.ts'
import { backgroundFailed, coreTeller, nodeStarted } from './events.ts'
import { Gateway } from './gateway/gateway.ts'
import { GatewayLedger } from './gateway/ledger-view.ts'
import { Outbox } from './gateway/outbox.ts'
import { AnswerSigner } from './gateway/statements.ts'
import { addLostFiles, EarlyFaults } from './incidents/early-faults.ts'
import { EvidenceKeeper } from './incidents/evidence-keeper.ts'
import { Healer } from './incidents/healer.ts'
import { IncidentLog } from './incidents/incident-log.ts'
import { SelfCheck } from './incidents/self-check.ts'
import type { Logger } from './logger.ts'
import { createCoreMetrics, createGatewayMetrics, observeChains } from './metrics.ts'
import type { AccountingNode, ChainParts } from './node.ts'
import { openOverview } from './overview/open-overview.ts'
import { PastStates } from './past/past-states.ts'
import { PeerPulse } from './peer-pulse.ts'
import { PeersFile } from './peers-file.ts'
import { ChainReader } from './reading/chain-reader.ts'
import { Closures } from './reading/closures.ts'
import { Receipts } from './reading/receipts.ts'
import { StateQuery } from './reading/state-query.ts'
import { Tiles } from './reading/tiles.ts'
import { markForRebuild, StateStores } from './state-stores.ts'
import { Successions } from './successions.ts'
import { openWitnesses } from './witness/open-witnesses.ts'

const receiptTimeoutMs = 5_000
/** Pieces that the verifying thread has at one time: a block's wait for no more. */
const verificationsUnderWayMax = 2
/** Least time between two log lines about the intake queue's connection. */
const faultEveryMs = 10_000

/** A node that runs. */
export interface RunningNode {
  readonly node: AccountingNode
  readonly app: HttpApp
  readonly url: string
  readonly port: number
  /** Finishes what is under way, then closes every file. */
  stop(): Promise<void>
}

/** What the composition tells its owner. */
export interface NodeHooks {
  readonly logger: Logger
  /** A core ended for good, and why: the node must be stopped and started again. */
  readonly onHalted: (error: unknown) => void
  /** Derived state is damaged and on record: the node must be stopped and started again, which makes it anew. */
  readonly onDerivedDamaged: () => void
}

/** Keeps the genesis file in the node's folder; another ledger's folder is refused. */
function keepGenesis(dir: string, bytes: Uint8Array): void {
  const path = join(dir, 'genesis.cbor')
  const kept = readFileIfPresent(path)
  if (kept === undefined) writeFileDurably(path, bytes)
  else if (!equalBytes(kept, bytes)) {
    const reason = `${dir} belongs to another ledger: its genesis.cbor differs`
    throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason })
  }
}

/** Everything outside of the process that the cores use. */
interface World {
  readonly clock: Clock
  readonly queues: Record<ChainName, BullQueue>
  readonly network: HttpPeers
  readonly register: OpenRegister
  readonly peers: PeersFile
  readonly workers: PreparationPool
}

function openWorld(
  config: AccountingConfig,
  accountOf: (rank: number) => Uint8Array | undefined,
  logger: Logger,
): World {
  const { settings, secrets, genesis } = config
  const clock = createSystemClock(settings.faultClockMs)
  let toldMs = Number.NEGATIVE_INFINITY
  const onFault = (error: unknown): void => {
    // A connection that is away says so at each attempt.
    if (performance.now() - toldMs < faultEveryMs) return
    toldMs = performance.now()
    backgroundFailed(logger, 'intake queue', error)
  }
  const queue = (chain: ChainName): BullQueue =>
    openBullQueue({ chain, redisUrl: settings.redisUrl, prefix: settings.queuePrefix, onFault })
  const peers = new PeersFile({
    path: settings.peersFile,
    nowMs: () => performance.now(),
    onFault: (error) => backgroundFailed(logger, 'peers file', error),
  })
  return {
    clock,
    peers,
    queues: { userchain: queue('userchain'), docchain: queue('docchain') },
    register: openRegister(config),
    network: openHttpPeers({
      ledgerId: genesis.ledgerId,
      account: config.account,
      accountOf: (rank) => accountOf(rank) ?? peers.accountOf(rank),
      nodeKey: secrets.node,
      urlOf: (rank) => peers.urlOf(rank),
      known: () => peers.ranks(),
      nowMs: clock.nowMs,
      elapsedMs: clock.elapsedMs,
    }),
    // One core is the event loop's; a thread takes some 15 MB.
    workers: new PreparationPool(Math.max(1, settings.cores - 1), verificationsUnderWayMax),
  }
}

/** Asks the other nodes for a receipt, one after the other. */
function receiptFetcher(peers: PeersFile) {
  return async (id: Uint8Array): Promise<Uint8Array | undefined> => {
    for (const rank of peers.ranks()) {
      const base = peers.urlOf(rank)
      if (base === undefined) continue
      const url = `${base}/v1/userchain/transactions/${toHex(id)}/receipt`
      try {
        const response = await fetch(url, { signal: AbortSignal.timeout(receiptTimeoutMs), redirect: 'error' })
        if (!response.ok || Number(response.headers.get('content-length')) > receiptSizeBytesMax) continue
        return new Uint8Array(await response.arrayBuffer())
      } catch {
        // The next one may have it.
      }
    }
    return undefined
  }
}

interface Parts {
  readonly config: AccountingConfig
  readonly cores: NodeCores
  readonly healer: Healer
  readonly metrics: Registry
  readonly account: Uint8Array
  readonly logger: Logger
  readonly clock: Clock
  readonly past: PastStates
}

function openChain(parts: Parts, chain: ChainName, gatewayMetrics: ReturnType<typeof createGatewayMetrics>) {
  const { config, cores, healer, account, logger, clock, past } = parts
  const { ledgerId } = config.genesis
  const core = cores[chain]
  const chainDir = join(config.settings.dir, chain)
  const heightOf = (index: number): number => core.heightOfIndex(index) ?? 0
  const tiles = new Tiles({
    dir: join(chainDir, 'tiles'),
    entries: (from, to) => core.entries(from, to),
    onFault: ({ file, index }) =>
      healer.derivedAnew({ code: 'tile-damaged', chain, height: heightOf(index), index, file }),
  })
  const reader = new ChainReader({
    core,
    tiles,
    readStored: (height) => core.readBlock(height),
    heal: (fault) => healer.repairBlock(chain, fault),
  })
  const anchor = (): { size: number; root: Uint8Array } | undefined => cores.userchain.published()
  const onDocchain = chain === 'docchain' ? { anchor } : {}
  const ledger = new GatewayLedger({ ledger: cores.ledger, chain, nowMs: clock.nowMs, ...onDocchain })
  const signer = new AnswerSigner({ core, ledgerId, account, nodeKey: config.secrets.node, ...onDocchain })
  const outbox = new Outbox(join(chainDir, 'outbox.db'))
  const gateway = new Gateway({ core, ledger, outbox, signer, ledgerId, clock, logger, metrics: gatewayMetrics })
  return { core, gateway, reader, state: new StateQuery(reader, past) } satisfies ChainParts
}

/** The derived state of the head, once it was made anew, against the SEAL. */
function isStateGood(cores: NodeCores, chain: ChainName): boolean {
  const { height, stateRoot } = cores[chain].head()
  const seal = cores[chain].readBlock(height)?.at(-1)
  return seal !== undefined && equalBytes(parseSealLeaf(seal).st, stateRoot)
}

/** Joins the parts into a node. */
function joinNode(
  parts: Parts,
  opened: {
    incidents: IncidentLog
    world: World
    closures: Closures
    successions: Successions
    ownUrl: () => string | undefined
  },
): AccountingNode {
  const { config, cores, account, logger, metrics } = parts
  const { settings, secrets, genesis } = config
  const gatewayMetrics = createGatewayMetrics(metrics)
  const chains = {
    userchain: openChain(parts, 'userchain', gatewayMetrics),
    docchain: openChain(parts, 'docchain', gatewayMetrics),
  }
  observeChains(metrics, chains, () => opened.incidents.openCount)
  const readers = { userchain: chains.userchain.reader, docchain: chains.docchain.reader }
  const witnesses = openWitnesses({ config, readers, trail: cores.trail, clock: parts.clock, logger, metrics })
  return {
    genesis,
    account,
    logKeys: {
      userchain: secrets.chains.userchain.log.publicKey,
      docchain: secrets.chains.docchain.log.publicKey,
    },
    peer: cores.peer,
    trail: cores.trail,
    organisation: { account: config.organisation, op: secrets.organisationOp },
    adminSecret: secrets.admin,
    chains,
    receipts: new Receipts({ genesis, trail: cores.trail, readers, closures: opened.closures, witnesses }),
    incidents: opened.incidents,
    evidence: new EvidenceKeeper({
      path: join(settings.dir, 'evidence.db'),
      chains,
      organisation: { account: config.organisation, op: secrets.organisationOp },
      nowMs: parts.clock.nowMs,
      onFault: (error) => backgroundFailed(logger, 'evidence', error),
    }),
    successions: opened.successions,
    directory: new Directory(join(settings.dir, 'directory.db')),
    ...openOverview({
      ...{ config, clock: parts.clock, peers: opened.world.peers, ownUrl: opened.ownUrl },
      ...{ ownRank: () => cores.peer(account)[0]?.rank, isMember: cores.isMember, witnesses },
    }),
    witnesses,
    past: parts.past,
    logger,
    nowMs: parts.clock.nowMs,
    clockSkewMs: () => opened.world.network.clockSkewMs(),
    pulse: new PeerPulse({ network: opened.world.network, clock: parts.clock, cores, account }),
    async queueFault() {
      try {
        await Promise.all(chainNames.map((chain) => opened.world.queues[chain].ping()))
        return undefined
      } catch {
        return 'the intake queue does not answer'
      }
    },
  }
}

interface Opened {
  readonly node: AccountingNode
  readonly world: World
  readonly stores: StateStores
  readonly cores: NodeCores
  readonly incidents: IncidentLog
  readonly healer: Healer
  readonly closures: Closures
  readonly metrics: Registry
  /** Where the node listens, once it does. */
  readonly address: { url?: string }
  /** Faults met while files are opened. */
  readonly early: EarlyFaults
}

/** Opens the files and ports of a node, and joins its parts; nothing runs yet. */
async function openNode(config: AccountingConfig, hooks: NodeHooks): Promise<Opened> {
  const { settings, secrets, genesis } = config
  const { logger } = hooks
  const { account } = config
  let accountOf: (rank: number) => Uint8Array | undefined = () => undefined
  const genesisFile = settings.genesisFile ?? join(settings.dir, 'genesis.cbor')
  const successions = new Successions({ dir: settings.dir, genesis, genesisFile })
  const world = openWorld(config, (rank) => accountOf(rank), logger)
  const early = new EarlyFaults()
  const stores = new StateStores(settings.dir, early)
  const metrics = new Registry()
  const coreMetrics = createCoreMetrics(metrics, world.clock.elapsedMs)
  let node: AccountingNode | undefined
  const tell = coreTeller(logger, world.clock.elapsedMs)
  const observe = (event: CoreEvent): void => {
    tell(event)
    if (event.kind === 'evidence') node?.evidence.keep(event.evidence)
    coreMetrics.observe(event)
    if (event.kind === 'halted') hooks.onHalted(event.error)
    if (event.kind === 'damaged') early.addDamage(event)
  }
  const disk = (chain: ChainName) =>
    openFileDisk(join(settings.dir, chain), (seconds) => coreMetrics.synced(chain, seconds))
  const cores = await openCores({
    genesis: genesis.bytes,
    account,
    nodeKey: secrets.node,
    chainKeys: secrets.chains,
    clock: world.clock,
    disks: { userchain: disk('userchain'), docchain: disk('docchain') },
    queues: world.queues,
    register: world.register,
    network: world.network,
    observe,
    workers: world.workers,
    openStore: stores.openStore,
    isEnded: () => successions.endedBy !== undefined,
    ...(settings.faultCensor === undefined ? {} : { faultCensor: new Set(settings.faultCensor.split(',')) }),
  })
  accountOf = cores.accountOf
  addLostFiles(early, settings.dir, cores)
  const incidents = new IncidentLog({
    path: join(settings.dir, 'incidents.log'),
    ledgerId: genesis.ledgerId,
    account,
    nodeKey: secrets.node,
    nowMs: world.clock.nowMs,
  })
  const healer = new Healer({ cores, incidents, logger })
  const closures = new Closures({
    core: cores.userchain,
    path: join(settings.dir, 'userchain', 'closures.db'),
    fetchReceipt: receiptFetcher(world.peers),
  })
  const address: { url?: string } = {}
  const past = new PastStates({ genesisFile, dir: settings.dir })
  node = joinNode(
    { config, cores, healer, metrics, account, logger, clock: world.clock, past },
    { incidents, world, closures, successions, ownUrl: () => address.url },
  )
  early.attach({ healer, cores })
  return { node, world, stores, cores, incidents, healer, closures, metrics, address, early }
}

/** Replays what must be replayed and takes part. */
async function joinLedger({ node, cores, healer, closures, early }: Opened): Promise<void> {
  const { userchain, docchain } = node.chains
  closures.attach()
  for (const { reader } of [userchain, docchain]) reader.attach()
  node.pulse.start()
  await cores.start()
  for (const incident of early.incidents()) if (isStateGood(cores, incident.chain)) healer.healed(incident)
  for (const { reader } of [userchain, docchain]) await reader.start()
  for (const { gateway } of [userchain, docchain]) gateway.start()
  node.evidence.start()
  node.events.attach(node)
  node.witnesses.start()
}

function startSelfCheck({ node, world, stores, healer }: Opened, dir: string, hooks: NodeHooks): SelfCheck {
  const { userchain, docchain } = node.chains
  const check = new SelfCheck({
    readers: { userchain: userchain.reader, docchain: docchain.reader },
    stores: stores.opened,
    healer,
    logger: hooks.logger,
    clock: world.clock,
    onDerivedDamaged: (chain) => {
      markForRebuild(dir, chain)
      hooks.onDerivedDamaged()
    },
  })
  check.start()
  return check
}

/** Stops what `joinLedger` started and closes what `openNode` opened, those first that use the others. */
async function closeNode({ node, world, stores, cores, incidents, closures }: Opened): Promise<void> {
  const { userchain, docchain } = node.chains
  await node.audits.stop()
  node.past.stop()
  node.events.close()
  await node.witnesses.stop()
  await node.pulse.stop()
  await node.evidence.close()
  for (const { gateway } of [userchain, docchain]) await gateway.stop()
  for (const { reader } of [userchain, docchain]) reader.stop()
  await cores.stop()
  for (const queue of Object.values(world.queues)) await queue.close()
  world.network.close()
  world.register.close()
  await world.workers.close()
  closures.close()
  await stores.close()
  node.directory.close()
  incidents.close()
}

/**
 * Opens a node's files, replays what must be replayed, takes part, and listens.
 *
 * @throws {RuntimeError} `ERR_FOLDER_LOCKED`, `ERR_PORT_IN_USE`, …; {AccountingError} as its parts.
 */
export async function startNode(config: AccountingConfig, hooks: NodeHooks): Promise<RunningNode> {
  const { settings, genesis } = config
  const lock = lockFolder(settings.dir)
  keepGenesis(settings.dir, genesis.bytes)
  for (const chain of chainNames) ensureFolder(join(settings.dir, chain))
  const opened = await openNode(config, hooks)
  await joinLedger(opened)
  const { node } = opened
  const app = await createApp(node, { ...settings, metrics: opened.metrics })
  const address = await app.listen({ host: settings.host, port: settings.port, dir: settings.dir })
  opened.address.url = address.url
  node.audits.start()
  const check = startSelfCheck(opened, settings.dir, hooks)
  nodeStarted(hooks.logger, { url: address.url, name: config.name, ledger: toHex(genesis.ledgerId) })
  return {
    node,
    app,
    url: address.url,
    port: address.port,
    async stop() {
      await app.stop()
      await check.stop()
      await closeNode(opened)
      lock.release()
    },
  }
}
