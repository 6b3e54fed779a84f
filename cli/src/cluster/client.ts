import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CommandError } from '../io.ts'
import { type ClusterFile, clusterPaths, shellWord } from './layout.ts'
import { readProcess } from './processes.ts'

/** How to call a node: its URL and what goes behind `Bearer`. */
export interface NodeAccess {
  readonly name: string
  readonly url: string
  readonly bearer: string
}

interface Problem {
  readonly title?: string
  readonly detail?: string
  readonly code?: string
}

/** An answer that is not 2xx, with the node's own words. */
export class NodeError extends CommandError {
  readonly status: number
  readonly body: Record<string, unknown>
  /** When to ask again, if the node said it. */
  readonly retryAfterMs: number | undefined
  constructor(message: string, status: number, body: Record<string, unknown>, retryAfterMs?: number) {
    super(message, undefined)
    this.status = status
    this.body = body
    this.retryAfterMs = retryAfterMs
  }
}

/** Behind the refusal of who has a second factor: a key is asked by a browser, which this is not. */
const codeHint = ': --code DIGITS of the authenticator app; a security key or passkey works in the portal alone'

/**
 * Calls a route of a node with JSON in and out.
 *
 * @throws {NodeError} for an answer that is not 2xx.
 * @throws {CommandError} if the node cannot be reached.
 */
export async function callNode<T>(
  access: NodeAccess,
  method: 'GET' | 'POST' | 'PUT' | 'DELETE',
  path: string,
  body?: unknown,
  timeoutMs = 60_000,
): Promise<T> {
  let response: Response
  try {
    response = await fetch(new URL(path, access.url), {
      method,
      headers: {
        authorization: `Bearer ${access.bearer}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(timeoutMs),
    })
  } catch (cause) {
    throw new CommandError(`${access.name} cannot be reached at ${access.url}; see ./healthblock status`, undefined, {
      cause,
    })
  }
  const text = await response.text()
  const parsed = parseJson(text)
  if (!response.ok) {
    const problem = (parsed ?? {}) as Problem
    const words = problem.detail ?? problem.title ?? text.slice(0, 200)
    const hint = problem.code === 'ERR_CODE_NEEDED' ? codeHint : ''
    const said = (parsed ?? {}) as Record<string, unknown>
    throw new NodeError(`${access.name}: ${words}${hint}`, response.status, said, retryAfterMsOf(response))
  }
  return parsed as T
}

/** When to ask again, if the answer says it in seconds. */
export function retryAfterMsOf(response: Response): number | undefined {
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined
}

function parseJson(text: string): unknown {
  if (text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * How to call a node of a running cluster with the secret of its own folder (`api.secret`, or an accounting node's
 * `admin.secret`).
 *
 * @throws {CommandError} if there is no such node, or it does not run.
 */
export function nodeAccess(dir: string, cluster: ClusterFile, name: string): NodeAccess {
  const names = cluster.nodes.map((node) => node.name)
  if (!names.includes(name)) throw new CommandError(`there is no node "${name}" here (${names.join(', ')})`)
  const folder = clusterPaths.node(dir, name)
  const { url } = readProcess(folder)
  if (url === undefined)
    throw new CommandError(`${name} does not run: start the cluster with ./healthblock up --dir ${shellWord(dir)}`)
  const role = cluster.nodes.find((node) => node.name === name)?.role
  const secretName = role === 'accounting' ? 'admin.secret' : 'api.secret'
  const bearer = readFileSync(join(folder, 'secrets', secretName), 'utf8').trim()
  return { name, url, bearer }
}
