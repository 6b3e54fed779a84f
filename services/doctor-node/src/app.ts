/** Builds a doctor node from its parts. `main.ts` starts and stops it; tests import this. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf } from '@healthblock/runtime/errors'
import { ensureFolder } from '@healthblock/runtime/files'
import { type FollowedBlock, LedgerFollower } from '@healthblock/runtime/follower'
import { type Address, createHttpApp, type HttpApp } from '@healthblock/runtime/http-app'
import { isoOf, ledgerStandingOf } from '@healthblock/runtime/ledger-standing'
import { LedgerWatch } from '@healthblock/runtime/ledger-watch'
import type { Logger } from '@healthblock/runtime/logger'
import { Outbox, type OutboxEntry } from '@healthblock/runtime/outbox'
import { PortalCookie } from '@healthblock/runtime/portal-access'
import { PortalAccounts } from '@healthblock/runtime/portal-accounts'
import { servePortal } from '@healthblock/runtime/portal-files'
import { guardPortalNames } from '@healthblock/runtime/portal-names'
import {
  addPortalAccountRoute,
  addPortalFactorRoutes,
  addPortalSessionRoutes,
} from '@healthblock/runtime/portal-routes'
import { addStatementRoute } from '@healthblock/runtime/statement-routes'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import type { DoctorNodeConfig, DoctorNodeSecrets } from './config.ts'
import { statusOfCode } from './errors.ts'
import { DoctorNodeEvents } from './events.ts'
import { Identity } from './identity/identity.ts'
import { Alarms } from './judging/alarms.ts'
import { Judge } from './judging/judge.ts'
import { PatientLimits } from './judging/patient-limits.ts'
import { Reader } from './judging/reader.ts'
import { UnreadableReports } from './judging/unreadable.ts'
import { Worker } from './judging/worker.ts'
import { ByHand } from './posting/by-hand.ts'
import { Composer } from './posting/compose.ts'
import { Postings } from './posting/postings.ts'
import { AlarmSentences } from './reading/alarm-sentences.ts'
import { Experiments } from './reading/experiments.ts'
import { OpenedRecords } from './reading/opened-records.ts'
import { Petnames } from './reading/petnames.ts'
import { createAccess } from './routes/access.ts'
import { registerAlarmRoutes } from './routes/alarm-routes.ts'
import { registerChartRoutes } from './routes/chart-routes.ts'
import { registerDiagnosisRoutes } from './routes/diagnosis-routes.ts'
import { registerEventRoutes } from './routes/events-routes.ts'
import { registerIdentityRoutes } from './routes/identity-routes.ts'
import { registerLimitRoutes } from './routes/limit-routes.ts'
import { registerReadingRoutes } from './routes/reading-routes.ts'
import type { CaughtUp, Services, Standing } from './services.ts'
import { openNodeDatabase } from './store/node-db.ts'
import { DocchainWatch } from './watch/docchain-watch.ts'
import { Envelopes } from './watch/envelopes.ts'
import { Grants } from './watch/grants.ts'
import { UserchainWatch } from './watch/userchain-watch.ts'

/** A doctor node. */
export interface DoctorNode {
  readonly services: Services
  listen(): Promise<Address>
  stop(): Promise<void>
}

interface Built extends Services {
  readonly follower: LedgerFollower
  readonly outbox: Outbox
  readonly postings: Postings
  readonly watch: UserchainWatch
  readonly recorded: DocchainWatch
  readonly worker: Worker
}

const enrolmentPollMs = 100
const catchUpPollMs = 20
/** What a doctor writes is far smaller. */
const nodeBodyBytesMax = 64 * 1024

/** Tokens of the doctor's account, made anew when the node gets its doctor. */
function createTokens(follower: () => LedgerFollower, identity: () => Identity, scope: 'ledger' | 'storage') {
  let source: (() => string) | undefined
  return (): string => {
    const { account, op } = identity().requireDoctor()
    const { ledgerId } = follower().ledger
    source ??= createTokenSource({ ledgerId, account, keyNumber: 1, signingKey: op, scope })
    return source()
  }
}

function createStorage(config: DoctorNodeConfig, follower: LedgerFollower, token: () => string): () => StorageClient {
  let client: StorageClient | undefined
  return () => {
    client ??= new StorageClient({
      urls: config.ledger.storage,
      ledgerId: follower.ledger.ledgerId,
      token,
      storeKeyOf: follower.storeKeyOf,
      // A network of one store has one copy to sign for.
      receiptsNeeded: Math.min(2, follower.ledger.policy('userchain').stores.length),
    })
    return client
  }
}

function watchRecorded(
  parts: Omit<ConstructorParameters<typeof DocchainWatch>[0], 'freshness' | 'userchainSize'>,
  follower: LedgerFollower,
  watch: UserchainWatch,
): DocchainWatch {
  return new DocchainWatch({
    ...parts,
    freshness: () => follower.freshness('docchain'),
    userchainSize: async (size, signal) => {
      while (watch.size() < size && !signal.aborted) await delay(catchUpPollMs)
    },
  })
}

function build(config: DoctorNodeConfig, logger: Logger, stopping: AbortSignal, nowMs: () => number): Built {
  const database = openNodeDatabase(join(config.dir, 'node.db'))
  const tokens = (scope: 'ledger' | 'storage') =>
    createTokens(
      () => follower,
      () => identity,
      scope,
    )
  const follower: LedgerFollower = LedgerFollower.open({
    dir: join(config.dir, 'ledger'),
    genesis: config.ledger.genesis,
    urls: config.ledger.accounting,
    logger: logger.child({ part: 'follower' }),
    token: tokens('ledger'),
  })
  const { ledger } = follower
  const { ledgerId } = ledger
  const isUsed = database.get('SELECT 1 AS one FROM grants UNION ALL SELECT 1 FROM posting LIMIT 1') !== undefined
  const identity: Identity = new Identity({ dir: config.dir, ledger, isUsed, nowMs })
  const storage = createStorage(config, follower, tokens('storage'))
  const doctor = () => identity.requireDoctor()
  const events = new DoctorNodeEvents(logger.child({ part: 'events' }))
  const grants = new Grants({ database, ledger, nowMs })
  const envelopes = new Envelopes({ database, ledgerId, doctor, logger, nowMs })
  const composer = new Composer({ ledger, envelopes, doctor, nowMs })
  const postings = new Postings({ database, outbox: () => outbox, storage, composer, events, logger, nowMs })
  const alarms = new Alarms({ database, events, nowMs })
  const limits = new PatientLimits(join(config.dir, 'limits'))
  const { postIntervalMs } = config
  const parts = { database, ledger, grants, envelopes, composer, postings, alarms, limits, logger, nowMs }
  const judge = new Judge({ ...parts, postIntervalMs })
  const reader = new Reader({ database, grants, envelopes, storage, ledgerId, alarms, events, nowMs })
  const watch = new UserchainWatch({ database, grants, events, account: () => doctor().account })
  const recorded = watchRecorded(
    { database, postings, storage, logger, account: () => doctor().account },
    follower,
    watch,
  )
  const worker = new Worker({
    ...{ database, grants, reader, judge, postings, recorded, logger, nowMs },
    reports: new UnreadableReports({ database, grants, composer, postings, logger }),
    isReady: () => ['registered', 'licensed'].includes(identity.state()),
    settle: (entry) => settle(postings, judge, entry),
  })
  const outbox = new Outbox({
    dir: config.dir,
    ledgerId,
    client: follower.client,
    logger: logger.child({ part: 'outbox' }),
    onFinished: (entry) => {
      worker.settle(entry)
      worker.wake()
    },
  })
  const built = {
    ...{ identity, database, grants, alarms, limits, judge, envelopes, composer, events, stopping, nowMs },
    ...{ follower, outbox, postings, watch, recorded, worker },
    alarmSentences: new AlarmSentences({ database, composer, alarms }),
    byHand: new ByHand({ database, ledger, grants, composer, postings, nowMs }),
    experiments: new Experiments({ database, ledger, envelopes, grants, storage }),
    opened: new OpenedRecords({ database, grants, envelopes, storage, ledgerId }),
    petnames: new Petnames(database),
    epochMs: ledger.epochMs,
    wake: () => worker.wake(),
    standing: () => standingOf(follower, worker, nowMs()),
    register: (signature: Uint8Array): void =>
      void outbox.add([{ chain: 'userchain', leaf: identity.registration(signature), isAnew: true }]),
  }
  return { ...built, catchUp: (timeoutMs) => catchUp(built, logger, timeoutMs) }
}

function standingOf(follower: LedgerFollower, worker: Worker, nowMs: number): Standing {
  return { ...ledgerStandingOf(follower.freshness('userchain'), nowMs), unreadSince: isoOf(worker.unreadSinceMs()) }
}

/** The outbox's final word, and what it means for the patient's next diagnosis. */
function settle(postings: Postings, judge: Judge, entry: OutboxEntry): void {
  const row = postings.find(Buffer.from(entry.id, 'hex'))
  postings.settle(entry)
  if (row === undefined || row.what !== 'diagnosis' || Number(row.byhand) === 1) return
  const patient = row.patient as Uint8Array
  if (entry.status === 'committed') judge.goOn(patient)
  else judge.holdBack(patient)
}

/** Waits until everything that is published now was taken in and looked at once, or the time is over. */
async function catchUp(built: Omit<Built, 'catchUp'>, logger: Logger, timeoutMs: number): Promise<CaughtUp> {
  const { follower, watch, recorded, worker, stopping, identity } = built
  const signal = AbortSignal.any([AbortSignal.timeout(timeoutMs), stopping])
  const result = (): CaughtUp => ({
    userchain: follower.head('userchain').size,
    docchain: follower.head('docchain').size,
    pending: worker.pending(),
  })
  if (!['registered', 'licensed'].includes(identity.state())) return result()
  try {
    await follower.catchUp({ signal })
  } catch (error) {
    logger.debug({ code: codeOf(error) }, 'the ledger is out of reach')
  }
  const published = follower.head('userchain').size
  const isTakenIn = (): boolean => watch.size() >= published && recorded.isKnown()
  while (!isTakenIn() && !signal.aborted) await delay(catchUpPollMs)
  // The round that runs now may have begun before the last block was taken in; the one after it has not.
  const isOver = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
  for (let rounds = 0; rounds < 2 && !signal.aborted; rounds++) await Promise.race([worker.round(stopping), isOver])
  return result()
}

/** The node's watches over both chains. */
function ledgerWatches(
  { follower, watch, recorded, worker }: Built,
  logger: Logger,
  stopping: AbortSignal,
): LedgerWatch[] {
  const seeUserchain = (block: FollowedBlock): void => {
    if (watch.see(block)) worker.wake()
  }
  const seeDocchain = (block: FollowedBlock): Promise<void> => recorded.see(block, stopping)
  const parts = { follower, logger }
  return [
    new LedgerWatch({ ...parts, chain: 'userchain', cursor: () => watch.cursor(), onBlock: seeUserchain }),
    new LedgerWatch({ ...parts, chain: 'docchain', cursor: () => recorded.cursor(), onBlock: seeDocchain }),
  ]
}

/** Waits until the doctor may read the ledger, then follows it. */
async function followWhenEnrolled(built: Built, watches: readonly LedgerWatch[], signal: AbortSignal): Promise<void> {
  const { identity, outbox, follower } = built
  const isReadable = (): boolean => {
    const { doctor } = identity
    if (doctor === undefined) return false
    return identity.state() !== 'pending' || outbox.find(doctor.account)?.status === 'committed'
  }
  while (!isReadable()) {
    await delay(enrolmentPollMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
  }
  follower.start()
  await Promise.all(watches.map((watch) => watch.run(signal)))
}

/** Opens everything in `config.dir`; nothing listens yet. */
export async function createDoctorNode(options: {
  config: DoctorNodeConfig
  secrets: DoctorNodeSecrets
  logger: Logger
  /** Unix ms; the system's clock if absent. */
  nowMs?: () => number
}): Promise<DoctorNode> {
  const { config, secrets, logger } = options
  ensureFolder(config.dir)
  const running = new AbortController()
  const built = build(config, logger, running.signal, options.nowMs ?? Date.now)
  const watches = ledgerWatches(built, logger, running.signal)
  const app: HttpApp = await createHttpApp({
    name: 'HealthBlock doctor node',
    version: '0.1.0',
    logger,
    statusOfCode,
    readiness: () => watches.reduce((checks, watch) => watch.readiness(checks), built.follower.readiness()),
    bodySizeBytesMax: nodeBodyBytesMax,
    trustedProxies: config.trustedProxies,
  })
  guardPortalNames(app.fastify, config.portalNames ?? [])
  const nowMs = options.nowMs ?? Date.now
  const cookie = new PortalCookie(secrets.apiSecret)
  const accounts = new PortalAccounts({ dir: config.dir, nowMs })
  const access = createAccess({ apiSecret: secrets.apiSecret, cookie, sessions: accounts })
  app.fastify.addHook('onRequest', access.hook)
  servePortal(app.fastify, { dir: config.webDir, portal: 'doctor' })
  addPortalSessionRoutes(app.fastify, { cookie, sessions: accounts, nowMs })
  addPortalAccountRoute(app.fastify, { accounts, roles: ['doctor'] })
  addPortalFactorRoutes(app.fastify, { accounts, cookie })
  registerIdentityRoutes(app.fastify, built)
  registerReadingRoutes(app.fastify, built)
  registerLimitRoutes(app.fastify, built)
  registerDiagnosisRoutes(app.fastify, built)
  registerAlarmRoutes(app.fastify, built, access)
  registerChartRoutes(app.fastify, built)
  registerEventRoutes(app.fastify, built, access)
  addStatementRoute(app.fastify, built.outbox)
  let work: Promise<unknown> = Promise.resolve()
  return {
    services: built,
    async listen() {
      built.worker.reconcile()
      built.outbox.start()
      work = Promise.all([built.worker.run(running.signal), followWhenEnrolled(built, watches, running.signal)])
      return app.listen({ host: config.host, port: config.port, dir: config.dir })
    },
    async stop() {
      running.abort()
      await app.stop()
      await work
      await built.outbox.close()
      await built.follower.close()
      built.database.close()
    },
  }
}
