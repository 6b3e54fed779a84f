import { type ClusterFile, clusterPaths } from './layout.ts'
import { askProcess, readProcess } from './processes.ts'

/** One process, as `status` prints it. */
export interface NodeStatus {
  readonly name: string
  readonly role: string
  readonly url: string | null
  readonly pid: number | null
  readonly dir: string
  readonly state: 'ready' | 'running' | 'stopped'
}

/** One chain, as `status` prints it; heights are null while no accounting node answers. */
export interface ChainStatus {
  readonly origin: string
  readonly logKeys: string[]
  readonly cosignerKeys: string[]
  readonly quorum: number
  readonly height: number | null
  readonly size: number | null
  readonly root: string | null
}

/** What `status --json` and `up --json` print. */
export interface ClusterStatus {
  readonly dir: string
  readonly genesis: string
  readonly nodes: NodeStatus[]
  readonly chains: Record<'userchain' | 'docchain', ChainStatus>
}

interface Head {
  readonly origin: string
  readonly height: number
  readonly size: number
  readonly root: string
  readonly logKey: string
  readonly cosignerKeys: string[]
  readonly quorum: number
}

async function get<T>(url: string, path: string): Promise<T | undefined> {
  try {
    const response = await fetch(new URL(path, url), { signal: AbortSignal.timeout(3_000) })
    const text = await response.text()
    if (!response.ok) return undefined
    return (response.headers.get('content-type')?.includes('json') === true ? JSON.parse(text) : text) as T
  } catch {
    return undefined
  }
}

async function nodeStatus(dir: string, name: string, role: string): Promise<NodeStatus> {
  const folder = clusterPaths.node(dir, name)
  const state = readProcess(folder)
  const { pid, url } = state
  const isReady = (await askProcess(state, '/readyz'))?.isWell === true
  return {
    name,
    role,
    url: url ?? null,
    pid: pid ?? null,
    dir: folder,
    state: pid === undefined ? 'stopped' : isReady ? 'ready' : 'running',
  }
}

async function chainStatus(nodes: NodeStatus[], chain: string, cluster: ClusterFile): Promise<ChainStatus> {
  const urls = nodes.filter(({ role }) => role === 'accounting').map(({ url }) => url)
  const heads = await Promise.all(
    urls.map(async (url) => (url === null ? undefined : get<Head>(url, `/v1/${chain}/head`))),
  )
  const best = heads.reduce((a, b) => (b !== undefined && (a === undefined || b.size > a.size) ? b : a), undefined)
  return {
    origin: best?.origin ?? `healthblock/${cluster.ledgerId}/${chain}`,
    logKeys: heads.flatMap((head) => (head === undefined ? [] : [head.logKey])),
    cosignerKeys: best?.cosignerKeys ?? [],
    quorum: best?.quorum ?? 0,
    height: best?.height ?? null,
    size: best?.size ?? null,
    root: best?.root ?? null,
  }
}

/** Looks at every process of a cluster. */
export async function clusterStatus(dir: string, cluster: ClusterFile): Promise<ClusterStatus> {
  const nodes = await Promise.all(cluster.nodes.map(({ name, role }) => nodeStatus(dir, name, role)))
  return {
    dir,
    genesis: clusterPaths.genesis(dir),
    nodes,
    chains: {
      userchain: await chainStatus(nodes, 'userchain', cluster),
      docchain: await chainStatus(nodes, 'docchain', cluster),
    },
  }
}
