/** For tests: one store of two, the other of which is a server that answers as the test says. */
import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { createLogger } from '@healthblock/runtime/logger'
import { EmbeddedBackend } from '../backend.ts'
import { Events } from '../events.ts'
import { BlockStore } from '../store/block-store.ts'
import { HandoffLane } from './handoff-lane.ts'
import { membersOf } from './members.fixture.ts'
import { NodeClient } from './node-client.ts'
import { answerMessage } from './receipt.ts'
import { Replicator } from './replicator.ts'

/** Accounts of the store itself and of the other one. */
export const self = new Uint8Array(32).fill(1)
export const other = new Uint8Array(32).fill(2)

/** Whom nobody's grants and erasures concern. */
const authorizer = {
  signsErasures: () => false,
  releaserOf: () => undefined,
  erasureKeys: () => undefined,
  authorize: () => ({ account: self, role: 'tenant' as const }),
}

/** Of the other store: what it answers, and whether this one is connected to it in the swarm. */
export interface OtherStore {
  readonly answers: RequestListener
  readonly isConnected: () => boolean
  /** W; 2 by default. */
  readonly writeQuorum?: number
}

/** What {@link openPair} gives. */
export type Pair = Awaited<ReturnType<typeof openPair>>

/** Opens the store, in a folder of its own. Whoever opens it closes it. */
export async function openPair({ answers, isConnected, writeQuorum = 2 }: OtherStore) {
  const folder = mkdtempSync(join(tmpdir(), 'storage-pair-'))
  const server = createServer(answers)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const [selfKey, otherKey] = [generateSigningKey(), generateSigningKey()]
  const members = membersOf([
    { account: self, storeKey: selfKey.publicKey, peerId: 'peer 1', addresses: [], url },
    { account: other, storeKey: otherKey.publicKey, peerId: 'peer 2', addresses: [], url },
  ])
  const store = new BlockStore({
    path: join(folder, 'blocks.db'),
    key: new Uint8Array(32),
    node: self,
    bytesMax: 1e9,
    accountBytesMax: 1e9,
    now: Date.now,
    onCorrupt: () => {},
    onFatal: () => {},
  })
  await store.open()
  const key = generateSigningKey()
  const client = new NodeClient({ members, key, account: self, now: Date.now })
  const swarm = { identitySeed: randomBytes(32), swarmKey: randomBytes(32), host: '127.0.0.1', port: 0 }
  const backend = new EmbeddedBackend({ store, swarm: { ...swarm, onConnect: () => {} }, onMisbehaviour: () => {} })
  backend.isConnected = isConnected
  /** Names of the events that were logged. */
  const logged: string[] = []
  const destination = { write: (line: string): void => void logged.push((JSON.parse(line) as { event: string }).event) }
  const events = new Events(createLogger({ name: 'storage', level: 'info' }, destination))
  const common = { store, members, client, events, now: Date.now, backend, account: self, onHandoff: () => {} }
  const lane = new HandoffLane({ ...common, isUp: () => false, onLeft: () => {} })
  const counts = { replicas: 2, writeQuorum }
  const replicator = new Replicator({ ...common, ...counts, key, authorizer, readHeader: () => undefined, lane })
  const close = async (): Promise<void> => {
    client.close()
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    await store.close()
    rmSync(folder, { recursive: true })
  }
  /** Signs what the other store answers. */
  const sign = (request: Uint8Array, answer: Uint8Array): string => {
    const message = answerMessage({ ledgerId: members.ledgerId, request, answer })
    return Buffer.from(otherKey.sign(message)).toString('base64url')
  }
  return {
    folder,
    store,
    lane,
    replicator,
    logged,
    sign,
    erasureParts: { ...common, ...counts, replicator, authorizer },
    close,
  }
}
