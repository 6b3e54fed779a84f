import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createConsortium, startTestNode, TestLedger, type TestNode } from '../../packages/runtime/src/testkit.ts'
import { ledgerSubject } from './ledger-subject.ts'

let dir: string
let node: TestNode
let genesis: string
const history = new TestLedger(createConsortium())

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'hb-subject-'))
  genesis = join(dir, 'genesis.cbor')
  writeFileSync(genesis, history.consortium.genesis.bytes)
  node = await startTestNode(history, { token: 'second' })
})
afterEach(async () => {
  await node.close()
  rmSync(dir, { recursive: true })
})

test('a token file is read again, so that whoever watches for days can be given a new token', async () => {
  const file = join(dir, 'token')
  writeFileSync(file, 'first\n')
  const { client } = ledgerSubject({ url: [node.url], genesis, 'token-file': file })
  const read = () => client.blocks('userchain', 0, { url: node.url })
  await expect(read()).rejects.toMatchObject({ detail: { status: 401 } })
  writeFileSync(file, 'second\n')
  expect((await read()).frames).toHaveLength(1)
  // While it is written, or gone, the last one goes on.
  writeFileSync(file, '')
  expect((await read()).frames).toHaveLength(1)
  rmSync(file)
  expect((await read()).frames).toHaveLength(1)
})
