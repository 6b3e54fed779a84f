import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createConnection } from 'node:net'
import { peerIdFromString } from '@libp2p/peer-id'
import { multiaddr } from '@multiformats/multiaddr'
import { xsalsa20 } from '@noble/ciphers/salsa.js'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { isStorageError } from '../errors.ts'
import { type BlockId, codecDagPb, codecRaw, encodeBlockIdBytes, hashBlock } from '../store/block-id.ts'
import { Bitswap } from './bitswap.ts'
import { encodeBitswapMessage, encodeVarint, type WantEntry } from './bitswap-message.ts'
import { Swarm } from './swarm.ts'
import { parseSwarmKey } from './swarm-key.ts'

const swarmKey = new Uint8Array(randomBytes(32))
const signal = (): AbortSignal => AbortSignal.timeout(10_000)

interface Party {
  swarm: Swarm
  bitswap: Bitswap
  blocks: Map<string, Uint8Array>
  misbehaved: string[]
  connected: PromiseWithResolvers<string>
}

const parties: Party[] = []

async function party(key = swarmKey): Promise<Party> {
  const blocks = new Map<string, Uint8Array>()
  const misbehaved: string[] = []
  const connected = Promise.withResolvers<string>()
  const swarm = new Swarm({
    identitySeed: new Uint8Array(randomBytes(32)),
    swarmKey: key,
    host: '127.0.0.1',
    port: 0,
    onConnect: (peer) => connected.resolve(peer),
  })
  await swarm.start()
  const bitswap = new Bitswap({
    host: swarm.host,
    blocks: {
      get: async (digest) => blocks.get(Buffer.from(digest).toString('hex')),
      has: (digest) => blocks.has(Buffer.from(digest).toString('hex')),
    },
    onMisbehaviour: (peer) => misbehaved.push(peer),
  })
  await bitswap.start()
  const made = { swarm, bitswap, blocks, misbehaved, connected }
  parties.push(made)
  return made
}

function listing(one: Party): { id: string; addresses: string[] } {
  return { id: one.swarm.peerId, addresses: one.swarm.addresses }
}

async function pair(): Promise<[Party, Party]> {
  const [a, b] = [await party(), await party()]
  await Promise.all([a.swarm.setPeers([listing(b)]), b.swarm.setPeers([listing(a)])])
  await Promise.all([a.connected.promise, b.connected.promise])
  return [a, b]
}

function give(to: Party, size = 1024): { digest: Uint8Array; bytes: Uint8Array; codec: number } {
  const bytes = new Uint8Array(randomBytes(size))
  const digest = hashBlock(bytes)
  to.blocks.set(Buffer.from(digest).toString('hex'), bytes)
  return { digest, bytes, codec: codecRaw }
}

afterEach(async () => {
  for (const { bitswap, swarm } of parties.splice(0)) {
    await bitswap.stop()
    await swarm.stop()
  }
})

describe('exchange', () => {
  test('blocks of all sizes, many at once, and again after they were deleted', async () => {
    const [a, b] = await pair()
    const peer = b.swarm.host.peerId
    const wanted = [
      ...Array.from({ length: 300 }, () => give(b)),
      give(b, 0),
      give(b, 2 * 1024 * 1024),
      give(b, 1_000_000),
    ]
    const got = await Promise.all(wanted.map((one) => a.bitswap.fetch(peer, one, signal())))
    for (const [index, one] of wanted.entries()) {
      expect(Buffer.compare(got[index] as Uint8Array, one.bytes)).toBe(0)
    }
    const [first] = wanted
    if (!first) throw new TypeError('no block')
    expect(await a.bitswap.fetch(peer, { ...first, codec: codecDagPb }, signal())).toHaveLength(1024)
    b.blocks.clear()
    expect(await a.bitswap.fetch(peer, first, signal())).toBeUndefined()
    expect(a.misbehaved).toEqual([])
  })

  test('an absent block is answered at once, and presence without the block', async () => {
    const [a, b] = await pair()
    const peer = b.swarm.host.peerId
    const one = give(b)
    expect(await a.bitswap.asksHave(peer, one, signal())).toBe(true)
    expect(await a.bitswap.asksHave(peer, { digest: hashBlock(new Uint8Array([1])), codec: codecRaw }, signal())).toBe(
      false,
    )
    expect(b.bitswap.counters.blocksSent).toBe(0)
  })

  test('an aborted want ends with its reason and leaves the next one unharmed', async () => {
    const [a, b] = await pair()
    const peer = b.swarm.host.peerId
    const one = give(b)
    const abort = new AbortController()
    const aborted = a.bitswap.fetch(peer, one, abort.signal)
    abort.abort(new Error('enough'))
    await expect(aborted).rejects.toThrow('enough')
    expect(await a.bitswap.fetch(peer, one, signal())).toHaveLength(1024)
    expect(a.misbehaved).toEqual([])
  })

  test('a peer that answers with other bytes is named, and the want fails', async () => {
    const [a, b] = await pair()
    const one = give(b)
    b.blocks.set(Buffer.from(one.digest).toString('hex'), new Uint8Array(randomBytes(1024)))
    const answer = await a.bitswap.fetch(b.swarm.host.peerId, one, signal()).catch((error: unknown) => error)
    expect(isStorageError(answer, 'ERR_PEER_MISBEHAVED')).toBe(true)
    expect(a.misbehaved).toEqual([b.swarm.peerId])
  })

  test('wants end when the peer goes, and the connection is made again when it is back', async () => {
    const [a, b] = await pair()
    const gone = new Promise((resolve) => a.swarm.host.addEventListener('peer:disconnect', resolve, { once: true }))
    await b.swarm.setPeers([])
    await gone
    const answer = await a.bitswap.fetch(b.swarm.host.peerId, give(b), signal()).catch((error: unknown) => error)
    expect(isStorageError(answer, 'ERR_PEER_UNREACHABLE')).toBe(true)
    const back = new Promise((resolve) => a.swarm.host.addEventListener('peer:connect', resolve, { once: true }))
    await b.swarm.setPeers([listing(a)])
    await back
    expect(await a.bitswap.fetch(b.swarm.host.peerId, give(b), signal())).toHaveLength(1024)
  })

  test('who wants the same again and again in one breath is answered once', async () => {
    const [a, b] = await pair()
    const [wanted, last] = [give(b, 100_000), give(b)]
    const asked: string[] = []
    const { get } = b.blocks
    b.blocks.get = (digest) => {
      asked.push(digest)
      return get.call(b.blocks, digest)
    }
    const want = (one: BlockId, wantType = 0): WantEntry => {
      return { cid: encodeBlockIdBytes(one), cancel: false, wantType, sendDontHave: true }
    }
    const wants = [...Array.from({ length: 4000 }, (_, at) => want(wanted, at % 2 === 0 ? 0 : 7)), want(last)]
    const message = encodeBitswapMessage({ wants, full: false, blocks: [], presences: [] })
    const stream = await a.swarm.connections()[0]?.newStream('/ipfs/bitswap/1.2.0')
    stream?.send(Buffer.concat([encodeVarint(message.length), message]))
    const names = [wanted, last].map(({ digest }) => Buffer.from(digest).toString('hex'))
    await vi.waitFor(() => expect(asked).toContain(names[1]), { timeout: 20_000 })
    expect(asked).toEqual(names)
  })

  test('garbage on a Bitswap stream ends that stream and nothing else', async () => {
    const [a, b] = await pair()
    const connection = a.swarm.connections()[0]
    const stream = await connection?.newStream('/ipfs/bitswap/1.2.0')
    if (!stream) throw new TypeError('no stream')
    const closed = new Promise((resolve) => stream.addEventListener('close', resolve, { once: true }))
    stream.send(new Uint8Array([3, 0xff, 0xff, 0xff]))
    await closed
    expect(await a.bitswap.fetch(b.swarm.host.peerId, give(b), signal())).toHaveLength(1024)
  })
})

describe('who may connect', () => {
  test('no connection with another swarm key', async () => {
    const a = await party()
    const b = await party(new Uint8Array(randomBytes(32)))
    await a.swarm.setPeers([{ id: b.swarm.peerId, addresses: [] }])
    await b.swarm.setPeers([{ id: a.swarm.peerId, addresses: [] }])
    const target = multiaddr(`${a.swarm.addresses[0]}/p2p/${a.swarm.peerId}`)
    await expect(b.swarm.host.dial(target, { signal: AbortSignal.timeout(2000) })).rejects.toThrow()
    expect(a.swarm.connections()).toEqual([])
    expect(b.swarm.connections()).toEqual([])
  })

  test('an address that nobody can read is one where nobody is', async () => {
    const one = await party()
    // Of two peers the one with the smaller id dials at once.
    await one.swarm.setPeers([{ id: 'z', addresses: ['no address'] }])
    expect(one.swarm.connected()).toEqual([])
  })

  test('no connection for a peer that is off the list, in either direction', async () => {
    const [a, b] = [await party(), await party()]
    await b.swarm.setPeers([{ id: a.swarm.peerId, addresses: [] }])
    const target = multiaddr(`${a.swarm.addresses[0]}/p2p/${a.swarm.peerId}`)
    const dialled = await b.swarm.host.dial(target, { signal: signal() }).catch(() => undefined)
    // The refusal comes after the handshake: a connection that b saw open is closed by a.
    if (dialled && dialled.status === 'open') {
      await new Promise((resolve) => dialled.addEventListener('close', resolve, { once: true }))
    }
    expect(a.swarm.connections()).toEqual([])
    await expect(a.swarm.host.dial(peerIdFromString(b.swarm.peerId))).rejects.toThrow()
  })
})

describe('who is taken off the list', () => {
  test('loses the connection at once, also while a stream is under way', async () => {
    const [a, b] = await pair()
    const stream = await b.swarm.connections()[0]?.newStream('/ipfs/bitswap/1.2.0')
    const ended = new Promise((resolve) => stream?.addEventListener('close', resolve, { once: true }))
    await a.swarm.setPeers([])
    expect(a.swarm.connections().filter(({ status }) => status === 'open')).toEqual([])
    await ended
  })

  test('and whose connection was being made then, has none either', async () => {
    const [a, b] = await pair()
    const { host } = a.swarm
    const { getConnections } = host
    // Not made yet: it is on no list of connections, and let in by the list of peers as it was.
    host.getConnections = () => []
    await a.swarm.setPeers([])
    host.getConnections = getConnections
    expect(a.swarm.connections()).toHaveLength(1)
    host.dispatchEvent(new CustomEvent('peer:connect', { detail: b.swarm.host.peerId }))
    await vi.waitFor(() => expect(a.swarm.connections()).toEqual([]), { timeout: 20_000 })
  })
})

describe('the pre-shared key', () => {
  test('is read in Kubo form only', () => {
    const hex = Buffer.from(swarmKey).toString('hex')
    expect(parseSwarmKey(`/key/swarm/psk/1.0.0/\n/base16/\n${hex}\n`)).toEqual(swarmKey)
    for (const text of [
      '',
      hex,
      `/key/swarm/psk/1.0.0/\n/base16/\n${hex.slice(2)}`,
      `/key/swarm/psk/1.0.0/\n/bin/\n${hex}`,
    ]) {
      expect(() => parseSwarmKey(text)).toThrow(/swarm key/)
    }
  })

  test('protects a connection as the specification says: nonces, then XSalsa20, whatever the cut', async () => {
    const a = await party()
    const address = multiaddr(a.swarm.addresses[0] as string)
      .toString()
      .split('/')
    const socket = createConnection({ host: '127.0.0.1', port: Number(address[4]) })
    socket.on('error', () => {})
    const received: Buffer[] = []
    const complete = Promise.withResolvers<void>()
    socket.on('data', (chunk) => {
      received.push(Buffer.from(chunk))
      if (Buffer.concat(received).length >= 24 + 20) complete.resolve()
    })
    await once(socket, 'connect')
    const nonce = new Uint8Array(randomBytes(24))
    socket.write(nonce)
    // multistream-select over the protected stream, sent in odd pieces.
    const greeting = Buffer.from('\x13/multistream/1.0.0\n\x07/noise\n', 'latin1')
    const sealed = xsalsa20(swarmKey, nonce, greeting)
    socket.write(sealed.subarray(0, 7))
    socket.write(sealed.subarray(7))
    await complete.promise
    const all = Buffer.concat(received)
    const opened = xsalsa20(swarmKey, new Uint8Array(all.subarray(0, 24)), new Uint8Array(all.subarray(24)))
    expect(Buffer.from(opened).toString('latin1')).toContain('/multistream/1.0.0\n')
    socket.destroy()
  })
})

test('an unlisted stranger on the port, without any key, is cut off', async () => {
  const a = await party()
  const port = Number((a.swarm.addresses[0] as string).split('/')[4])
  const socket = createConnection({ host: '127.0.0.1', port })
  socket.on('error', () => {})
  await once(socket, 'connect')
  const closed = new Promise((resolve) => socket.on('close', resolve))
  socket.end(createHash('sha256').update('noise').digest())
  socket.resume()
  await closed
  expect(a.swarm.connections()).toEqual([])
})
