import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { afterEach, expect, test } from 'vitest'
import { type HttpPeers, openHttpPeers } from './http-peers.ts'

let server: Server | undefined
let peers: HttpPeers | undefined
afterEach(async () => {
  peers?.close()
  server?.closeAllConnections()
  server?.close()
})

/** Calls to one peer, which answers as `onRequest` does. */
async function peerThat(onRequest: Parameters<typeof createServer>[1]): Promise<HttpPeers> {
  server = createServer(onRequest)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  peers = openHttpPeers({
    ledgerId: new Uint8Array(32),
    accountOf: () => new Uint8Array(32).fill(1),
    account: new Uint8Array(32).fill(2),
    nodeKey: signingKeyFromSeed(new Uint8Array(32)),
    urlOf: () => `http://127.0.0.1:${port}`,
    nowMs: Date.now,
    elapsedMs: () => performance.now(),
  })
  return peers
}

const ask = (network: HttpPeers, timeoutMs: number): Promise<Uint8Array> =>
  network.call(1, 'userchain', 'head', Uint8Array.of(0xa0), { timeoutMs })

test('a peer that does not answer in time is unreachable, and its connection is closed', async () => {
  const closed = Promise.withResolvers<void>()
  const network = await peerThat((request) => request.socket.once('close', () => closed.resolve()))
  await expect(ask(network, 30)).rejects.toMatchObject({ detail: { code: 'ERR_PEER_UNREACHABLE', rank: 1 } })
  await closed.promise
})

test('so is one that begins an answer and does not end it in time', async () => {
  const network = await peerThat((_request, response) => void response.writeHead(200).write('begun'))
  await expect(ask(network, 30)).rejects.toMatchObject({ detail: { code: 'ERR_PEER_UNREACHABLE', rank: 1 } })
})

test('an answer ends its deadline, and the connection serves the next call', async () => {
  const ports = new Set<number | undefined>()
  const network = await peerThat((request, response) => {
    ports.add(request.socket.remotePort)
    request.resume().once('end', () => response.end(Uint8Array.of(0xa0)))
  })
  for (let call = 0; call < 3; call++) expect(await ask(network, 60_000)).toEqual(Uint8Array.of(0xa0))
  expect(ports.size).toBe(1)
})
