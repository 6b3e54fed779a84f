import { createErasureOrder } from '@healthblock/chain/erasure-order'
import type { SigningKey } from '@healthblock/crypto/signature'
import { fromHex, toBase64Url } from '@healthblock/encoding/bytes'
import { cidOf, parseCidText } from '@healthblock/runtime/storage-client'
import { readerToken, tenantKey } from '../cluster/enrol.ts'
import { clusterFolder, readCluster } from '../cluster/layout.ts'
import { clusterStatus } from '../cluster/status.ts'
import { readKeyFile } from '../governance/card.ts'
import { readFileText } from '../input-file.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions, takePositionals, tellHelp } from '../options.ts'
import { formatTable } from '../table.ts'
import { serveStandalone } from './storage-serve.ts'

const help = `Usage: ./healthblock storage ACTION

  token            a test tenant's bearer token for every storage node (24 h): put, get, pin, list, remove its own blocks
  status           every storage node: what it keeps, blocks below the wished number of copies, its last repair and scrub
  scrub            reads and checks every block at every node; damaged ones are healed from a replica
  repair           compares every block with the other nodes and places what is missing
  erase CID…       erases what the account owns or references, a file with all its blocks, at every node; signed with its key
  proof CID…       asks every node for its own copy: exit 0 if none has one
                   (CID of a reading: also its hash, as "patient readings --json" has it)
  serve --standalone [--dir DIR] [--nodes N] [--replicas R] [--port P] [--backend embedded|kubo]
                   a private IPFS without a ledger: makes keys and a token in DIR (default .healthblock-ipfs), runs until Ctrl-C

Options: --dir DIR, --json
For nodes outside a local cluster: --url URL[,URL…] --token-file FILE [--key-file FILE], the account's seed in hex: erase signs with it
`

/** The nodes that are asked, and with which token. */
interface Stores {
  readonly nodes: readonly { readonly name: string; readonly url: string | null; readonly state: string }[]
  readonly token: string
  /** Signs what is erased, of an account that has a key. */
  readonly key?: SigningKey
}

interface Context {
  readonly stores: Stores
  readonly io: Io
  readonly json: boolean
}

const timeoutMs = 10_000
const workTimeoutMs = 24 * 3_600_000

async function request(
  url: string,
  path: string,
  options: { token: string; body?: unknown; method?: string; timeoutMs?: number },
): Promise<Response> {
  try {
    return await fetch(new URL(path, url), {
      method: options.method ?? 'POST',
      headers: {
        authorization: `Bearer ${options.token}`,
        ...(options.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
      signal: AbortSignal.timeout(options.timeoutMs ?? timeoutMs),
    })
  } catch (cause) {
    throw new CommandError(`no storage node answers at ${url}`, undefined, { cause })
  }
}

async function findStores(values: Record<string, string | boolean | undefined>): Promise<Stores> {
  const urls = values.url as string | undefined
  if (urls !== undefined) {
    const file = values['token-file'] as string | undefined
    if (file === undefined) throw new UsageError('--url needs --token-file FILE')
    const nodes = urls.split(',').map((url) => ({ name: url, url, state: 'given' }))
    for (const { url } of nodes)
      if (!/^https?:/.test(url) || !URL.canParse(url)) throw new UsageError(`--url takes URLs, not "${url}"`)
    const token = readFileText(file).trim()
    const keyFile = values['key-file'] as string | undefined
    if (keyFile === undefined) return { nodes, token }
    return { nodes, token, key: readKeyFile(keyFile) }
  }
  const dir = clusterFolder(values.dir as string | undefined)
  const { nodes } = await clusterStatus(dir, readCluster(dir))
  const token = readerToken(dir, 'tenant', 'storage')
  return { nodes: nodes.filter(({ role }) => role === 'storage'), token, key: tenantKey(dir) }
}

function print(context: Context, value: unknown, words: () => string): void {
  context.io.stdout(context.json ? `${JSON.stringify(value)}\n` : words())
}

interface NodeStatus {
  readonly blocks?: number
  readonly bytes?: number
  readonly below?: number
  readonly peers?: number
  readonly handoffs?: number
  readonly erased?: number
  readonly repair?: { at: number; checked: number; placed: number } | null
  readonly scrub?: { startedAt: number; endedAt?: number; checked: number; damaged: number; total: number } | null
}

async function statusOf(
  url: string | null,
  token: string,
): Promise<NodeStatus & { RepoSize?: number; refused?: string }> {
  if (url === null) return {}
  try {
    const response = await request(url, '/v1/status', { token, method: 'GET' })
    const answer = (await response.json().catch(() => ({}))) as NodeStatus & { Message?: string }
    if (!response.ok) return { refused: answer.Message ?? `it answered ${response.status}` }
    const status: NodeStatus = answer
    const stat = await request(url, '/api/v0/repo/stat', { token })
    return stat.ok ? { ...((await stat.json()) as object), ...status } : status
  } catch {
    return {}
  }
}

function timeOf(ms: number | undefined): string {
  return ms === undefined ? '-' : new Date(ms).toISOString()
}

function scrubWords({ scrub }: NodeStatus): string {
  if (!scrub) return '-'
  const damaged = scrub.damaged > 0 ? `, ${scrub.damaged} damaged` : ''
  return scrub.endedAt === undefined ? `${scrub.checked} of ${scrub.total}${damaged}` : timeOf(scrub.endedAt) + damaged
}

async function status(context: Context): Promise<ExitCode> {
  const { nodes, token } = context.stores
  const rows = await Promise.all(
    nodes.map(async (node) => {
      const told = await statusOf(node.url, token)
      if (told.refused !== undefined) return { ...node, ...told, state: `refused: ${told.refused}` }
      const isGone = node.state === 'given' && told.blocks === undefined
      return { ...node, ...(isGone ? { state: 'unreachable' } : {}), ...told }
    }),
  )
  print(context, rows, () =>
    formatTable([
      ['node', 'state', 'blocks', 'bytes', 'below', 'peers', 'handoffs', 'erased', 'repair', 'scrub', 'address'],
      ...rows.map((row) => [
        ...[row.name, row.state, row.blocks, row.bytes, row.below, row.peers, row.handoffs, row.erased].map((value) =>
          String(value ?? '-'),
        ),
        timeOf(row.repair?.at),
        scrubWords(row),
        row.url ?? '-',
      ]),
    ]),
  )
  return rows.every((row) => row.blocks !== undefined && (row.below ?? 0) === 0) ? 0 : 1
}

async function* linesOf(response: Response): AsyncGenerator<Record<string, unknown>> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) if (line !== '') yield JSON.parse(line) as Record<string, unknown>
  }
}

/** Lines of a node that may end before its work does. @throws {CommandError} */
async function* untilItEnds<T>(name: string, lines: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* lines
  } catch (cause) {
    throw new CommandError(`${name} ended in the middle of it`, undefined, { cause })
  }
}

/** Long work at one node, told as it goes: rate and remaining time on a terminal, plain lines otherwise. */
async function follow(context: Context, node: Stores['nodes'][number], path: string): Promise<Record<string, unknown>> {
  const { io, stores } = context
  if (node.url === null) throw new CommandError(`${node.name} does not run`)
  const response = await request(node.url, path, { token: stores.token, timeoutMs: workTimeoutMs })
  if (!response.ok) {
    const { Message } = (await response.json().catch(() => ({}))) as { Message?: string }
    throw new CommandError(`${node.name}: ${Message ?? `it answered ${response.status}`}`)
  }
  const startedAt = performance.now()
  const damagedCids: string[] = []
  let last: Record<string, unknown> = {}
  for await (const line of untilItEnds(node.name, linesOf(response))) {
    if (line.Type === 'error') throw new CommandError(`${node.name}: ${line.Message}`)
    if (typeof line.damaged === 'string') {
      damagedCids.push(line.damaged)
      io.stderr(`${node.name}: ${line.damaged} is damaged; it is set aside and healed from a replica\n`)
      continue
    }
    last = line
    const [checked, total] = [Number(line.checked ?? 0), Number(line.total ?? 0)]
    const rate = checked / Math.max(0.001, (performance.now() - startedAt) / 1000)
    const left = rate > 0 ? Math.max(0, Math.ceil((total - checked) / rate)) : 0
    const words = `${node.name}: ${checked} of ${total} blocks, ${rate.toFixed(0)}/s, ${left} s left`
    io.stderr(io.interactive ? `\r${words}  ` : `${words}\n`)
  }
  if (io.interactive) io.stderr('\n')
  return { node: node.name, ...last, ...(damagedCids.length > 0 ? { damagedCids } : {}) }
}

/** One after the other. A node that does not do it is named, and leaves the others alone; only if none does it the command fails. */
async function work(
  context: Context,
  path: string,
  isFine: (result: Record<string, unknown>) => boolean,
): Promise<ExitCode> {
  const results: Record<string, unknown>[] = []
  const failures: CommandError[] = []
  for (const node of context.stores.nodes) {
    try {
      results.push(await follow(context, node, path))
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      failures.push(error)
      results.push({ node: node.name, error: error.message })
      context.io.stderr(`not done: ${error.message}\n`)
    }
  }
  const [failure] = failures
  if (failure !== undefined && failures.length === results.length) throw failure
  print(context, results, () =>
    formatTable([
      ['node', 'blocks', 'damaged', 'placed', 'below'],
      ...results.map((result) =>
        ['node', 'checked', 'damaged', 'placed', 'below'].map((key) => String(result[key] ?? '-')),
      ),
    ]),
  )
  return failures.length === 0 && results.every(isFine) ? 0 : 1
}

interface ErasureLine {
  readonly cid: string
  readonly state: 'erased' | 'released' | 'refused'
  readonly blocks?: number
  readonly removeAt?: string
  readonly Message?: string
  readonly Reason?: string
}

/** The CID of a block, given as one or as its SHA-256, which is how readings name their blocks. @throws {UsageError} for anything else. */
function blockCid(text: string): string {
  if (/^[0-9a-f]{64}$/.test(text)) return cidOf(fromHex(text))
  if (parseCidText(text) === undefined) throw new UsageError(`"${text}" is no CID of a block`)
  return text
}

/** The account's order for each CID, as the stores check it (services/storage/SPEC.md §3a). */
async function signOrders(
  by: { readonly url: string; readonly token: string; readonly key: SigningKey },
  cids: readonly string[],
): Promise<string[]> {
  const response = await request(by.url, '/v1/status', { token: by.token, method: 'GET' })
  if (!response.ok) throw new CommandError(`the storage node does not say who asks: it answered ${response.status}`)
  const { ledgerId, account } = (await response.json()) as { ledgerId: string; account: string }
  return cids.map((text) => {
    const block = parseCidText(text) as NonNullable<ReturnType<typeof parseCidText>>
    const signer = { account: fromHex(account), key: 1, signingKey: by.key, ledgerId: fromHex(ledgerId) }
    return toBase64Url(createErasureOrder({ ...signer, ...block, ms: Date.now() }))
  })
}

/** The first node that answers. @throws {CommandError} if none does. */
async function findAnswering({ nodes, token }: Stores): Promise<string> {
  let failure = new CommandError('no storage node runs')
  for (const { url } of nodes) {
    if (url === null) continue
    try {
      await (await request(url, '/healthz', { token, method: 'GET' })).arrayBuffer()
      return url
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      failure = error
    }
  }
  throw failure
}

async function erase(context: Context, cids: readonly string[]): Promise<ExitCode> {
  const { token, key } = context.stores
  const url = await findAnswering(context.stores)
  const orders = key === undefined ? undefined : await signOrders({ url, token, key }, cids)
  const body = { cids, ...(orders === undefined ? {} : { orders }) }
  const response = await request(url, '/v1/erasures', { token, body, timeoutMs: 600_000 })
  const answer = (await response.json().catch(() => ({}))) as { results?: ErasureLine[]; Message?: string }
  const { results } = answer
  if (!response.ok || results === undefined) throw new CommandError(answer.Message ?? `it answered ${response.status}`)
  print(context, { results }, () =>
    formatTable([
      ['cid', 'state', 'blocks', 'removed at'],
      ...results.map(({ cid, state, blocks, removeAt, Message, Reason }) => [
        cid,
        state === 'refused'
          ? `refused: ${Message}${Reason === 'ERR_SIGNATURE_NEEDED' ? ' (--key-file FILE)' : ''}`
          : state,
        String(blocks ?? '-'),
        removeAt ?? '-',
      ]),
    ]),
  )
  return results.every(({ state }) => state !== 'refused') ? 0 : 1
}

/** What one node says of its own copy, asking nobody else. */
async function ownCopy(url: string | null, cid: string, token: string): Promise<string> {
  if (url === null) return 'unreachable'
  try {
    const response = await request(url, `/api/v0/block/stat?arg=${encodeURIComponent(cid)}&offline=true`, { token })
    if (response.ok) return 'present'
    const { Reason } = (await response.json()) as { Reason?: string }
    if (Reason === 'ERR_BLOCK_ERASED') return 'erased'
    return Reason === 'ERR_BLOCK_NOT_FOUND' ? 'absent' : `failed: ${Reason ?? response.status}`
  } catch {
    return 'unreachable'
  }
}

async function proof(context: Context, cids: readonly string[]): Promise<ExitCode> {
  const { nodes, token } = context.stores
  const at = new Date().toISOString()
  const blocks = await Promise.all(
    cids.map(async (cid) => {
      const answers = await Promise.all(
        nodes.map(async ({ name, url }) => [name, await ownCopy(url, cid, token)] as const),
      )
      return { cid, nodes: Object.fromEntries(answers) }
    }),
  )
  const states = blocks.flatMap(({ nodes: answers }) => Object.values(answers))
  const isGone = states.length > 0 && states.every((state) => state === 'erased' || state === 'absent')
  print(context, { at, isGone, blocks }, () =>
    formatTable([
      ['cid', ...nodes.map(({ name }) => name)],
      ...blocks.map(({ cid, nodes: answers }) => [cid, ...Object.values(answers)]),
    ]),
  )
  return isGone ? 0 : 1
}

/** `./healthblock storage …`. */
export async function runStorage(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    url: { type: 'string' },
    'token-file': { type: 'string' },
    'key-file': { type: 'string' },
    standalone: { type: 'boolean' },
    nodes: { type: 'string' },
    port: { type: 'string' },
    backend: { type: 'string' },
    replicas: { type: 'string' },
  })
  const [action, ...rest] = positionals
  if (values.help === true || action === undefined) return tellHelp(help, values.help === true, io)
  if (action === 'token') {
    takePositionals(rest, [])
    const token = readerToken(clusterFolder(values.dir as string | undefined), 'tenant', 'storage')
    io.stdout(values.json === true ? `${JSON.stringify({ token })}\n` : `${token}\n`)
    return 0
  }
  if (action === 'serve') {
    takePositionals(rest, [])
    if (values.standalone !== true)
      throw new UsageError('serve needs --standalone: with a ledger, nodes start with "up"')
    const { dir = '.healthblock-ipfs', nodes, port, backend, replicas, json = false } = values
    return await serveStandalone({ dir, nodes, port, backend, replicas, json }, io)
  }
  const takesCids = action === 'erase' || action === 'proof'
  if (takesCids && rest.length === 0) throw new UsageError(`${action} needs CID…`)
  if (!takesCids) takePositionals(rest, [])
  if (!['status', 'scrub', 'repair', 'erase', 'proof'].includes(action)) {
    throw new UsageError(`there is no action "${action}"`)
  }
  const cids = takesCids ? rest.map(blockCid) : []
  const context = { stores: await findStores(values as never), io, json: values.json === true }
  switch (action) {
    case 'status':
      return await status(context)
    case 'scrub':
      return await work(context, '/v1/scrub', ({ damaged }) => damaged === 0)
    case 'repair':
      return await work(context, '/v1/repair', ({ below }) => below === 0)
    case 'erase':
      return await erase(context, cids)
    default:
      return await proof(context, cids)
  }
}
