/** `./healthblock ledger successor` and `ledger approve`: a new ledger that carries on one whose quorum is lost for good. */
import { existsSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseGenesis } from '@healthblock/chain/genesis'
import type { SigningKey } from '@healthblock/crypto/signature'
import { equalBytes, toBase64, toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { callNode, NodeError } from '../cluster/client.ts'
import { type CarriedOrganisation, createCluster } from '../cluster/create.ts'
import { clusterPaths, readCluster } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { readKeyFile } from '../governance/card.ts'
import { approve, type Legacy, readLegacy, unapproved } from '../governance/succession.ts'
import { readFileBytes } from '../input-file.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { ledgerSubject } from '../ledger-subject.ts'
import { parseCount } from '../options.ts'

/** What was given on the command line. */
export interface SuccessorValues {
  readonly out?: string | undefined
  readonly key?: string[] | undefined
  readonly accounting?: string | undefined
  readonly storage?: string | undefined
  readonly doctors?: string | undefined
  readonly force?: boolean | undefined
  readonly yes?: boolean | undefined
}

type Print = (value: Record<string, unknown>, words: string) => void

/** What a survivor of the old ledger answered. */
interface Told {
  readonly node: string
  readonly ended: boolean
  readonly reason?: string
}

/** Key files of organisations in an old cluster's folder: whose they are is told by the keys. */
function keyFiles(dir: string): { readonly path: string; readonly key: SigningKey }[] {
  const files = [
    ...readdirSync(clusterPaths.secrets(dir)).map((name) => join(clusterPaths.secrets(dir), name)),
    ...readCluster(dir).nodes.map(({ name }) => join(clusterPaths.node(dir, name), 'secrets', 'organisation-op.key')),
  ]
  return files.flatMap((path) => {
    const isKey = /organisation-(\d+-root|op)\.key$/.test(path) && existsSync(path)
    return isKey ? [{ path, key: readKeyFile(path) }] : []
  })
}

/** The organisations with what of their keys is here; those that can run a node first. */
function carried(dir: string, legacy: Legacy): CarriedOrganisation[] {
  const files = keyFiles(dir)
  const find = (publicKey: Uint8Array): SigningKey | undefined =>
    files.find(({ key }) => equalBytes(key.publicKey, publicKey))?.key
  const all = legacy.organisations.map(({ entry }): CarriedOrganisation => {
    const [root, op] = [find(entry[0]), find(entry[1])]
    return { entry, ...(root === undefined ? {} : { root }), ...(op === undefined ? {} : { op }) }
  })
  return [...all.filter(({ op }) => op !== undefined), ...all.filter(({ op }) => op === undefined)]
}

/** Survivors of the old ledger take the file, so that they end it, and tell of another successor if they know one. */
async function announce(dir: string, succession: Uint8Array): Promise<Told[]> {
  const told: Told[] = []
  for (const { name, role } of readCluster(dir).nodes) {
    const { url } = readProcess(clusterPaths.node(dir, name))
    if (role !== 'accounting' || url === undefined) continue
    try {
      const body = { succession: toBase64(succession) }
      await callNode({ name, url, bearer: '' }, 'POST', '/v1/successions', body)
      told.push({ node: name, ended: true })
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      const reason = error.message
      told.push({ node: name, ended: false, reason })
      if (error instanceof NodeError && error.status === 409)
        throw new CommandError(`${reason}: do not start the successor`)
    }
  }
  return told
}

/** Adds approvals, keeps the file, and, once there are enough, tells the survivors. */
async function approveWith(out: string, keys: readonly string[], io: Io) {
  const path = clusterPaths.succession(out)
  let bytes = readFileBytes(path)
  let { approved, approvalsMin } = { approved: 0, approvalsMin: 0 }
  for (const file of keys) {
    const done = approve(bytes, readKeyFile(file))
    bytes = done.bytes
    approved = done.verified.approved.length
    approvalsMin = done.verified.approvalsMin
    io.stderr(`approved as ${toHex(done.account)}: ${approved} of ${approvalsMin}\n`)
    writeFileDurably(path, bytes)
  }
  const isApproved = approved > 0 && approved >= approvalsMin
  const { prior } = readCluster(out)
  const told = isApproved && prior !== undefined ? await announce(prior, bytes) : []
  return { succession: path, approvals: approved, approvalsNeeded: approvalsMin, isApproved, told }
}

function wordsOf(result: Awaited<ReturnType<typeof approveWith>>, out: string): string {
  const { approvals, approvalsNeeded, isApproved, told, succession } = result
  const lines = [
    ...told.map(({ node, ended, reason }) => `${node}: ${ended ? 'has ended the old ledger' : reason}`),
    isApproved
      ? `${approvals} organisations approve: start it with ./healthblock up --dir ${out}`
      : `${approvals} of ${approvalsNeeded || 'the'} approvals: each organisation adds its own with ledger approve ${out} --key FILE --yes (${succession})`,
  ]
  return lines.join('\n')
}

/** Makes the successor's folder, keys, genesis and succession. Nothing is started. */
export async function runSuccessor(dir: string, values: SuccessorValues, io: Io, print: Print): Promise<ExitCode> {
  if (values.out === undefined) throw new UsageError('successor needs --out DIR')
  const out = resolve(values.out)
  const subject = ledgerSubject({ dir })
  const genesis = parseGenesis(subject.genesis)
  const urls = subject.nodes.flatMap(({ url }) => (url === undefined ? [] : [url]))
  if (urls.length === 0) throw new CommandError('no accounting node of the old ledger runs: start a survivor first')
  const nowMs = Date.now()
  const legacy = await readLegacy({
    ...{ genesis, client: subject.client, urls, nowMs },
    isForced: values.force === true,
  })
  const organisations = carried(dir, legacy)
  const most = organisations.filter(({ op }) => op !== undefined).length
  if (most === 0) throw new CommandError(`${dir} holds no op key of an organisation that governed`)
  const storage = parseCount(values.storage, 'storage', { least: 1, most: 16, preset: 3 })
  const cluster = await createCluster(
    out,
    {
      accounting: parseCount(values.accounting, 'accounting', { least: 1, most, preset: most }),
      storage,
      replicas: Math.min(3, storage),
      doctors: parseCount(values.doctors, 'doctors', { least: 0, most: 26, preset: 2 }),
      patients: [],
      periodMs: readCluster(dir).periodMs,
    },
    Math.max(nowMs, legacy.endMs + 1),
    {
      succeeded: {
        prior: [genesis.ledgerId, ...legacy.heads],
        params: { epochms: genesis.body.params.epochms, seals: legacy.rules },
        organisations,
        dir,
      },
      prepare: async (made) => writeFileDurably(clusterPaths.succession(out), unapproved(legacy, made)),
    },
  )
  const result = await approveWith(out, values.key ?? [], io)
  const [user, doc] = legacy.heads
  print(
    { dir: out, ledgerId: cluster.ledgerId, prior: toHex(genesis.ledgerId), heads: [user[0], doc[0]], ...result },
    [
      `ledger ${cluster.ledgerId} in ${out} carries on ${toHex(genesis.ledgerId)}`,
      `from ${user[0]} entries of userchain and ${doc[0]} of docchain, the last that a quorum attested`,
      wordsOf(result, out),
    ].join('\n'),
  )
  return 0
}

/** Adds an organisation's approval, after it read what it approves. */
export async function runApprove(folder: string, values: SuccessorValues, io: Io, print: Print): Promise<ExitCode> {
  const out = resolve(folder)
  const keys = values.key ?? []
  if (keys.length === 0) throw new UsageError('approve needs --key FILE')
  if (values.yes !== true) {
    const { verified } = approve(readFileBytes(clusterPaths.succession(out)), readKeyFile(keys[0] as string))
    const steps = verified.steps.filter((step) => !step.includes('organisations approve'))
    print({ approved: false, steps }, [...steps, 'approve it with --yes'].join('\n'))
    return 1
  }
  const result = await approveWith(out, keys, io)
  print({ dir: out, ...result }, wordsOf(result, out))
  return 0
}
