import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { NodesLook } from './nodes-view.ts'

test('a node that is in no policy in force is shown, and said to be no member, whether it answers or not', async () => {
  const server = createServer((request, response) => {
    const isHead = request.url?.endsWith('/head') === true
    response.end(request.url === '/metrics' ? '' : JSON.stringify(isHead ? { height: 3, size: 4 } : { checks: [] }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const away = 'http://127.0.0.1:1'
  const look = new NodesLook({
    nodes: () => [url, url, away, away].map((one, rank) => ({ rank, url: one, isSelf: rank === 0 })),
    isMember: (rank) => rank % 2 === 0,
    ...{ storage: [], storageToken: () => '', nowMs: () => 1_000 },
  })
  const { nodes } = await look.look()
  await new Promise((resolve) => server.close(resolve))
  expect(nodes.map(({ isMember, fault }) => [isMember, fault === null])).toEqual([
    [true, true],
    [false, true],
    [true, false],
    [false, false],
  ])
})
