/** A private swarm of real nodes on loopback, in this process: for tests of several nodes together. */
import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { encodeU64, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { create, type KuboRPCClient } from 'kubo-rpc-client'
import { readTokenFile, StandaloneAuthorizer } from './access/authorizer.ts'
import { FileMembers } from './access/members.ts'
import { readConfig } from './config.ts'
import { Events } from './events.ts'
import { StorageNode } from './node.ts'
import { peerIdOfSeed } from './swarm/swarm.ts'

/** One node's place: its folder, its environment, and the node while it runs. */
export interface Place {
  name: string
  environment: Record<string, string>
  account: Uint8Array
  storeKey: Uint8Array
  peerId: string
  node: StorageNode | undefined
  members: FileMembers | undefined
}

/** A tenant: an account and its token. */
export interface Tenant {
  account: Uint8Array
  token: string
  /** Signs what it erases; without one its stores' word is enough. */
  key?: SigningKey
}

/** Several nodes with one member list. */
export class Cluster {
  #membersText = ''
  readonly folder = mkdtempSync(join(tmpdir(), 'storage-cluster-'))
  /** How far the clock of all nodes is ahead, ms. */
  aheadMs = 0
  readonly ledgerId = new Uint8Array(randomBytes(32))
  readonly places: Place[] = []
  readonly tenants: Tenant[] = []

  /** Makes keys and files for `count` nodes and two tenants, who sign what they erase if `isSigned`. */
  async prepare(count: number, settings: Record<string, string> = {}, isSigned = false): Promise<void> {
    this.#write('swarm.key', `/key/swarm/psk/1.0.0/\n/base16/\n${randomBytes(32).toString('hex')}\n`)
    for (let index = 0; index < 2; index++) {
      this.tenants.push({
        account: new Uint8Array(randomBytes(32)),
        token: `tenant-${index}-${randomBytes(8).toString('hex')}`,
        ...(isSigned ? { key: generateSigningKey() } : {}),
      })
    }
    const tokens = this.tenants.map(({ account, token, key }) => ({
      account: toHex(account),
      ...(key ? { erasureKey: toHex(key.publicKey) } : {}),
      sha256: createHash('sha256').update(token).digest('hex'),
    }))
    this.#write('tokens.json', JSON.stringify({ tokens }))
    for (let index = 0; index < count; index++) await this.#addPlace(`n${index}`, settings)
    this.writeMembers()
  }

  async #addPlace(name: string, settings: Record<string, string>): Promise<void> {
    const storeSeed = randomBytes(32)
    const peerSeed = randomBytes(32)
    this.#write(`${name}.store.key`, storeSeed.toString('hex'))
    this.#write(`${name}.peer.key`, peerSeed.toString('hex'))
    this.#write(`${name}.rest.key`, randomBytes(32).toString('hex'))
    this.places.push({
      name,
      environment: {
        STORAGE_DIR: join(this.folder, name),
        STORAGE_RPC_PORT: '0',
        STORAGE_SWARM_PORT: '0',
        STORAGE_MEMBERS_FILE: join(this.folder, 'members.json'),
        STORAGE_TOKENS_FILE: join(this.folder, 'tokens.json'),
        STORAGE_STORE_KEY_FILE: join(this.folder, `${name}.store.key`),
        STORAGE_PEER_KEY_FILE: join(this.folder, `${name}.peer.key`),
        STORAGE_REST_KEY_FILE: join(this.folder, `${name}.rest.key`),
        STORAGE_SWARM_KEY_FILE: join(this.folder, 'swarm.key'),
        STORAGE_LOG_LEVEL: 'silent',
        ...settings,
      },
      account: new Uint8Array(randomBytes(32)),
      storeKey: signingKeyFromSeed(new Uint8Array(storeSeed)).publicKey,
      peerId: await peerIdOfSeed(new Uint8Array(peerSeed)),
      node: undefined,
      members: undefined,
    })
  }

  #write(name: string, text: string): void {
    writeFileSync(join(this.folder, name), text, { mode: 0o600 })
  }

  /** Writes the member list with the addresses that are known, and has every running node read it. */
  writeMembers(): void {
    const members = this.places.map(({ account, storeKey, peerId, environment }) => ({
      account: toHex(account),
      storeKey: toHex(storeKey),
      peerId,
      ...readAddress(environment.STORAGE_DIR as string),
    }))
    const text = JSON.stringify({ ledgerId: toHex(this.ledgerId), members })
    // A node that comes back where it was is news for nobody.
    if (text === this.#membersText) return
    this.#membersText = text
    this.#write('members.json', text)
    for (const { members: list } of this.places) list?.reload()
  }

  /** Starts a node in this process. */
  async start(place: Place): Promise<StorageNode> {
    const { config, secrets } = readConfig(place.environment)
    const events = new Events(createLogger({ name: 'storage', level: config.logLevel }))
    const members = new FileMembers(config.membersFile, (error) => {
      throw error
    })
    // Also if the node does not come up, it is ended with the others.
    place.members = members
    const now = (): number => Date.now() + this.aheadMs
    const file = readTokenFile(config.tokensFile as string)
    const node = new StorageNode({
      config,
      secrets,
      members,
      createAuthorizer: (self) => new StandaloneAuthorizer({ file, members, self, now }),
      events,
      now,
      onFatal: (error) => {
        throw error
      },
    })
    await node.start()
    place.node = node
    this.writeMembers()
    return node
  }

  /** Starts all nodes and waits until each is connected to every other. */
  async startAll(): Promise<void> {
    for (const place of this.places) await this.start(place)
    await this.connected()
  }

  /** Waits until each of the nodes sees as many peers as there are other nodes, or as are asked for of the first. */
  async connected(nodes = this.places.filter((place) => place.node), peersOfFirst = nodes.length - 1): Promise<void> {
    for (const [index, place] of nodes.entries()) {
      const peers = index === 0 ? peersOfFirst : nodes.length - 1
      while ((await this.client(place).swarm.peers()).length < peers) {
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
  }

  /** Stops a node gracefully. */
  async stop(place: Place): Promise<void> {
    place.members?.close()
    await place.node?.stop()
    place.node = undefined
    place.members = undefined
  }

  /** Stops all nodes and removes their folders. */
  async end(): Promise<void> {
    await Promise.all(this.places.map((place) => this.stop(place)))
    rmSync(this.folder, { recursive: true, force: true })
  }

  /** A tenant's IPFS client for a node. */
  client(place: Place, tenant = this.tenants[0] as Tenant): KuboRPCClient {
    const url = `${place.node?.address.url}/api/v0`
    return create({ url, headers: { authorization: `Bearer ${tenant.token}` } })
  }

  /** A tenant's plain request to a node. */
  async request(place: Place, path: string, init: RequestInit = {}, tenant = this.tenants[0]): Promise<Response> {
    const headers = { authorization: `Bearer ${tenant?.token}`, ...init.headers }
    return await fetch(`${place.node?.address.url}${path}`, { method: 'POST', ...init, headers })
  }
}

function readAddress(folder: string): { url?: string; addresses?: string[] } {
  try {
    const { url, addresses } = JSON.parse(readFileSync(join(folder, 'address.json'), 'utf8')) as {
      url: string
      addresses: string[]
    }
    return { url, addresses }
  } catch {
    return {}
  }
}

/** A block with the header of a sealed payload (packages/crypto/SPEC.md §4), by default of 1 KiB, and noise for a body. */
export function sealedBlock(fields: {
  owner: Uint8Array
  writer: Uint8Array
  stream?: Uint8Array
  sequence?: number
  kind?: number
  size?: number
}): Uint8Array {
  const size = fields.size ?? 1024
  const block = new Uint8Array(randomBytes(size))
  block.set([1, fields.kind ?? 0, 0, 0, 0, 0, 0, 0])
  new DataView(block.buffer).setUint32(4, size - 224)
  block.set(fields.owner, 40)
  block.set(fields.writer, 72)
  block.set(fields.stream ?? new Uint8Array(8), 104)
  for (const [at, value] of [
    [112, 1],
    [120, 1],
    [128, fields.sequence ?? 1],
  ] as const) {
    block.set(encodeU64(value), at)
  }
  block.fill(0, 136, 144)
  return block
}

/** A body of one file, as IPFS clients send it. */
export function multipart(bytes: Uint8Array): { body: Buffer; headers: Record<string, string> } {
  const head =
    '--b\r\nContent-Disposition: form-data; name="file"; filename=""\r\nContent-Type: application/octet-stream\r\n\r\n'
  return {
    body: Buffer.concat([Buffer.from(head), bytes, Buffer.from('\r\n--b--\r\n')]),
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
  }
}
