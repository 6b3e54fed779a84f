import { verifyDispute } from '@healthblock/chain/dispute'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { afterEach, beforeEach, expect, test } from 'vitest'
import {
  createConsortium,
  type Lies,
  startTestNode,
  TestLedger,
  type TestNode,
} from '../../packages/runtime/src/testkit.ts'
import { composeDispute, type DisputeRequest } from './dispute.ts'
import { CommandError } from './io.ts'

let history: TestLedger
let node: TestNode
let lies: Lies

beforeEach(async () => {
  history = new TestLedger(createConsortium())
  lies = {}
  node = await startTestNode(history, { lies })
})
afterEach(() => node.close())

function request(more: Partial<DisputeRequest>): DisputeRequest {
  const { genesis } = history.consortium
  const trust = genesisTrust(genesis)
  const client = new LedgerClient({ urls: [node.url], trust, token: () => 'test-token' })
  return { genesis: genesis.bytes, client, transactions: [], grants: [], times: [], storageReceipts: [], ...more }
}

test('a node whose published head is a moment behind what it said before is waited for', async () => {
  const old = history.checkpoint('userchain')
  const transaction = history.algorithm()
  history.block('userchain', [transaction])
  let asked = 0
  lies.checkpoint = (chain) => (asked++ === 0 ? old : history.checkpoint(chain))
  // The head that comes with a block is another question.
  lies.frame = () => {
    asked = 0
  }
  const { bytes } = await composeDispute(request({ transactions: [history.id(transaction)] }))
  expect(asked).toBe(2)
  expect(verifyDispute({ bytes }).transactions).toHaveLength(1)
})

test('more than one file holds is said before anybody is asked', async () => {
  const grant = { patient: new Uint8Array(32), gid: new Uint8Array(16) }
  const times = Array.from({ length: 33 }, (_, i) => i)
  const composed = composeDispute(request({ grants: [grant, grant], times }))
  await expect(composed).rejects.toThrow(CommandError)
  await expect(composed).rejects.toThrow('at most 64 questions, each grant at each time, and this would be 66')
  expect(node.calls).toEqual([])
})
