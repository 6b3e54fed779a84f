/**
 * How every node of the consortium stands, as this one can learn it: each is asked for its heads, readiness and figures, and said with the
 * time at which it answered. Nothing is asked unless somebody looks.
 */
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { messageOf } from '@healthblock/runtime/errors'
import { unreachable } from '@healthblock/runtime/http-client'
import { Gauges } from './gauges.ts'

/** A node or store that answers later counts as out of reach. */
const timeoutMs = 3_000
/** Answers younger than this are given again: ten pages cost no more than one. */
const freshMs = 1_500
const answerSizeBytesMax = 1024 * 1024

/** One chain at one node. Seconds and counts as its metrics show them. */
interface ChainFigures {
  readonly height: number | null
  readonly size: number | null
  readonly appliedHeight: number | null
  readonly term: number | null
  /** Rank of the leader that it follows. */
  readonly leader: number | null
  readonly leads: boolean
  readonly signs: boolean
  readonly queue: number | null
  readonly pool: number | null
  readonly promised: number | null
  readonly cosignedAgeSeconds: number | null
  readonly anchorLagSeconds: number | null
  readonly clockSkewSeconds: number | null
  readonly behindLeaves: number | null
}

/** One accounting node. */
export interface NodeView {
  readonly rank: number
  readonly name: string
  readonly isSelf: boolean
  /** False of one that was removed, or is not in the policy yet: its address is known, and nothing depends on it. */
  readonly isMember: boolean
  /** When it last answered, Unix ms; null: never since this node started. What follows is as old as that. */
  readonly heard: number | null
  /** Why it does not answer now; null if it does. */
  readonly fault: string | null
  readonly ready: boolean | null
  readonly checks: readonly { readonly name: string; readonly ready: boolean; readonly reason?: string }[]
  readonly openIncidents: number | null
  readonly chains: Readonly<Record<ChainName, ChainFigures>> | null
}

/** One storage node. */
export interface StoreView {
  readonly name: string
  readonly heard: number | null
  readonly fault: string | null
  readonly blocks: number | null
  /** Copies that each block is to have. */
  readonly replicas: number | null
  /** Blocks with fewer, as its last repair found; null: it has not compared yet. */
  readonly below: number | null
  /** Copies that wait for a store that is away. */
  readonly handoffs: number | null
  /** Stores that it is connected with. */
  readonly peers: number | null
}

/** Everything. */
export interface NodesView {
  readonly now: number
  readonly nodes: readonly NodeView[]
  /** Null: this node was not told where storage nodes are. */
  readonly stores: readonly StoreView[] | null
}

/** What it needs. */
export interface NodesLookOptions {
  /** Nodes to ask, this one among them. */
  readonly nodes: () => readonly { readonly rank: number; readonly url: string; readonly isSelf: boolean }[]
  readonly isMember: (rank: number) => boolean
  readonly storage: readonly string[]
  readonly storageToken: () => string
  readonly nowMs: () => number
}

async function ask(url: string, path: string, token?: string): Promise<{ status: number; text: string }> {
  const response = await fetch(`${url}${path}`, {
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(timeoutMs),
    redirect: 'error',
  }).catch((error: unknown) => {
    throw unreachable(url, error)
  })
  if (Number(response.headers.get('content-length')) > answerSizeBytesMax) throw new Error('its answer is too large')
  return { status: response.status, text: await response.text() }
}

function whole(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}

function figuresOf(chain: ChainName, headText: string, gauges: Gauges): ChainFigures {
  const head = JSON.parse(headText) as { height?: unknown; size?: unknown; leader?: unknown }
  const of = (name: string): number | null => gauges.of(`accounting_${name}`, chain)
  return {
    height: whole(head.height),
    size: whole(head.size),
    appliedHeight: of('applied_height_blocks'),
    term: of('term'),
    leader: whole(head.leader),
    leads: of('leads') === 1,
    signs: of('signs') !== 0,
    queue: of('intake_jobs'),
    pool: of('pool_transactions'),
    promised: of('outbox_transactions'),
    cosignedAgeSeconds: of('cosigned_age_seconds'),
    anchorLagSeconds: of('anchor_lag_seconds'),
    clockSkewSeconds: of('clock_skew_seconds'),
    behindLeaves: of('behind_leaves'),
  }
}

type Checks = NodeView['checks']

function checksOf(text: string): Checks {
  const { checks } = JSON.parse(text) as { checks?: unknown }
  if (!Array.isArray(checks)) return []
  return (checks as { name?: unknown; ready?: unknown; reason?: unknown }[]).slice(0, 64).map((check) => ({
    ...{ name: String(check?.name).slice(0, 64), ready: check?.ready === true },
    ...(typeof check?.reason === 'string' ? { reason: check.reason.slice(0, 200) } : {}),
  }))
}

/** Looks at the nodes when somebody wants to know. */
export class NodesLook {
  readonly #options: NodesLookOptions
  readonly #known = new Map<number, NodeView>()
  readonly #stores = new Map<string, StoreView>()
  #view: NodesView | undefined
  #looking: Promise<NodesView> | undefined

  constructor(options: NodesLookOptions) {
    this.#options = options
  }

  /** How they stand, at most 1.5 s old. */
  look(): Promise<NodesView> {
    const now = this.#options.nowMs()
    if (this.#view !== undefined && Math.abs(now - this.#view.now) < freshMs) return Promise.resolve(this.#view)
    this.#looking ??= this.#ask().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #ask(): Promise<NodesView> {
    const { nodes, storage, nowMs } = this.#options
    const [views, stores] = await Promise.all([
      Promise.all([...nodes()].sort((a, b) => a.rank - b.rank).map((node) => this.#node(node))),
      Promise.all(storage.map((url, index) => this.#store(url, index))),
    ])
    this.#view = { now: nowMs(), nodes: views, stores: storage.length === 0 ? null : stores }
    return this.#view
  }

  async #node({ rank, url, isSelf }: { rank: number; url: string; isSelf: boolean }): Promise<NodeView> {
    const before = this.#known.get(rank)
    const isMember = this.#options.isMember(rank)
    try {
      const [ready, metrics, ...heads] = await Promise.all([
        ask(url, '/readyz'),
        ask(url, '/metrics'),
        ...chainNames.map((chain) => ask(url, `/v1/${chain}/head`)),
      ])
      const gauges = new Gauges(metrics.text)
      const figures = chainNames.map((chain, at) => [chain, figuresOf(chain, heads[at]?.text ?? '', gauges)] as const)
      const view: NodeView = {
        ...{ rank, name: `accounting-${rank}`, isSelf, isMember, heard: this.#options.nowMs(), fault: null },
        ...{ ready: ready.status === 200, checks: checksOf(ready.text) },
        openIncidents: gauges.of('accounting_open_incidents'),
        chains: Object.fromEntries(figures) as Record<ChainName, ChainFigures>,
      }
      this.#known.set(rank, view)
      return view
    } catch (error) {
      const nothing = { heard: null, ready: null, checks: [], openIncidents: null, chains: null }
      const name = `accounting-${rank}`
      return { ...nothing, ...before, rank, name, isSelf, isMember, fault: messageOf(error), ready: null }
    }
  }

  async #store(url: string, index: number): Promise<StoreView> {
    const name = `storage-${index}`
    try {
      const { status, text } = await ask(url, '/v1/status', this.#options.storageToken())
      if (status !== 200) throw new Error(`it answers with status ${status}`)
      const said = JSON.parse(text) as Record<string, unknown>
      const view: StoreView = {
        ...{ name, heard: this.#options.nowMs(), fault: null },
        ...{ blocks: whole(said.blocks), replicas: whole(said.replicas), handoffs: whole(said.handoffs) },
        below: said.repair === null ? null : whole(said.below),
        peers: whole(said.peers),
      }
      this.#stores.set(url, view)
      return view
    } catch (error) {
      const nothing = { heard: null, blocks: null, replicas: null, below: null, handoffs: null, peers: null }
      return { ...nothing, ...this.#stores.get(url), name, fault: messageOf(error) }
    }
  }
}
