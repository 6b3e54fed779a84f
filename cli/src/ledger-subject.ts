import type { AuditNode, StorageProbe } from '@healthblock/audit/audit'
import { parseGenesis } from '@healthblock/chain/genesis'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { readerToken } from './cluster/enrol.ts'
import { clusterFolder, clusterPaths, readCluster } from './cluster/layout.ts'
import { readProcess } from './cluster/processes.ts'
import { readFileBytes, readFileText } from './input-file.ts'
import { CommandError, UsageError } from './io.ts'

/** Options that name a ledger, for `parseOptions`. */
export const subjectOptions = {
  url: { type: 'string', multiple: true },
  genesis: { type: 'string' },
  token: { type: 'string' },
  'token-file': { type: 'string' },
  storage: { type: 'string', multiple: true },
  'storage-token': { type: 'string' },
  'storage-token-file': { type: 'string' },
} as const

/** What `--help` says of them. */
export const subjectHelp = `  --url URL       an accounting node; repeat it for each node (with --dir: the cluster's own)
  --genesis FILE  the genesis file (with --dir: the cluster's own)
  --token TOKEN   a reader's token of scope ledger (with --dir: the auditor's of the cluster)
  --token-file FILE  the same in a file: a command line is seen by everybody on the machine. It is read again and again: a token
                  lasts a day, so put a new one there if you watch for longer
  --storage URL   a storage node; repeat it for each node (with --dir: the cluster's own)
  --storage-token TOKEN  a token of scope storage (with --dir: the auditor's of the cluster); or --storage-token-file FILE
`

/** What was given on the command line. */
export interface SubjectValues {
  readonly dir?: string | undefined
  readonly url?: string[] | undefined
  readonly genesis?: string | undefined
  readonly token?: string | undefined
  readonly 'token-file'?: string | undefined
  readonly storage?: string[] | undefined
  readonly 'storage-token'?: string | undefined
  readonly 'storage-token-file'?: string | undefined
}

/** A ledger to be read. */
export interface LedgerSubject {
  readonly genesis: Uint8Array
  readonly nodes: readonly AuditNode[]
  /** The nodes that there are now: those of a cluster come and go while somebody watches. */
  readonly nodesNow: () => readonly AuditNode[]
  readonly client: LedgerClient
  /** Absent if no storage node is known. */
  readonly storage: StorageClient | undefined
}

/** A token is made anew long before it ends: a command may watch for days. */
const tokenKeptMs = 3_600_000

/**
 * Finds the ledger that the options name.
 *
 * @throws {UsageError} for options that do not go together; {CommandError} for a file that cannot be read.
 */
export function ledgerSubject(values: SubjectValues): LedgerSubject {
  const storageToken = tokenGiven(values, 'storage-token')
  const token = tokenGiven(values, 'token')
  requireUrls('storage', values.storage ?? [])
  if (values.url !== undefined) {
    if (values.dir !== undefined) throw new UsageError('takes --dir or --url, not both')
    if (values.genesis === undefined) throw new UsageError('--url needs --genesis FILE: it is what is trusted')
    requireUrls('url', values.url)
    const nodes = values.url.map((url) => ({ name: url.replace(/\/$/, ''), url }))
    const genesis = readFileBytes(values.genesis)
    const storage =
      values.storage === undefined ? undefined : storageClient(genesis, values.storage, storageToken ?? (() => ''))
    return subjectOf(genesis, () => nodes, token, storage)
  }
  const dir = clusterFolder(values.dir)
  const { auditor } = readCluster(dir)
  const genesis = readFileBytes(values.genesis ?? clusterPaths.genesis(dir))
  const tokenOf = token ?? keptFor(() => readerToken(dir, 'auditor', 'ledger'))
  const urls = values.storage ?? nodesOf(dir, 'storage').flatMap(({ url }) => (url === undefined ? [] : [url]))
  // Of an auditor people know that he looks at blocks; anybody else's look would alarm them.
  const storageTokenOf = storageToken ?? keptFor(() => readerToken(dir, 'auditor', 'storage'))
  const isStored = urls.length > 0 && (auditor !== undefined || storageToken !== undefined)
  const storage = isStored ? storageClient(genesis, urls, storageTokenOf) : undefined
  return subjectOf(genesis, () => nodesOf(dir, 'accounting'), tokenOf, storage)
}

/**
 * A token from the command line or from a file, which is read anew each time: a token lasts a day, and a watch longer.
 *
 * @throws {UsageError} for both; {CommandError} for a file that cannot be read at first.
 */
function tokenGiven(values: SubjectValues, option: 'token' | 'storage-token'): (() => string) | undefined {
  const [text, file] = [values[option], values[`${option}-file`]]
  if (file === undefined) return text === undefined ? undefined : () => text
  if (text !== undefined) throw new UsageError(`takes --${option} or --${option}-file, not both`)
  let known = readFileText(file).trim()
  return () => {
    try {
      // While somebody writes it, it may be empty.
      known = readFileText(file).trim() || known
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
    }
    return known
  }
}

function requireUrls(option: string, urls: readonly string[]): void {
  for (const url of urls)
    if (!/^https?:/.test(url) || !URL.canParse(url)) throw new UsageError(`--${option} takes a URL, not "${url}"`)
}

/** Whether the private IPFS has a block, for an audit. */
export function storageProbe(storage: StorageClient | undefined): StorageProbe | undefined {
  if (storage === undefined) return undefined
  return { has: async ({ digest, codec }) => (await storage.stat(digest, { codec })) !== undefined }
}

function subjectOf(
  genesis: Uint8Array,
  nodesNow: () => readonly AuditNode[],
  token: (() => string) | undefined,
  storage: StorageClient | undefined,
): LedgerSubject {
  const nodes = nodesNow()
  const client = new LedgerClient({
    urls: nodes.flatMap(({ url }) => (url === undefined ? [] : [url])),
    trust: genesisTrust(parseGenesis(genesis)),
    ...(token === undefined ? {} : { token }),
  })
  return { genesis, nodes, nodesNow, client, storage }
}

/** A node that is started again may have another address: it is looked up each time. */
function nodesOf(dir: string, role: 'accounting' | 'storage'): AuditNode[] {
  return readCluster(dir)
    .nodes.filter((node) => node.role === role)
    .map(({ name }) => ({
      name,
      get url() {
        return readProcess(clusterPaths.node(dir, name)).url
      },
    }))
}

function storageClient(genesis: Uint8Array, urls: readonly string[], token: () => string): StorageClient {
  const { ledgerId } = parseGenesis(genesis)
  return new StorageClient({ urls, ledgerId, token, storeKeyOf: () => undefined })
}

function keptFor(make: () => string): () => string {
  let kept: { token: string; untilMs: number } | undefined
  return () => {
    if (kept === undefined || kept.untilMs < Date.now()) kept = { token: make(), untilMs: Date.now() + tokenKeptMs }
    return kept.token
  }
}
