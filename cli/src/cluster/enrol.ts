/** Enrols people and doctors of a local cluster: the organisation's administrator sponsors, the person's own node posts. */

import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { genesisAccounts, ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { createToken } from '@healthblock/chain/token'
import {
  encodeBody,
  encodeTransactionLeaf,
  signingMessage,
  type TransactionBody,
  transactionId,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { ensureFolder, writeFileDurably } from '@healthblock/runtime/files'
import { CommandError } from '../io.ts'
import { callNode, type NodeAccess, nodeAccess } from './client.ts'
import { type ClusterFile, changeCluster, clusterPaths, type KnownPerson, readCluster } from './layout.ts'

const enrolTimeoutMs = 60_000
const roleOrganisation = 3
const roleAuditor = 7
const roleAgency = 8

interface Sponsored {
  readonly account: string
  readonly signature: string
}

/** The accounting node whose organisation sponsors the people of a local cluster. */
function sponsor(dir: string, cluster: ClusterFile): { access: NodeAccess; account: string; ledgerId: Uint8Array } {
  const bytes = readFileSync(clusterPaths.genesis(dir))
  const ledgerId = ledgerIdOf(bytes)
  const account = genesisAccounts(parseGenesis(bytes)).organisations[0] as Uint8Array
  return { access: nodeAccess(dir, cluster, 'accounting-0'), account: toHex(account), ledgerId }
}

async function waitUntil(what: string, isDone: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + enrolTimeoutMs
  while (!(await isDone())) {
    if (Date.now() > deadline) throw new CommandError(`${what} was not committed within 60 s; see ./healthblock status`)
    await delay(50)
  }
}

/** The passphrase of a person of a local cluster: made once, kept in `secrets/`. */
function passphraseOf(dir: string, name: string): string {
  const file = clusterPaths.passphrase(dir, name)
  if (!existsSync(file)) writeFileDurably(file, `${toHex(randomBytes(16))}\n`, { mode: 0o600 })
  return readFileSync(file, 'utf8').trim()
}

/** Who logs in at the accounting nodes' portal of a local cluster. */
const portalRoles = ['auditor', 'administrator'] as const

/** Lets an auditor and an administrator log in at every accounting node, under these names. */
export async function enrolPortalPeople(dir: string, cluster: ClusterFile): Promise<void> {
  const nodes = cluster.nodes.filter(({ role }) => role === 'accounting')
  for (const role of portalRoles) {
    const body = { role, passphrase: passphraseOf(dir, role) }
    await Promise.all(
      nodes.map(({ name }) => callNode(nodeAccess(dir, cluster, name), 'PUT', `/v1/portal/people/${role}`, body)),
    )
  }
}

/** Passphrases lie in one folder by name: whoever got the name of another would get the other's passphrase. @throws {CommandError} */
function requireOwnPassphrase(cluster: ClusterFile, name: string): void {
  const others = [...portalRoles, ...cluster.nodes.filter(({ role }) => role === 'doctor').map((node) => node.name)]
  if (others.some((other) => other === name.toLowerCase()))
    throw new CommandError(`"${name}" logs in elsewhere in this cluster: name the patient differently`)
}

/**
 * A name as it is kept: what looks the same is the same. It names a file too, so it has no slash; nor a character that nobody sees, but
 * for the one that joins emoji.
 *
 * @throws {CommandError} for what cannot be a name.
 */
function nameOf(given: string): string {
  const name = given.normalize('NFC')
  const isClean = !/[/\\\p{Cc}\p{Co}\p{Cn}\p{Zl}\p{Zp}]|(?!\u200d)\p{Cf}/u.test(name) && name.isWellFormed()
  const isShort = [...name].length <= 64 && Buffer.byteLength(name) <= 200
  if (!isClean || !isShort || name !== name.trim() || /^[.-]|^$/.test(name))
    throw new CommandError(
      `"${name}" cannot be a name here: 1 to 64 characters (200 bytes), none of them a slash or invisible, no space, dot or dash first`,
    )
  if (/^[0-9a-f]{64}$/.test(name)) throw new CommandError(`"${name}" cannot be a name here: it reads as an account`)
  return name
}

/** Enrols a person at the household's node: keys, passphrase, register, device, first generation. */
export async function enrolPatient(dir: string, cluster: ClusterFile, given: string) {
  const name = nameOf(given)
  if (cluster.patients.some((person) => person.name === name))
    throw new CommandError(`there is a patient "${name}" already`)
  requireOwnPassphrase(cluster, name)
  const { access, account: sponsorAccount } = sponsor(dir, cluster)
  const node = cluster.nodes.find(({ role }) => role === 'user')
  if (node === undefined) throw new CommandError('this cluster has no user node')
  const user = nodeAccess(dir, cluster, node.name)
  const passphrase = passphraseOf(dir, name)
  const made = await callNode<{ account: string; body: string; recoveryPhrase: string }>(user, 'POST', '/v1/people', {
    name,
    passphrase,
    sponsor: sponsorAccount,
  })
  const { signature } = await callNode<Sponsored>(access, 'POST', '/v1/sponsor', { body: made.body })
  await callNode(user, 'POST', `/v1/people/${made.account}/confirm`, { signature })
  let did = ''
  await waitUntil(`the enrolment of ${name}`, async () => {
    const people = await callNode<{ account: string; did: string; state: string }[]>(user, 'GET', '/v1/people')
    const person = people.find(({ account }) => account === made.account)
    did = person?.did ?? ''
    return person?.state === 'live'
  })
  const person: KnownPerson = { name, account: made.account, node: node.name }
  await changeCluster(dir, (latest) => ({ ...latest, patients: [...latest.patients, person] }))
  return { name, account: made.account, did, recoveryPhrase: made.recoveryPhrase }
}

/** Enrols the doctor of a doctor node: keys, register, licence for ten years. */
export async function enrolDoctor(dir: string, cluster: ClusterFile, name: string): Promise<KnownPerson> {
  const { access, account: sponsorAccount } = sponsor(dir, cluster)
  const doctor = nodeAccess(dir, cluster, name)
  await callNode(doctor, 'PUT', `/v1/portal/people/${name}`, { role: 'doctor', passphrase: passphraseOf(dir, name) })
  const made = await callNode<{ account: string; body: string }>(doctor, 'POST', '/v1/identity', {
    name,
    sponsor: sponsorAccount,
  })
  const { signature } = await callNode<Sponsored>(access, 'POST', '/v1/sponsor', { body: made.body, name })
  await callNode(doctor, 'POST', '/v1/identity/confirm', { signature })
  const state = async (): Promise<string> => (await callNode<{ state: string }>(doctor, 'GET', '/v1/identity')).state
  await waitUntil(`the registration of ${name}`, async () => ['registered', 'licensed'].includes(await state()))
  const from = Date.now() - 60_000
  await callNode(access, 'POST', '/v1/licence', { doctor: made.account, state: 1, from, to: from + 3650 * 86_400_000 })
  await waitUntil(`the licence of ${name}`, async () => (await state()) === 'licensed')
  const person: KnownPerson = { name, account: made.account, node: name }
  await changeCluster(dir, (latest) => ({ ...latest, doctors: [...latest.doctors, person] }))
  return person
}

async function postTransaction(access: NodeAccess, leaf: Uint8Array, id: Uint8Array): Promise<void> {
  const post = (path: string, type: string, body: Uint8Array): Promise<Response> =>
    fetch(new URL(path, access.url), {
      method: 'POST',
      headers: { 'content-type': type },
      body: body as Uint8Array<ArrayBuffer>,
      signal: AbortSignal.timeout(40_000),
    })
  const response = await post('/v1/userchain/transactions', 'application/cbor-seq', leaf)
  if (!response.ok) throw new CommandError(`${access.name} did not take the registration: HTTP ${response.status}`)
  const answers = await post('/v1/userchain/answers', 'application/cbor', encodeCbor({ txs: [id], waitms: 30_000 }))
  const [answer] = decodeCbor(new Uint8Array(await answers.arrayBuffer())) as CborValue[][]
  if (answer?.[0] !== 2)
    throw new CommandError('the registration was not committed within 30 s; see ./healthblock status')
}

/** Registers an account whose keys stay in the cluster's `secrets/`: what `ledger token` and `storage token` speak for. */
function registerAccount(dir: string, cluster: ClusterFile, name: string, role: number): Promise<string> {
  const secret = (file: string): string => join(clusterPaths.secrets(dir), file)
  return register(dir, cluster, role, { op: secret(`${name}.key`), root: secret(`${name}-root.key`) })
}

/** Registers an organisation that is to join, sponsored by the first one; its keys are made in `folder`. */
export async function registerOrganisation(dir: string, folder: string): Promise<string> {
  ensureFolder(folder)
  const files = { op: join(folder, 'op.key'), root: join(folder, 'root.key'), kem: join(folder, 'kem.key') }
  return register(dir, readCluster(dir), roleOrganisation, files)
}

/** Makes keys, writes them, and registers the account that they are of. Gives the account. */
async function register(
  dir: string,
  cluster: ClusterFile,
  role: number,
  files: { readonly op: string; readonly root: string; readonly kem?: string },
): Promise<string> {
  const { access, account: sponsorAccount, ledgerId } = sponsor(dir, cluster)
  const root = generateSigningKey()
  const op = generateSigningKey()
  const kem = generateKemKeyPair()
  const body: TransactionBody = {
    v: 1,
    t: 'register',
    role,
    root: root.publicKey,
    op: op.publicKey,
    kem: kem.publicKey,
    suite: kemSuiteDefault,
    sponsor: fromHex(sponsorAccount),
    salt: new Uint8Array(randomBytes(16)),
  }
  const bodyBytes = encodeBody(body)
  const place = { ledgerId, chain: 'userchain' as const, bodyBytes }
  const account = transactionId(place)
  const message = signingMessage(place)
  const sponsored = await callNode<Sponsored>(access, 'POST', '/v1/sponsor', { body: toBase64(bodyBytes) })
  const signatures = [
    { account, key: 0, signature: root.sign(message) },
    { account, key: 1, signature: op.sign(message) },
    { account: fromHex(sponsorAccount), key: 1, signature: fromBase64(sponsored.signature) },
  ]
  const keep = (path: string, seed: Uint8Array): void => writeFileDurably(path, `${toHex(seed)}\n`, { mode: 0o600 })
  keep(files.op, op.exportSeed())
  keep(files.root, root.exportSeed())
  if (files.kem !== undefined) keep(files.kem, kem.exportSeed())
  await postTransaction(access, encodeTransactionLeaf({ bodyBytes, signatures }), account)
  return toHex(account)
}

/** Registers the auditor and the test tenant of a local cluster, once. */
export async function enrolReaders(dir: string): Promise<void> {
  const before = readCluster(dir)
  const auditor = before.auditor ?? (await registerAccount(dir, before, 'auditor', roleAuditor))
  const tenant = before.tenant ?? (await registerAccount(dir, before, 'tenant', roleAgency))
  await changeCluster(dir, (latest) => ({ ...latest, auditor, tenant }))
}

/** Puts the algorithm with which the doctors' nodes of this release judge on record, once for each version. */
export async function enrolAlgorithm(dir: string): Promise<void> {
  const cluster = readCluster(dir)
  if (cluster.algorithm === algorithmHashHex) return
  const { access } = sponsor(dir, cluster)
  await callNode(access, 'POST', '/v1/algorithm', {
    id: algorithmName,
    version: algorithmVersion,
    hash: algorithmHashHex,
    act: 1,
  })
  await changeCluster(dir, (latest) => ({ ...latest, algorithm: algorithmHashHex }))
}

function readerKey(dir: string, who: 'auditor' | 'tenant'): SigningKey {
  return signingKeyFromSeed(fromHex(readFileSync(join(clusterPaths.secrets(dir), `${who}.key`), 'utf8').trim()))
}

/** The key with which the cluster's test tenant signs what it erases. */
export function tenantKey(dir: string): SigningKey {
  return readerKey(dir, 'tenant')
}

/** A bearer token of the cluster's auditor or tenant, good at every node for 24 hours. */
export function readerToken(dir: string, who: 'auditor' | 'tenant', scope: 'ledger' | 'storage'): string {
  const cluster = readCluster(dir)
  const account = cluster[who]
  if (account === undefined) throw new CommandError('this cluster is not enrolled yet: run ./healthblock up first')
  const ledgerId = fromHex(cluster.ledgerId)
  return createToken({
    ledgerId,
    statement: { account: fromHex(account), audience: ledgerId, scope, until: Date.now() + 86_400_000 - 60_000 },
    key: 1,
    signingKey: readerKey(dir, who),
  })
}
