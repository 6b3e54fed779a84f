import { randomBytes, randomUUID } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeGenesis, ledgerIdOf } from '@healthblock/chain/genesis'
import type { GenesisBody } from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { type ClusterFile, clusterPaths, fillClusterFolder, type NodePlan } from './layout.ts'

/** How large a new cluster is to be. */
export interface ClusterSize {
  readonly accounting: number
  readonly storage: number
  readonly replicas: number
  /** Members of an etcd for the head register; absent or 0: a SQLite file. */
  readonly etcdMembers?: number
  readonly doctors: number
  /** Names of the patients to be enrolled at the first start. */
  readonly patients: readonly string[]
  /** Publication period of the user node in milliseconds. */
  readonly periodMs: number
  /** Length of the ledger's epochs in milliseconds; absent: an hour. Tests of windows cannot wait that long. */
  readonly epochMs?: number
}

const epochMsDefault = 3_600_000

const quotaOfOrganisation = 1_000_000

/** An Ed25519 peer id: the identity multihash of libp2p's protobuf form of the public key. */
function peerIdOf(publicKey: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(0x00, 0x24, 0x08, 0x01, 0x12, 0x20), publicKey)
}

async function writeSecret(path: string, text: string): Promise<void> {
  writeFileDurably(path, `${text}\n`, { mode: 0o600 })
}

async function newKeyFile(folder: string, name: string): Promise<SigningKey> {
  const key = generateSigningKey()
  await writeSecret(join(folder, name), toHex(key.exportSeed()))
  return key
}

async function secretsFolder(dir: string, node: string): Promise<string> {
  const folder = join(clusterPaths.node(dir, node), 'secrets')
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}

interface Organisation {
  readonly root: SigningKey
  readonly op: SigningKey
  readonly kem: Uint8Array
}

async function createAccountingNode(dir: string, rank: number) {
  const folder = await secretsFolder(dir, `accounting-${rank}`)
  const kem = generateKemKeyPair()
  await writeSecret(join(folder, 'organisation-kem.key'), toHex(kem.exportSeed()))
  const organisation: Organisation = {
    // The root key stays with the organisation's people, never with the node.
    root: await newKeyFile(clusterPaths.secrets(dir), `organisation-${rank}-root.key`),
    op: await newKeyFile(folder, 'organisation-op.key'),
    kem: kem.publicKey,
  }
  await writeSecret(join(folder, 'admin.secret'), toHex(randomBytes(32)))
  const node = {
    node: await newKeyFile(folder, 'node.key'),
    ulog: await newKeyFile(folder, 'userchain-log.key'),
    ucos: await newKeyFile(folder, 'userchain-cosigner.key'),
    dlog: await newKeyFile(folder, 'docchain-log.key'),
    dcos: await newKeyFile(folder, 'docchain-cosigner.key'),
  }
  return { organisation, node }
}

async function createStorageNode(dir: string, index: number) {
  const folder = await secretsFolder(dir, `storage-${index}`)
  await writeSecret(join(folder, 'at-rest.key'), toHex(randomBytes(32)))
  return { store: await newKeyFile(folder, 'store.key'), peer: await newKeyFile(folder, 'peer.key') }
}

/**
 * Makes the keys and the genesis of a new ledger in `dir`: one organisation for each accounting node.
 *
 * @returns The genesis and its bytes, already in `DIR/genesis.cbor`.
 */
export async function createLedger(
  dir: string,
  size: Pick<ClusterSize, 'accounting' | 'storage' | 'epochMs'>,
  startMs: number,
) {
  const members = []
  for (let rank = 0; rank < size.accounting; rank++) members.push(await createAccountingNode(dir, rank))
  const stores = []
  for (let index = 0; index < size.storage; index++) stores.push(await createStorageNode(dir, index))
  const genesis: GenesisBody = {
    v: 1,
    t: 'genesis',
    start: startMs,
    params: { epochms: size.epochMs ?? epochMsDefault, seals: 1 },
    // The least q with 2q > n + f for f = floor((n - 1) / 3): 3 of 4, 1 of 1.
    q: size.accounting - Math.floor((size.accounting - 1) / 3),
    orgs: members.map(({ organisation: { root, op, kem } }) => [
      root.publicKey,
      op.publicKey,
      kem,
      kemSuiteDefault,
      quotaOfOrganisation,
    ]),
    nodes: members.map(({ node }, rank) => [
      rank,
      node.node.publicKey,
      node.ulog.publicKey,
      node.ucos.publicKey,
      node.dlog.publicKey,
      node.dcos.publicKey,
    ]),
    stores: stores.map(({ store, peer }, index) => [
      index % size.accounting,
      store.publicKey,
      peerIdOf(peer.publicKey),
    ]),
  }
  const bytes = encodeGenesis(genesis)
  writeFileDurably(clusterPaths.genesis(dir), bytes)
  return { genesis, bytes }
}

function planNodes(size: ClusterSize): NodePlan[] {
  const many = (count: number, role: NodePlan['role'], name: (index: number) => string): NodePlan[] =>
    Array.from({ length: count }, (_, index) => ({ name: name(index), role }))
  return [
    ...many(size.accounting, 'accounting', (index) => `accounting-${index}`),
    ...many(size.storage, 'storage', (index) => `storage-${index}`),
    { name: 'user', role: 'user' },
    ...many(size.doctors, 'doctor', (index) => `doctor-${String.fromCharCode(97 + index)}`),
  ]
}

/** Makes a new cluster's folder, ledger, keys and plan. Nothing is started. */
export function createCluster(dir: string, size: ClusterSize, startMs: number): Promise<ClusterFile> {
  return fillClusterFolder(dir, () => makeCluster(dir, size, startMs))
}

async function makeCluster(dir: string, size: ClusterSize, startMs: number): Promise<ClusterFile> {
  const { bytes } = await createLedger(dir, size, startMs)
  const nodes = planNodes(size)
  for (const { name, role } of nodes) {
    if (role === 'user' || role === 'doctor') {
      await writeSecret(join(await secretsFolder(dir, name), 'api.secret'), toHex(randomBytes(32)))
    }
  }
  // The swarm key's public format: github.com/libp2p/specs, pnet/Private-Networks-PSK-V1.md.
  const swarmKey = `/key/swarm/psk/1.0.0/\n/base16/\n${toHex(randomBytes(32))}`
  await writeSecret(join(clusterPaths.secrets(dir), 'swarm.key'), swarmKey)
  return {
    v: 1,
    id: randomUUID(),
    ledgerId: toHex(ledgerIdOf(bytes)),
    nodes,
    replicas: size.replicas,
    ...(size.etcdMembers === undefined ? {} : { etcdMembers: size.etcdMembers }),
    periodMs: size.periodMs,
    wanted: size.patients,
    patients: [],
    doctors: [],
  }
}
