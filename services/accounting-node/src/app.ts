/** The HTTP application of a node, built from its parts. */

import { chainNames } from '@healthblock/chain/chains'
import { toHex } from '@healthblock/encoding/bytes'
import { createHttpApp, type HttpApp, type ReadinessCheck } from '@healthblock/runtime/http-app'
import { PortalCookie } from '@healthblock/runtime/portal-access'
import { PortalAccounts } from '@healthblock/runtime/portal-accounts'
import { servePortal } from '@healthblock/runtime/portal-files'
import { guardPortalNames } from '@healthblock/runtime/portal-names'
import {
  addPortalAccountRoute,
  addPortalFactorRoutes,
  addPortalSessionRoutes,
} from '@healthblock/runtime/portal-routes'
import type { Registry } from 'prom-client'
import { statusOfCode } from './errors.ts'
import { FolderCheck } from './folder-check.ts'
import type { AccountingNode } from './node.ts'
import { createAccess, portalRoles } from './routes/access.ts'
import { addAdministrationRoutes } from './routes/administration.ts'
import { addAuditRoutes } from './routes/audits.ts'
import { addBlockRoutes } from './routes/blocks.ts'
import { addExplorerRoutes } from './routes/explorer.ts'
import { addLogRoutes } from './routes/log.ts'
import { addOverviewRoutes } from './routes/overview.ts'
import { createPeerGuard, registerPeerRoutes } from './routes/peer.ts'
import { addPeopleRoutes } from './routes/people.ts'
import { addStateRoutes } from './routes/state.ts'
import { addSuccessionRoutes } from './routes/successions.ts'
import { addTransactionRoutes } from './routes/transactions.ts'
import { addWitnessRoutes } from './routes/witnesses.ts'

/** Largest difference from the median of the peers' clocks at which a node is ready. */
const clockSkewMsMax = 2_000
/** A note whose quorum is older is stale to readers: they ask another node. */
const cosignedAgeMsMax = 150_000

/** What is larger, submissions, successions and messages of nodes, comes by routes that say so. */
const bodySizeBytesMax = 64 * 1024

/** Whether work may be sent to this node. */
async function readiness(node: AccountingNode, folder: FolderCheck): Promise<ReadinessCheck[]> {
  const checks: ReadinessCheck[] = []
  const ended = node.successions.endedBy
  const add = (name: string, reason: string | undefined): void => {
    checks.push(reason === undefined ? { name, ready: true } : { name, ready: false, reason })
  }
  add('ledger', ended === undefined ? undefined : `ledger ${toHex(ended.successor.ledgerId)} carries this one on`)
  for (const chain of chainNames) {
    const { core, reader } = node.chains[chain]
    const { halted, registerReachable, clockSkewMs, cosignedAgeMs, takesPart, behindLeaves, heardPeers } = core.status()
    const published = core.published()
    add(`${chain} running`, halted === undefined ? undefined : `halted: ${halted}`)
    add(`${chain} register`, registerReachable ? undefined : 'the head register does not answer')
    const isCurrent = published !== undefined && published.size <= core.head().size && reader.published !== undefined
    add(`${chain} published`, isCurrent ? undefined : 'the published head is not applied')
    add(`${chain} caught up`, behindLeaves === 0 ? undefined : `${behindLeaves} decided entries are not applied`)
    add(`${chain} peers`, heardPeers ? node.pulse.fault(chain) : 'too few peers have answered since the start')
    add(`${chain} member`, takesPart ? undefined : 'this node, with these keys, is not in the policy in force')
    add(
      `${chain} cosigned`,
      cosignedAgeMs <= cosignedAgeMsMax ? undefined : 'a quorum has not renewed its cosignatures',
    )
    add(`${chain} clock`, clockSkewMs <= clockSkewMsMax ? undefined : `the clock is ${clockSkewMs} ms off`)
  }
  // Dates of answers are whole seconds, and an answer takes its time.
  const skewMs = node.clockSkewMs()
  add('clock', skewMs <= 2 * clockSkewMsMax ? undefined : `the clock is ${Math.round(skewMs / 1000)} s off the peers'`)
  add('queue', await node.queueFault())
  add('folder', await folder.fault())
  return checks
}

/** Builds the application with all routes; it does not listen yet. */
export async function createApp(
  node: AccountingNode,
  options: {
    metrics: Registry
    dir: string
    webDir: string
    trustedProxies?: readonly string[] | undefined
    portalNames?: readonly string[] | undefined
  },
): Promise<HttpApp> {
  const { metrics, dir, webDir, trustedProxies, portalNames = [] } = options
  const folder = new FolderCheck(dir)
  const app = await createHttpApp({
    name: 'accounting-node',
    version: '0.1.0',
    logger: node.logger,
    readiness: () => readiness(node, folder),
    statusOfCode,
    bodySizeBytesMax,
    metrics,
    trustedProxies,
  })
  guardPortalNames(app.fastify, portalNames)
  const cookie = new PortalCookie(node.adminSecret)
  const accounts = new PortalAccounts({ dir, nowMs: node.nowMs })
  const access = createAccess(node, { cookie, sessions: accounts })
  servePortal(app.fastify, { dir: webDir, portal: 'auditor' })
  addPortalSessionRoutes(app.fastify, {
    ...{ cookie, sessions: accounts, nowMs: node.nowMs },
  })
  addPortalFactorRoutes(app.fastify, { accounts, cookie })
  addPortalAccountRoute(app.fastify, { accounts, roles: Object.values(portalRoles), onRequest: access.administrator })
  addLogRoutes(app.fastify, node, access)
  addBlockRoutes(app.fastify, node, access, app.stopping)
  addTransactionRoutes(app.fastify, node, access, app.stopping)
  addStateRoutes(app.fastify, node, access)
  addAdministrationRoutes(app.fastify, node, access)
  addSuccessionRoutes(app.fastify, node)
  addPeopleRoutes(app.fastify, node, access)
  addAuditRoutes(app.fastify, node, access)
  addExplorerRoutes(app.fastify, node, access)
  addOverviewRoutes(app.fastify, node, access, app.stopping)
  addWitnessRoutes(app.fastify, node, access)
  const { userchain, docchain } = node.chains
  const guard = createPeerGuard({
    ledgerId: node.genesis.ledgerId,
    account: node.account,
    peer: node.peer,
    nowMs: node.nowMs,
  })
  registerPeerRoutes(app.fastify, { userchain: userchain.core, docchain: docchain.core }, guard)
  return app
}
