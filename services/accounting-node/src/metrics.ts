/** What Prometheus reads of this service. Names carry units; labels have few values. */
import type { ChainName } from '@healthblock/chain/transaction'
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { ChainCore } from './core/chain-core.ts'

/** Counters of the gateways. */
export interface GatewayMetrics {
  readonly submitted: Counter<'chain' | 'verdict'>
  readonly answered: Counter<'chain' | 'answer'>
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
    resubmitted: counter('accounting_resubmitted_transactions_total', 'Transactions handed over again', ['chain']),
    turnedAway: counter('accounting_submissions_turned_away_total', 'Submissions answered with 503', ['chain']),
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

/** What a chain shows: read when Prometheus asks. */
export interface ChainSource {
  readonly core: ChainCore
  readonly gateway: { readonly pendingCount: number }
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
  new Gauge({
    name: 'accounting_open_incidents',
    help: 'Faults of the own files that nobody has acknowledged',
    registers: [registry],
    collect() {
      this.set(openIncidents())
    },
  })
}
