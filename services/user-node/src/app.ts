/** Builds a user node from its parts. `main.ts` starts and stops it; tests import this. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder } from '@healthblock/runtime/files'
import { type FollowedBlock, LedgerFollower } from '@healthblock/runtime/follower'
import { type Address, createHttpApp, type HttpApp } from '@healthblock/runtime/http-app'
import { isoOf, ledgerStandingOf } from '@healthblock/runtime/ledger-standing'
import { LedgerWatch } from '@healthblock/runtime/ledger-watch'
import type { Logger } from '@healthblock/runtime/logger'
import { Outbox, type OutboxEntry } from '@healthblock/runtime/outbox'
import { PortalCookie } from '@healthblock/runtime/portal-access'
import { servePortal } from '@healthblock/runtime/portal-files'
import { guardPortalNames } from '@healthblock/runtime/portal-names'
import { SecondFactors } from '@healthblock/runtime/second-factor'
import type { Database } from '@healthblock/runtime/sqlite'
import { addStatementRoute } from '@healthblock/runtime/statement-routes'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import type { UserNodeConfig, UserNodeSecrets } from './config.ts'
import { Consent } from './consent/consent.ts'
import { Erasures } from './consent/erasure.ts'
import { Settlement } from './consent/settlement.ts'
import { statusOfCode, UserNodeError } from './errors.ts'
import { UserNodeEvents } from './events.ts'
import { Downloads } from './files/downloads.ts'
import { Reclaim } from './files/reclaim.ts'
import { Uploads } from './files/uploads.ts'
import { createLedgerView } from './follower-view.ts'
import { Household } from './household.ts'
import { Contacts } from './people/contacts.ts'
import { Devices } from './people/devices.ts'
import { LedgerReaders } from './people/ledger-reader.ts'
import { OpStanding } from './people/op-standing.ts'
import { People } from './people/people.ts'
import { Rehearsals } from './people/rehearsal.ts'
import { Rekeys } from './people/rekey.ts'
import { VaultFactors } from './people/second-factor.ts'
import { Sessions } from './people/sessions.ts'
import { Diagnoses } from './reading/diagnoses.ts'
import { ErasureViews } from './reading/erasure-views.ts'
import { ExportProgress } from './reading/export-progress.ts'
import { FetchEvidence } from './reading/fetch-evidence.ts'
import { FhirExport } from './reading/fhir-export.ts'
import { Looks } from './reading/looks.ts'
import { Measurements } from './reading/measurements.ts'
import { Receipts } from './reading/receipts.ts'
import { Access } from './routes/access.ts'
import { registerConsentRoutes } from './routes/consent-routes.ts'
import { registerContactRoutes } from './routes/contact-routes.ts'
import { registerDisclosureRoutes } from './routes/disclosure-routes.ts'
import { registerErasureRoutes } from './routes/erasure-routes.ts'
import { registerEventRoutes } from './routes/events-routes.ts'
import { registerExportRoutes } from './routes/export-routes.ts'
import { registerFetchRoutes } from './routes/fetch-routes.ts'
import { registerFileRoutes } from './routes/file-routes.ts'
import { registerListRoutes } from './routes/list-routes.ts'
import { registerLookRoutes } from './routes/look-routes.ts'
import { registerPeopleRoutes, registerSessionRoutes } from './routes/people-routes.ts'
import { registerPortalRoutes } from './routes/portal-routes.ts'
import { registerProofRoutes } from './routes/proof-routes.ts'
import { registerReadingRoutes } from './routes/reading-routes.ts'
import { registerSecurityRoutes } from './routes/security-routes.ts'
import { registerStreamRoutes } from './routes/stream-routes.ts'
import { Alarms } from './sealing/alarms.ts'
import { Delivery } from './sealing/delivery.ts'
import { SealingGate } from './sealing/gate.ts'
import { Losses } from './sealing/losses.ts'
import { RecordJobs } from './sealing/record.ts'
import { Samples } from './sealing/samples.ts'
import { Sealer } from './sealing/sealer.ts'
import { Switches } from './sealing/switches.ts'
import type { Services } from './services.ts'
import { loadWrappingKey } from './store/hot-key.ts'
import { openNodeDatabase } from './store/node-db.ts'
import { type Person, PersonStore, type PersonStream } from './store/person.ts'
import { Postings } from './store/postings.ts'

/** A user node. */
export interface UserNode {
  readonly services: Services
  listen(): Promise<Address>
  stop(): Promise<void>
}

const refreshTimeoutMs = 10_000
const drainPollMs = 20
const enrolmentPollMs = 100
const looksEveryMs = 15_000
/** What is larger, samples and files, comes by routes that say so. */
const nodeBodyBytesMax = 64 * 1024

function createFollower(config: UserNodeConfig, logger: Logger, readers: () => LedgerReaders): LedgerFollower {
  const sources = new Map<string, () => string>()
  const follower: LedgerFollower = LedgerFollower.open({
    dir: join(config.dir, 'ledger'),
    genesis: config.ledger.genesis,
    urls: config.ledger.accounting,
    logger: logger.child({ part: 'follower' }),
    token: () => {
      const reader = readers().choose()
      if (reader === undefined)
        throw new UserNodeError('nobody of this house is enrolled yet', { code: 'ERR_PERSON_PENDING', person: '' })
      const { person, signingKey, name } = reader
      let source = sources.get(name)
      if (source === undefined) {
        source = createTokenSource({
          ledgerId: follower.ledger.ledgerId,
          account: person.account,
          keyNumber: 1,
          signingKey,
          scope: 'ledger',
        })
        sources.set(name, source)
      }
      return source()
    },
  })
  return follower
}

function createStorageOf(
  config: UserNodeConfig,
  follower: LedgerFollower,
  store: PersonStore,
): (account: Uint8Array) => StorageClient {
  const clients = new Map<string, StorageClient>()
  return (account) => {
    const { opKey } = store.find(toHex(account))
    // Another key, another client.
    const id = `${toHex(account)} ${toHex(opKey.publicKey)}`
    let client = clients.get(id)
    if (client === undefined) {
      const { ledgerId } = follower.ledger
      client = new StorageClient({
        urls: config.ledger.storage,
        ledgerId,
        token: createTokenSource({ ledgerId, account, keyNumber: 1, signingKey: opKey, scope: 'storage' }),
        storeKeyOf: follower.storeKeyOf,
        erasing: { account, key: 1, signingKey: opKey },
        // A network of one store has one copy to sign for.
        receiptsNeeded: Math.min(2, follower.ledger.policy('userchain').stores.length),
      })
      clients.set(id, client)
    }
    return client
  }
}

interface Built extends Services {
  readonly follower: LedgerFollower
  readonly outbox: Outbox
  readonly household: Household
  readonly postings: Postings
  readonly delivery: Delivery
}

type Foundations = Pick<Services, 'database' | 'store' | 'ledger' | 'events' | 'alarms' | 'nowMs' | 'stopping'> & {
  readonly config: UserNodeConfig
  readonly logger: Logger
  readonly follower: LedgerFollower
  readonly readers: LedgerReaders
  readonly postings: Postings
  readonly standing: OpStanding
  readonly storageOf: (account: Uint8Array) => StorageClient
}

/** Files, ledger, storage: what everything else stands on. */
function layFoundations(config: UserNodeConfig, logger: Logger, stopping: AbortSignal): Foundations {
  const nowMs = Date.now
  const database = openNodeDatabase(join(config.dir, 'node.db'))
  const store = new PersonStore(database, loadWrappingKey(config.dir, database))
  const follower = createFollower(config, logger, () => readers)
  const ledger = createLedgerView(follower.ledger, nowMs)
  const readers = new LedgerReaders({ people: () => store.all(), ledger, isTurnedAway: follower.isTurnedAway })
  const events = new UserNodeEvents(logger.child({ part: 'events' }))
  const alarms = new Alarms({ database, events })
  return {
    ...{ config, logger, stopping, nowMs, database, store, follower, readers, ledger, events, alarms },
    standing: new OpStanding({ ledger, alarms, nowMs }),
    postings: new Postings(database),
    storageOf: createStorageOf(config, follower, store),
  }
}

/** People and their consent. */
function buildConsent(base: Foundations, flush: (person: Person, stream: PersonStream) => void) {
  const { config, database, store, postings, ledger, standing, events, nowMs, logger, follower } = base
  const consent = new Consent({ database, people: store, postings, ledger, standing, events, nowMs })
  const { dir, idleMs } = config
  const sessions = new Sessions({ dir, consent, nowMs, idleMs })
  const rekeys = new Rekeys({ database, store, postings, ledger, consent, sessions, nowMs })
  return {
    consent,
    people: new People({ dir, database, nowMs, store, postings, ledger }),
    settlement: new Settlement({
      dir,
      database,
      nowMs,
      people: store,
      client: follower.client,
      events,
      logger,
      consent,
    }),
    sessions,
    rekeys,
    devices: new Devices({ database, store, postings, ledger, nowMs }),
    erasures: new Erasures({ database, people: store, postings, ledger, standing, consent, sessions, flush, nowMs }),
  }
}

type OnSettled = Readonly<Record<string, (person: Person, entry: OutboxEntry) => void>>

/** From samples to the ledger: `onSettled` has who is told of a type's transactions that are final. */
function buildDelivery(base: Foundations, onSettled: OnSettled, wake: () => void) {
  const { config, database, store, postings, ledger, alarms, standing, nowMs, logger, follower, storageOf, stopping } =
    base
  const { periodMs } = config
  const samples = new Samples(database, nowMs, () => follower.freshness('userchain').cosignedMs)
  const sealer = new Sealer({ database, samples, ledger, periodMs, nowMs })
  const losses = new Losses({ database, ledger, samples, alarms, logger, nowMs })
  const switches = new Switches({ database, samples, sealer, losses, alarms, periodMs, nowMs })
  const outbox = new Outbox({
    dir: config.dir,
    ledgerId: ledger.ledgerId,
    client: follower.client,
    logger: logger.child({ part: 'outbox' }),
    onFinished: (entry) => {
      delivery.settle(entry)
      wake()
    },
  })
  const onFinal = (posting: { what: string; account: Uint8Array }, entry: OutboxEntry): void => {
    const person = store.byAccount(posting.account)
    if (person !== undefined && Object.hasOwn(onSettled, posting.what)) onSettled[posting.what]?.(person, entry)
  }
  const delivery = new Delivery({
    database,
    people: store,
    postings,
    outbox,
    storageOf,
    ledger,
    losses,
    standing,
    logger,
    nowMs,
    onFinal,
  })
  const deliver = (): Promise<void> => delivery.step()
  const jobs = new RecordJobs({ database, samples, sealer, deliver, periodMs, nowMs, stopping })
  const reclaim = new Reclaim({ database, storageOf, logger, nowMs })
  const uploads = new Uploads({ database, ledger, losses, reclaim, storageOf, nowMs })
  const downloads = new Downloads({ database, ledger, storageOf })
  return {
    samples,
    sealer,
    losses,
    gate: new SealingGate(),
    switches,
    outbox,
    delivery,
    jobs,
    reclaim,
    uploads,
    downloads,
  }
}

function build(config: UserNodeConfig, secrets: UserNodeSecrets, logger: Logger, stopping: AbortSignal): Built {
  const base = layFoundations(config, logger, stopping)
  const { database, store, postings, follower } = base
  const consenting = buildConsent(base, (person, stream) => {
    while (delivering.sealer.seal(person, stream, true) > 0);
  })
  const { people, settlement, sessions, erasures } = consenting
  const onSettled: OnSettled = {
    key: (person, entry) => {
      settlement
        .settle(person, entry)
        .catch((error: unknown) => logger.error({ err: error }, 'a key transaction could not be settled'))
    },
    erase: (person, entry) => erasures.settle(person, entry),
  }
  const wake = (): void => household.wake()
  const cookie = new PortalCookie(secrets.apiSecret)
  const delivering = buildDelivery(base, onSettled, wake)
  const { delivery, outbox } = delivering
  const viewing = buildViews(base, sessions)
  const refresh = (): Promise<boolean> => catchUp(base, stopping)
  const { isTurnedAway } = follower
  const parts = { ...base, ...consenting, ...delivering, ...viewing, refresh, isTurnedAway }
  const household = new Household(parts)
  return {
    ...parts,
    household,
    wake,
    cookie,
    access: new Access({ apiSecret: secrets.apiSecret, sessions, people, store, cookie }),
    standingOf: (person) => ({
      ...ledgerStandingOf(follower.freshness('userchain'), base.nowMs()),
      unstoredSince: isoOf(delivery.unstoredSinceMs(person.account)),
    }),
    confirm: (person, signature) => {
      people.confirm(person, signature, sponsorKeyOf(follower, database, person))
      wake()
    },
    transaction: (person, id) => transactionState(database, postings, outbox, person, id),
    drain: (timeoutMs) => drain(delivery, household, timeoutMs),
  }
}

/** Catches up with the published ledgers, with whoever's key of the house is taken; true if nothing is left. */
async function catchUp({ follower, readers, logger }: Foundations, stopping: AbortSignal): Promise<boolean> {
  const signal = AbortSignal.any([stopping, AbortSignal.timeout(refreshTimeoutMs)])
  for (let keys = readers.candidates().length; ; keys--) {
    try {
      await follower.catchUp({ signal })
      return true
    } catch (error) {
      logger.debug({ err: error }, 'the ledger is out of reach')
      // Turned away with one key, it may be read with the next one's.
      if (keys <= 1 || !follower.isTurnedAway()) return false
    }
  }
}

/** What the portal shows beyond the lists, and how it is guarded. */
function buildViews(base: Foundations, sessions: Sessions) {
  const { config, database, store, ledger, follower, storageOf, events, alarms, logger, nowMs, stopping } = base
  const urls = config.ledger.storage
  const { client } = follower
  const measurements = new Measurements({ database, ledger, logger, storageOf })
  const diagnoses = new Diagnoses({ database, people: store, storageOf, ledger, events, logger, nowMs })
  return {
    ...{ measurements, diagnoses },
    fhirExport: new FhirExport({ database, ledger, measurements, diagnoses, nowMs }),
    exportProgress: new ExportProgress(),
    erasureViews: new ErasureViews({ database, ledger, storageOf, urls, logger, nowMs }),
    contacts: new Contacts({ database, ledger, client, urls: config.ledger.accounting, nowMs }),
    factors: new SecondFactors({ nowMs }),
    vaultFactors: new VaultFactors({ database, sessions }),
    rehearsals: new Rehearsals({ database, sessions, nowMs }),
    looks: new Looks({ database, people: store, ledger, storageOf, urls, alarms, events, logger, nowMs, stopping }),
    receipts: new Receipts({ dir: config.dir, database, client }),
    fetchEvidence: new FetchEvidence({ storageOf, urls: config.ledger.storage, logger }),
    genesis: config.ledger.genesis,
  }
}

/** The sponsor's op key: from the verified ledger, or from genesis while nobody of the house may read the ledger. */
function sponsorKeyOf(follower: LedgerFollower, database: Database, person: Person): Uint8Array {
  const row = database.get('SELECT sponsor FROM person WHERE account = ?', person.account)
  const key = follower.keyOf(row?.sponsor as Uint8Array, 1)
  if (key === undefined)
    throw new UserNodeError('the sponsor is not known to this ledger', { code: 'ERR_SIGNATURE_WRONG' })
  return key
}

function transactionState(database: Database, postings: Postings, outbox: Outbox, person: Person, id: string) {
  const tx = fromHex(id)
  const posting = postings.find(person.account, tx)
  if (posting === undefined) return undefined
  const entry = outbox.find(tx)
  const isKey = database.get('SELECT recorded FROM consent WHERE tx = ?', tx)
  if (entry?.status === 'refused') return { status: 'refused', refusal: { rule: entry.rule } }
  // A `key` counts as recorded once this node has settled it: the receipt's file is there by then.
  const isSettled = isKey === undefined || isKey.recorded !== null
  const receipt = entry?.status === 'committed' && isSettled ? entry.receiptPath : undefined
  // Of what it finished an outbox knows nothing whose file was lost since.
  const status = entry?.status ?? (posting.state === 'pending' ? 'waiting' : posting.state)
  return { status, ...(receipt === undefined ? {} : { receipt }) }
}

async function drain(delivery: Delivery, household: Household, timeoutMs: number): Promise<number> {
  const deadline = performance.now() + timeoutMs
  while (delivery.pending() > 0 && performance.now() < deadline) {
    await household.round()
    // A round may have nothing to do but wait for the network, which needs the event loop.
    await delay(drainPollMs)
  }
  return delivery.pending()
}

/** The node's watch over Docchain. */
function docchainWatch({ database, follower, diagnoses, household }: Built, logger: Logger): LedgerWatch {
  const cursor = (): Uint8Array | undefined =>
    database.get("SELECT value FROM cursor WHERE name = 'docchain'")?.value as Uint8Array | undefined
  const onBlock = (block: FollowedBlock): void => {
    database.transaction(() => {
      for (const placed of block.transactions) diagnoses.see({ ...placed, ms: block.seal.ms })
      database.run("INSERT OR REPLACE INTO cursor (name, value) VALUES ('docchain', ?)", block.cursor)
    })
    if (block.transactions.length > 0) household.wake()
  }
  return new LedgerWatch({ chain: 'docchain', follower, cursor, onBlock, logger })
}

/** Waits until somebody of the house may read the ledger, then follows it. */
async function followWhenEnrolled(built: Built, watch: LedgerWatch, signal: AbortSignal): Promise<void> {
  const { store, postings, outbox } = built
  // The outbox's file may have been lost since the registration.
  const isRegistered = ({ account }: Person): boolean =>
    postings.find(account, account)?.state === 'committed' || outbox.find(account)?.status === 'committed'
  while (!store.all().some(isRegistered)) {
    await delay(enrolmentPollMs, undefined, { signal }).catch(() => {})
    if (signal.aborted) return
  }
  built.follower.start()
  await watch.run(signal)
}

/** Asks the storage nodes who looked, apart from the household's rounds: one that does not answer holds up nothing. */
async function watchLooks({ looks }: Built, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    await looks.gatherAll()
    await delay(looksEveryMs, undefined, { signal }).catch(() => {})
  }
}

/** Opens everything in `config.dir`; nothing listens yet. */
export async function createUserNode(options: {
  config: UserNodeConfig
  secrets: UserNodeSecrets
  logger: Logger
}): Promise<UserNode> {
  const { config, secrets, logger } = options
  ensureFolder(config.dir)
  const running = new AbortController()
  const built = build(config, secrets, logger, running.signal)
  const watch = docchainWatch(built, logger)
  const app: HttpApp = await createHttpApp({
    name: 'HealthBlock user node',
    version: '0.1.0',
    logger,
    statusOfCode,
    bodySizeBytesMax: nodeBodyBytesMax,
    readiness: () => watch.readiness(built.follower.readiness()),
    trustedProxies: config.trustedProxies,
  })
  guardPortalNames(app.fastify, config.portalNames ?? [])
  servePortal(app.fastify, { dir: config.webDir, portal: 'patient' })
  built.access.guard(app.fastify)
  registerPortalRoutes(app.fastify, built)
  registerPeopleRoutes(app.fastify, built)
  registerSessionRoutes(app.fastify, built)
  registerListRoutes(app.fastify, built)
  registerStreamRoutes(app.fastify, built)
  registerConsentRoutes(app.fastify, built)
  registerDisclosureRoutes(app.fastify, built)
  registerErasureRoutes(app.fastify, built)
  registerFileRoutes(app.fastify, built)
  registerProofRoutes(app.fastify, built)
  registerFetchRoutes(app.fastify, built)
  registerExportRoutes(app.fastify, built)
  registerContactRoutes(app.fastify, built)
  registerSecurityRoutes(app.fastify, built)
  registerReadingRoutes(app.fastify, built)
  registerLookRoutes(app.fastify, built)
  registerEventRoutes(app.fastify, built)
  addStatementRoute(app.fastify, built.outbox, async (request) => built.access.requireApiSecret(request))
  let work: Promise<unknown> = Promise.resolve()
  return {
    services: built,
    async listen() {
      built.delivery.reconcile()
      built.outbox.start()
      const { signal } = running
      const watches = [followWhenEnrolled(built, watch, signal), watchLooks(built, signal)]
      work = Promise.all([built.household.run(signal), ...watches])
      return app.listen({ host: config.host, port: config.port, dir: config.dir })
    },
    async stop() {
      running.abort()
      await app.stop()
      await work
      built.sessions.closeAll()
      await built.outbox.close()
      await built.follower.close()
      built.database.close()
    },
  }
}
