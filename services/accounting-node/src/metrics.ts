/** What Prometheus reads of this service. Names carry units; labels have few values. */
import type { ChainName } from '@healthblock/chain/chains'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { ChainCore } from './core/chain-core.ts'
import type { CoreEvent } from './core/ports.ts'
import type { WitnessStatus } from './witness/witnesses.ts'

/** Applied sizes whose publication is waited for. */
const appliedKeptMax = 1_024

/** Counters of the gateways. */
export interface GatewayMetrics {
  readonly submitted: Counter<'chain' | 'verdict'>
  readonly answered: Counter<'chain' | 'answer'>
  /** By the rule of the signed refusal; rules are few, and whatever else a sender makes up counts as `transaction.format`. */
  readonly refused: Counter<'chain' | 'rule'>
  readonly resubmitted: Counter<'chain'>
  readonly turnedAway: Counter<'chain'>
  readonly intakeFailures: Counter<'chain'>
  readonly commitSeconds: Histogram<'chain'>
}

/** Registers the gateways' counters. */
export function createGatewayMetrics(registry: Registry): GatewayMetrics {
  const registers = [registry]
  const counter = <L extends string>(name: string, help: string, labelNames: L[]): Counter<L> =>
    new Counter({ name, help, labelNames, registers })
  return {
    submitted: counter('accounting_submitted_transactions_total', 'Transactions submitted, by verdict of the form', [
      'chain',
      'verdict',
    ]),
    answered: counter('accounting_answered_transactions_total', 'Promised transactions refused or deferred', [
      'chain',
      'answer',
    ]),
    refused: counter('accounting_refused_transactions_total', 'Transactions refused with a signed statement, by rule', [
      'chain',
      'rule',
    ]),
    resubmitted: counter('accounting_resubmitted_transactions_total', 'Transactions handed over again', ['chain']),
    turnedAway: counter('accounting_submissions_turned_away_total', 'Submissions answered with 429 or 503', ['chain']),
    intakeFailures: counter('accounting_intake_failures_total', 'Batches that the intake queue did not take', [
      'chain',
    ]),
    commitSeconds: new Histogram({
      name: 'accounting_commit_seconds',
      help: 'Time from the promise to the publication of the block that holds the transaction',
      labelNames: ['chain'],
      buckets: [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30],
      registers,
    }),
  }
}

/** Times of the commit path, as the core's events and the disk tell them. */
export interface CoreMetrics {
  /** Takes an event. */
  observe(event: CoreEvent): void
  /** A file of a chain was synced: `append` of a record, or `replace` of a whole file. */
  synced(chain: ChainName, seconds: number): void
}

/** Registers the times of the commit path. `nowMs`: a clock that never steps. */
export function createCoreMetrics(registry: Registry, nowMs: () => number): CoreMetrics {
  const registers = [registry]
  const labelNames = ['chain'] as const
  const cosignature = new Histogram({
    name: 'accounting_cosignature_seconds',
    help: "Time from this node's applying a block until a quorum's cosignatures over it are here",
    labelNames,
    buckets: [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10],
    registers,
  })
  const fsync = new Histogram({
    name: 'accounting_fsync_seconds',
    help: 'Time of one write to a journal of the commit path and its sync',
    labelNames,
    buckets: [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2],
    registers,
  })
  const dropped = new Counter({
    name: 'accounting_dropped_candidates_total',
    help: 'Transactions that this node left out of a block as leader, by rule',
    labelNames: ['chain', 'rule'],
    registers,
  })
  const stageRefusals = new Counter({
    name: 'accounting_stage_refusals_total',
    help: "Leaders' blocks that this node did not stage",
    labelNames,
    registers,
  })
  const registerRebuilds = new Counter({
    name: 'accounting_register_rebuilds_total',
    help: 'How often this node rebuilt a head register that was lost or rolled back',
    labelNames,
    registers,
  })
  const applied: Record<ChainName, Map<number, number>> = { userchain: new Map(), docchain: new Map() }
  return {
    observe(event) {
      const { kind, chain } = event
      if (kind === 'decided') {
        applied[chain].set(event.size, nowMs())
        // Sizes that were never published by themselves: a later one was.
        if (applied[chain].size > appliedKeptMax) applied[chain].delete(applied[chain].keys().next().value as number)
      } else if (kind === 'published') {
        const sinceMs = applied[chain].get(event.size)
        if (sinceMs !== undefined) cosignature.observe({ chain }, (nowMs() - sinceMs) / 1000)
        for (const size of applied[chain].keys()) if (size <= event.size) applied[chain].delete(size)
      } else if (kind === 'dropped') dropped.inc({ chain, rule: event.rule })
      else if (kind === 'stage-refused') stageRefusals.inc({ chain })
      else if (kind === 'register-rebuilt') registerRebuilds.inc({ chain })
    },
    synced(chain, seconds) {
      fsync.observe({ chain }, seconds)
    },
  }
}

/** What witnesses did, for metrics. */
export interface WitnessFigures {
  readonly witnesses: readonly WitnessStatus[]
  /** Published sizes; undefined before the first. */
  readonly sizes: Readonly<Record<ChainName, number | undefined>>
  readonly nowMs: number
}

/** Counts what witnesses did not cosign. */
export interface WitnessMetrics {
  readonly refused: Counter<'chain' | 'witness' | 'reason'>
}

/** Registers what is told of witnesses: there are at most 16, so their names are labels. */
export function createWitnessMetrics(registry: Registry, read: () => WitnessFigures): WitnessMetrics {
  const registers = [registry]
  const labelNames = ['chain', 'witness'] as const
  const gauge = (name: string, help: string, figure: (f: WitnessFigures, w: WitnessStatus, c: ChainName) => number) =>
    new Gauge({
      ...{ name, help, labelNames, registers },
      collect() {
        // A witness that was removed is shown no more.
        this.reset()
        const figures = read()
        for (const status of figures.witnesses) {
          for (const chain of ['userchain', 'docchain'] as const) {
            this.set({ chain, witness: status.name }, figure(figures, status, chain))
          }
        }
      },
    })
  gauge(
    'accounting_witness_lag_leaves',
    'Published entries beyond the newest head that the witness cosigned',
    ({ sizes }, status, chain) => Math.max(0, (sizes[chain] ?? 0) - (status[chain].cosigned?.size ?? 0)),
  )
  gauge(
    'accounting_witness_age_seconds',
    "Age of the witness's newest cosignature by its own clock; of none the time itself",
    ({ nowMs }, status, chain) => (nowMs - (status[chain].cosigned?.ms ?? 0)) / 1000,
  )
  const refused = new Counter({
    name: 'accounting_witness_refusals_total',
    help: 'Attempts at a witness that came to nothing, by reason',
    labelNames: ['chain', 'witness', 'reason'] as const,
    registers,
  })
  return { refused }
}

/** What a chain shows: read when Prometheus asks. */
export interface ChainSource {
  readonly core: ChainCore
  readonly gateway: { readonly pendingCount: number; readonly pendingMax: number }
}

/** Registers gauges that follow the cores, and one for open incidents. */
export function observeChains(
  registry: Registry,
  sources: Readonly<Record<ChainName, ChainSource>>,
  openIncidents: () => number,
): void {
  const gauge = (name: string, help: string, read: (source: ChainSource) => number): void => {
    new Gauge({
      name,
      help,
      labelNames: ['chain'],
      registers: [registry],
      collect() {
        for (const [chain, source] of Object.entries(sources)) this.set({ chain }, read(source))
      },
    })
  }
  gauge('accounting_applied_height_blocks', 'Height of the newest applied block', ({ core }) => core.head().height)
  gauge('accounting_applied_size_leaves', 'Leaves of the applied log', ({ core }) => core.head().size)
  gauge(
    'accounting_published_size_leaves',
    'Size of the newest published checkpoint',
    ({ core }) => core.published()?.size ?? 0,
  )
  gauge('accounting_term', 'Term of leadership, as last known', ({ core }) => core.status().term)
  gauge('accounting_leads', '1 while this node proposes blocks', ({ core }) => (core.status().leads ? 1 : 0))
  gauge('accounting_signs', '0 while this node neither acks nor cosigns', ({ core }) => (core.status().signs ? 1 : 0))
  gauge('accounting_intake_jobs', 'Jobs that wait in the intake queue', ({ core }) => core.status().queueDepth)
  gauge(
    'accounting_pool_transactions',
    'Accepted transactions that no block holds',
    ({ core }) => core.status().poolCount,
  )
  gauge(
    'accounting_anchor_lag_seconds',
    'Age of the newest published Userchain head beyond the anchor',
    ({ core }) => core.status().anchorLagMs / 1000,
  )
  gauge(
    'accounting_since_decided_seconds',
    'Time since a block was decided',
    ({ core }) => core.status().sinceDecidedMs / 1000,
  )
  gauge(
    'accounting_clock_skew_seconds',
    'Difference of this clock from the median of the peers',
    ({ core }) => core.status().clockSkewMs / 1000,
  )
  gauge('accounting_outbox_transactions', 'Transactions promised and not final', ({ gateway }) => gateway.pendingCount)
  gauge(
    'accounting_outbox_limit_transactions',
    'How many may be promised and not final before submissions are turned away',
    ({ gateway }) => gateway.pendingMax,
  )
  gauge(
    'accounting_cosigned_age_seconds',
    'Age of the oldest cosignature that the published quorum needs',
    ({ core }) => core.status().cosignedAgeMs / 1000,
  )
  gauge(
    'accounting_behind_leaves',
    'Leaves that were decided 2 s ago or before the start, and are not applied',
    ({ core }) => core.status().behindLeaves,
  )
  gauge('accounting_register_reachable', '1 while the head register answers', ({ core }) =>
    core.status().registerReachable ? 1 : 0,
  )
  new Gauge({
    name: 'accounting_open_incidents',
    help: 'Faults of the own files that nobody has acknowledged',
    registers: [registry],
    collect() {
      this.set(openIncidents())
    },
  })
}
