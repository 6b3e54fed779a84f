/** What the portal's page hears while it is open: that something changed, never what it says. Ids, codes and times only. */
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import type { AuditDesk } from '../audits/audit-desk.ts'
import type { ChainCore } from '../core/chain-core.ts'
import type { IncidentLog } from '../incidents/incident-log.ts'

/** An event of `GET /v1/events`. */
export type PortalEvent =
  | { readonly type: 'head'; readonly chain: ChainName; readonly height: number; readonly size: number }
  | { readonly type: 'incident'; readonly number: number; readonly code: string }
  | { readonly type: 'audit'; readonly number: number }

/** The names of the events. */
export const portalEventTypes = ['head', 'incident', 'audit'] as const

/** Blocks come many times a second: a page is told once in so long, for each chain. */
const headEveryMs = 1_000

/** What of a node is listened to. */
interface Heard {
  readonly chains: Readonly<Record<ChainName, { readonly core: Pick<ChainCore, 'onPublished' | 'published'> }>>
  readonly incidents: Pick<IncidentLog, 'onChange' | 'get'>
}

/** Hears of everything once, and tells every open page. */
export class PortalEvents {
  readonly #listeners = new Set<(event: PortalEvent) => void>()
  readonly #unsubscribe: (() => void)[] = []
  readonly #timers = new Map<ChainName, NodeJS.Timeout>()

  /** Begins to listen to the node. */
  attach(node: Heard): void {
    for (const chain of chainNames) {
      const { core } = node.chains[chain]
      this.#unsubscribe.push(core.onPublished(() => this.#headLater(chain, node)))
    }
    const { incidents } = node
    this.#unsubscribe.push(
      incidents.onChange((number) => this.send({ type: 'incident', number, code: incidents.get(number).code })),
    )
  }

  #headLater(chain: ChainName, node: Heard): void {
    if (this.#listeners.size === 0 || this.#timers.has(chain)) return
    const timer = setTimeout(() => {
      this.#timers.delete(chain)
      const published = node.chains[chain].core.published()
      if (published === undefined) return
      this.send({ type: 'head', chain, height: published.height, size: published.size })
    }, headEveryMs)
    this.#timers.set(chain, timer.unref())
  }

  /** Tells every open page. */
  send(event: PortalEvent): void {
    for (const listener of this.#listeners) listener(event)
  }

  /** Hears every event from now on; returns the function that ends it. */
  listen(listener: (event: PortalEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Ends listening to the node. */
  close(): void {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    for (const timer of this.#timers.values()) clearTimeout(timer)
  }
}

/** The listener that an audit desk tells. */
export function auditTeller(events: PortalEvents): ConstructorParameters<typeof AuditDesk>[0]['onChange'] {
  return (number) => events.send({ type: 'audit', number })
}
