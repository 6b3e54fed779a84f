/** Answers of an accounting node, damaged at random: a client believes none that does not verify, and fails with a typed error. */
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { createConsortium, startTestNode, TestLedger, type TestNode } from '../../packages/runtime/src/testkit.ts'
import type { FuzzTarget } from '../support/fuzz.ts'

/** What the server answers next. */
let answer: { bytes: Uint8Array; type: string }
const consortium = createConsortium()
const history = new TestLedger(consortium)
const transaction = history.algorithm()
history.block('userchain', [transaction])
const id = history.ledger.transactionId('userchain', transaction)
let honest: TestNode
const liar = createServer((request, response) => {
  request.resume()
  response.writeHead(200, { 'content-type': answer.type }).end(answer.bytes)
})
let client: LedgerClient

/** A client that has not left the server alone yet. */
function freshClient(): LedgerClient {
  const url = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`
  return new LedgerClient({
    urls: [url],
    trust: genesisTrust(consortium.genesis),
    token: () => 'test-token',
    timeoutMs: 5_000,
  })
}

const asks: readonly {
  name: string
  path: string
  ask: () => Promise<unknown>
  believed: (value: never) => unknown
}[] = [
  {
    name: 'checkpoint',
    path: '/userchain/checkpoint',
    ask: () => client.checkpoint('userchain'),
    believed: ({ size, root }: { size: number; root: Uint8Array }) => [size, root],
  },
  {
    name: 'receipt',
    path: `/v1/userchain/transactions/${Buffer.from(id).toString('hex')}/receipt`,
    ask: () => client.receipt('userchain', id),
    believed: (bytes: Uint8Array) => bytes,
  },
  // Pages are checked by who executes them; here they need only have a form.
  {
    name: 'page of blocks',
    path: '/v1/userchain/blocks?from=0',
    ask: () => client.blocks('userchain', 0),
    believed: () => 0,
  },
]

/** What a client of a lying node believes. */
export async function answerTargets(): Promise<{ targets: FuzzTarget[]; close: () => Promise<void> }> {
  honest = await startTestNode(history, {})
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve))
  const targets: FuzzTarget[] = []
  for (const { name, path, ask, believed } of asks) {
    const response = await fetch(honest.url + path, { headers: { authorization: 'Bearer test-token' } })
    const bytes = new Uint8Array(await response.arrayBuffer())
    const type = response.headers.get('content-type') ?? ''
    answer = { bytes, type }
    client = freshClient()
    const truth = believed((await ask()) as never)
    targets.push({
      name: `answer: ${name}`,
      corpus: [bytes],
      async parse(damaged) {
        answer = { bytes: damaged, type }
        client = freshClient()
        // What is believed although it was damaged says the same as the truth.
        assert.deepEqual(believed((await ask()) as never), truth)
      },
    })
  }
  const close = async (): Promise<void> => {
    await honest.close()
    liar.closeAllConnections()
    liar.close()
  }
  return { targets, close }
}
