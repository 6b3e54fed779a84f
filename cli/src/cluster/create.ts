import { randomBytes, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { encodeGenesis, ledgerIdOf, rulesVersionNewest } from '@healthblock/chain/genesis'
import type { GenesisBody, GenesisOrganisation, GenesisPrior } from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'
import { toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { peerIdOf } from '../governance/card.ts'
import { CommandError } from '../io.ts'
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
  /** Version of the rules that the ledger begins with; absent: the newest. Tests of its rise need an older one. */
  readonly rules?: number
}

const epochMsDefault = 3_600_000

const quotaOfOrganisation = 1_000_000

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

/** Organisations of the ledger before, and that ledger's id and last heads. */
export interface Succeeded {
  readonly prior: GenesisPrior
  readonly params: GenesisBody['params']
  /** Those whose op key is here come first: they have a node each, as far as there are nodes. */
  readonly organisations: readonly CarriedOrganisation[]
}

/** An organisation with the keys that the ledger before has on record, and what of them is in this place. */
export interface CarriedOrganisation {
  readonly entry: GenesisOrganisation
  readonly root?: SigningKey
  readonly op?: SigningKey
}

async function nodeKeys(folder: string) {
  await writeSecret(join(folder, 'admin.secret'), toHex(randomBytes(32)))
  return {
    node: await newKeyFile(folder, 'node.key'),
    ulog: await newKeyFile(folder, 'userchain-log.key'),
    ucos: await newKeyFile(folder, 'userchain-cosigner.key'),
    dlog: await newKeyFile(folder, 'docchain-log.key'),
    dcos: await newKeyFile(folder, 'docchain-cosigner.key'),
  }
}

type AccountingKeys = Awaited<ReturnType<typeof nodeKeys>>

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
  return { organisation, node: await nodeKeys(folder) }
}

/** New organisations, one for each node. */
async function newMembers(dir: string, accounting: number) {
  const made = []
  for (let rank = 0; rank < accounting; rank++) made.push(await createAccountingNode(dir, rank))
  return {
    organisations: made.map(({ organisation: { root, op, kem } }): GenesisOrganisation => {
      return [root.publicKey, op.publicKey, kem, kemSuiteDefault, quotaOfOrganisation]
    }),
    nodes: made.map(({ node }) => node),
  }
}

/** Organisations that go on, with nodes whose keys are all new: what is lost may be in anybody's hands. */
async function carriedMembers(dir: string, accounting: number, { organisations }: Succeeded) {
  const nodes: AccountingKeys[] = []
  for (let rank = 0; rank < accounting; rank++) {
    const folder = await secretsFolder(dir, `accounting-${rank}`)
    const { root, op } = organisations[rank] as CarriedOrganisation
    if (op === undefined) throw new CommandError(`the op key of organisation ${rank} is not here: it has no node`)
    await writeSecret(join(folder, 'organisation-op.key'), toHex(op.exportSeed()))
    if (root !== undefined) {
      const file = join(clusterPaths.secrets(dir), `organisation-${rank}-root.key`)
      await writeSecret(file, toHex(root.exportSeed()))
    }
    nodes.push(await nodeKeys(folder))
  }
  return { organisations: organisations.map(({ entry }) => entry), nodes }
}

async function createStorageNode(dir: string, index: number) {
  const folder = await secretsFolder(dir, `storage-${index}`)
  await writeSecret(join(folder, 'at-rest.key'), toHex(randomBytes(32)))
  return { store: await newKeyFile(folder, 'store.key'), peer: await newKeyFile(folder, 'peer.key') }
}

/**
 * Makes the keys and the genesis of a new ledger in `dir`: one organisation for each accounting node, or those of the ledger before.
 *
 * @returns The genesis and its bytes, already in `DIR/genesis.cbor`.
 */
export async function createLedger(
  dir: string,
  size: Pick<ClusterSize, 'accounting' | 'storage' | 'epochMs' | 'rules'>,
  startMs: number,
  succeeded?: Succeeded,
) {
  const members =
    succeeded === undefined
      ? await newMembers(dir, size.accounting)
      : await carriedMembers(dir, size.accounting, succeeded)
  const stores = []
  for (let index = 0; index < size.storage; index++) stores.push(await createStorageNode(dir, index))
  const genesis: GenesisBody = {
    v: 1,
    t: 'genesis',
    start: startMs,
    params: succeeded?.params ?? {
      epochms: size.epochMs ?? epochMsDefault,
      seals: size.rules ?? rulesVersionNewest,
    },
    // The least q with 2q > n + f for f = floor((n - 1) / 3): 3 of 4, 1 of 1.
    q: size.accounting - Math.floor((size.accounting - 1) / 3),
    orgs: members.organisations,
    nodes: members.nodes.map(({ node, ulog, ucos, dlog, dcos }, rank) => [
      rank,
      node.publicKey,
      ulog.publicKey,
      ucos.publicKey,
      dlog.publicKey,
      dcos.publicKey,
    ]),
    stores: stores.map(({ store, peer }, index) => [
      index % size.accounting,
      store.publicKey,
      peerIdOf(peer.publicKey),
    ]),
    ...(succeeded === undefined ? {} : { prior: succeeded.prior }),
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

/** Makes a new cluster's folder, ledger, keys and plan. Nothing is started. `prepare` is called while an error still leaves nothing behind. */
export function createCluster(
  dir: string,
  size: ClusterSize,
  startMs: number,
  options: { succeeded?: Succeeded & { readonly dir?: string }; prepare?: (genesis: Uint8Array) => Promise<void> } = {},
): Promise<ClusterFile> {
  return fillClusterFolder(dir, async () => {
    const cluster = await makeCluster(dir, size, startMs, options.succeeded)
    await options.prepare?.(new Uint8Array(readFileSync(clusterPaths.genesis(dir))))
    return options.succeeded?.dir === undefined ? cluster : { ...cluster, prior: options.succeeded.dir }
  })
}

async function makeCluster(
  dir: string,
  size: ClusterSize,
  startMs: number,
  succeeded?: Succeeded,
): Promise<ClusterFile> {
  const { bytes } = await createLedger(dir, size, startMs, succeeded)
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
