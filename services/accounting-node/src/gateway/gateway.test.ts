/** What nobody has signed, in a gateway whose waits end with the test. */
import { encodeTransactionLeaf } from '@healthblock/chain/transaction'
import { createLogger } from '@healthblock/runtime/logger'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { CoreCluster } from '../../../../test/support/core-cluster.ts'
import { algorithmTransaction } from '../../../../test/support/sample-ledger.ts'
import type { Clock } from '../core/ports.ts'
import { createGatewayMetrics } from '../metrics.ts'
import { Gateway, secondLooksMax, submissionsMax } from './gateway.ts'
import { GatewayLedger } from './ledger-view.ts'
import { Outbox } from './outbox.ts'
import { AnswerSigner } from './statements.ts'

let cluster: CoreCluster
let gateway: Gateway

beforeEach(async () => {
  cluster = new CoreCluster({ n: 1, q: 1 })
  await cluster.startAll()
  const { ledgerId, nodes } = cluster.ledger
  const core = cluster.core(0)
  const { nowMs, elapsedMs } = cluster.clock
  const clock: Clock = {
    ...{ nowMs, elapsedMs },
    wait: (_ms, signal) => new Promise((resolve) => signal.addEventListener('abort', () => resolve())),
  }
  const nodeKey = nodes[0]?.node as NonNullable<(typeof nodes)[0]>['node']
  gateway = new Gateway({
    ...{ core, clock, ledgerId, outbox: new Outbox(':memory:') },
    ledger: new GatewayLedger({ ledger: core.ledger, chain: 'userchain', nowMs }),
    signer: new AnswerSigner({ core, ledgerId, account: new Uint8Array(32), nodeKey }),
    logger: createLogger({ name: 'gateway', level: 'silent' }),
    metrics: createGatewayMetrics(new Registry()),
  })
})
afterEach(async () => {
  await gateway.stop()
  await cluster.end()
})

/** With the signature of another transaction. */
function forge(name: string): Uint8Array {
  const { bodyBytes } = algorithmTransaction(cluster.ledger, name)
  const { signatures } = algorithmTransaction(cluster.ledger, `signed-${name}`)
  return encodeTransactionLeaf({ bodyBytes, signatures })
}

describe('a gateway to which much comes that no key has signed', () => {
  test('lets some of it wait for another look, turns the rest away, and takes what is good', async () => {
    const forged: Promise<unknown>[] = []
    const turnedAway: unknown[] = []
    for (let i = 0; i < submissionsMax; i++) {
      const submitted = gateway.submit(forge(`forged-${i}`))
      submitted.catch((error) => turnedAway.push(error.detail))
      forged.push(submitted)
    }
    const { promise } = await gateway.submit(algorithmTransaction(cluster.ledger, 'before').leaf).catch(() => ({
      promise: undefined,
    }))
    // As many as may be read at one time are being read.
    expect(promise).toBeUndefined()
    while (turnedAway.length < submissionsMax - secondLooksMax) await new Promise((resolve) => setImmediate(resolve))
    expect(new Set(turnedAway.map((detail) => (detail as { code: string }).code))).toEqual(
      new Set(['ERR_GATEWAY_FULL']),
    )
    const good = await gateway.submit(algorithmTransaction(cluster.ledger, 'good').leaf)
    expect(good.promise).toBeDefined()
    expect(turnedAway).toHaveLength(submissionsMax - secondLooksMax)
  })
})
