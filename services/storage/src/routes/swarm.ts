/** Commands about the node itself and its peers. */
import type { FastifyInstance } from 'fastify'
import { StorageError } from '../errors.ts'
import type { KuboRouteParts } from './parts.ts'
import { addCommand, argumentOf, argumentsOf, flagOf, type KuboRequest, sendLines } from './query.ts'

/** Adds `version`, `id`, `repo/{stat,verify}`, `swarm/{peers,connect}`, `bitswap/stat`. */
export function addSwarmCommands(app: FastifyInstance, parts: KuboRouteParts): void {
  const { backend, scrubber, paces } = parts
  addCommand(app, 'version', async () => ({
    Version: '0.43.0',
    Commit: '',
    Repo: '18',
    System: `${process.arch}/${process.platform}`,
    Golang: '',
  }))
  addCommand(app, 'id', async (request) => {
    if ((request.query.arg ?? []).length > 0) argumentOf(request)
    const { peerId, publicKey, addresses, protocols } = backend.identity()
    return {
      ID: peerId,
      PublicKey: publicKey,
      Addresses: addresses.map((address) => `${address}/p2p/${peerId}`),
      AgentVersion: 'healthblock/0.1.0',
      Protocols: protocols,
    }
  })
  addCommand(app, 'repo/stat', async () => {
    const { bytes, blocks } = backend.totals()
    return { RepoSize: bytes, StorageMax: parts.bytesMax, NumObjects: blocks, RepoPath: '', Version: 'fs-repo@18' }
  })
  addCommand(
    app,
    'repo/verify',
    async (_request, reply) =>
      await sendLines(
        reply,
        paces.scrub.run('scrub', () => verifyRepo(scrubber)),
      ),
  )
  addCommand(app, 'swarm/peers', async (request) => ({
    Peers: backend.connections().map(({ peer, address, direction }) => ({
      Addr: address,
      Peer: peer,
      Identify: {},
      Latency: '',
      Muxer: '/yamux/1.0.0',
      // As Kubo: 0 where nobody asked for it.
      Direction: isAsked(request) ? directions[direction] : 0,
      Streams: null,
    })),
  }))
  addCommand(app, 'swarm/connect', async (request) => {
    const Strings: string[] = []
    for (const address of argumentsOf(request, 'address')) {
      const peer = /\/p2p\/([^/]+)$/.exec(address)?.[1] ?? ''
      if (!parts.isMemberPeer(peer)) {
        throw new StorageError(`connect ${peer} failure: not a member`, { code: 'ERR_PEER_UNREACHABLE', peer })
      }
      await backend.connect(address)
      Strings.push(`connect ${peer} success`)
    }
    return { Strings }
  })
  addBitswap(app, backend)
}

function addBitswap(app: FastifyInstance, backend: KuboRouteParts['backend']): void {
  addCommand(app, 'bitswap/stat', async () => {
    const { blocksReceived, bytesReceived, blocksSent, bytesSent } = await backend.exchanged()
    return {
      Wantlist: [],
      // Of two connections to one peer, one is the peer's own.
      Peers: [...new Set(backend.connections().map(({ peer }) => peer))],
      BlocksReceived: blocksReceived,
      DataReceived: bytesReceived,
      DupBlksReceived: 0,
      DupDataReceived: 0,
      BlocksSent: blocksSent,
      DataSent: bytesSent,
    }
  })
}

const directions = { inbound: 1, outbound: 2 } as const

function isAsked(request: KuboRequest): boolean {
  return flagOf(request, 'direction') || flagOf(request, 'verbose')
}

async function* verifyRepo(scrubber: KuboRouteParts['scrubber']): AsyncGenerator<{ Msg: string; Progress: number }> {
  let damaged = 0
  for await (const { cid, checked, isGood } of scrubber.run()) {
    if (!isGood) {
      damaged++
      yield { Msg: `block ${cid} was corrupt (set aside)`, Progress: 0 }
    }
    yield { Msg: '', Progress: checked }
  }
  if (damaged === 0) yield { Msg: 'verify complete, all blocks validated.', Progress: 0 }
  else yield { Msg: `verify complete, ${damaged} blocks were corrupt and are healed from a replica`, Progress: 0 }
}
