import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { expect, test } from 'vitest'
import type { Member } from '../access/members.ts'
import { membersOf } from './members.fixture.ts'
import { NodeClient } from './node-client.ts'

const nowMs = Date.parse('2026-01-01T12:00:00Z')

test.each([
  ['an hour ahead of this one', 3_600_000, " (its clock is 3600 s ahead of this one's)"],
  ['an hour behind it', -3_600_000, " (its clock is 3600 s behind this one's)"],
  ['about right', 5_000, ''],
])('a store that refuses a token is said to, and with a clock that is %s, that too', async (_how, aheadMs, words) => {
  const server = createServer((_request, response) => {
    response.setHeader('date', new Date(nowMs + aheadMs).toUTCString())
    response.writeHead(401).end(JSON.stringify({ Message: 'the token is not valid', Reason: 'ERR_TOKEN_INVALID' }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const account = new Uint8Array(32).fill(1)
  const member: Member = { account, storeKey: account, peerId: 'peer', addresses: [], url }
  const members = membersOf([member])
  const client = new NodeClient({ members, key: generateSigningKey(), account, now: () => nowMs })
  try {
    await expect(client.check(member, [account])).rejects.toMatchObject({
      detail: { code: 'ERR_NODE_REFUSED', status: 401, reason: `ERR_TOKEN_INVALID${words}` },
    })
  } finally {
    client.close()
    server.closeAllConnections()
    server.close()
  }
})
