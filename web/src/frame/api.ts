/** Talks to the node that served the page. */

/** What the node knows of the session. */
export interface SessionView {
  readonly name: string
  readonly role: string
  readonly expiresAt: string
  readonly idleSeconds: number
  readonly csrf: string
  readonly now: string
}

/** A request that did not do what it should; the message is meant for the reader. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  /** HTTP status; 0 when there is no answer. */
  readonly status: number
  /** Typed code of the problem document; `ERR_OFFLINE` when the node was not reached, `ERR_LATE` when no answer came in time. */
  readonly code: string
  /** The whole problem document: some carry more than words. */
  readonly problem: Readonly<Record<string, unknown>>
  constructor(message: string, status: number, problem: Readonly<Record<string, unknown>>) {
    super(message)
    this.status = status
    this.problem = problem
    this.code = typeof problem.code === 'string' ? problem.code : 'ERR_UNKNOWN'
  }
}

/** How to ask. */
export interface CallOptions {
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE'
  readonly body?: unknown
  /** True for what the page does by itself: it does not keep the session from growing idle. */
  readonly isBackground?: boolean
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Default 30 s; a revocation or a post waits for the ledger and takes longer. */
  readonly timeoutMs?: number
}

let csrf = ''
let clockOffsetMs = 0
/** The cookie is one for all tabs: who logs in in one of them has logged in in all, who locks one has locked all, who works in one works. */
type TabMessage = 'login' | 'lock' | 'use'
const otherTabs = new BroadcastChannel('healthblock')
otherTabs.addEventListener('message', ({ data }: MessageEvent<TabMessage>) => {
  if (data === 'login') void resumeSession().catch(() => {})
  else if (data === 'lock') take(undefined)
  else for (const listener of useListeners) listener()
})
const sessionListeners = new Set<(session: SessionView | undefined) => void>()
const useListeners = new Set<() => void>()
const clockListeners = new Set<() => void>()
/** Stands from when somebody locks until the node knows: what the node could not be told then is told it before anything is shown again. */
const lockedKey = 'healthblock.locked'
/** The node's clock is known to a second, as its answers tell it; it is set again when it is off by more, for this machine's may be set meanwhile. */
const clockStepMs = 2_000

function take(session: SessionView | undefined): void {
  csrf = session?.csrf ?? ''
  if (session !== undefined) clockOffsetMs = Date.parse(session.now) - Date.now()
  for (const listener of sessionListeners) listener(session)
}

/** The node's clock, which ages are counted by: the reader's may be wrong. Unix ms. */
export function nodeNowMs(): number {
  return Date.now() + clockOffsetMs
}

/** How far the node's clock is ahead of the reader's, as of the last login or look at the session. */
export function clockOffMs(): number {
  return clockOffsetMs
}

function setClock(toldMs: number): void {
  if (!(Math.abs(toldMs - nodeNowMs()) > clockStepMs)) return
  clockOffsetMs = toldMs - Date.now()
  for (const listener of clockListeners) listener()
}

/** Tells when the reader's clock was found to be another one; returns the function that ends it. */
export function onClock(listener: () => void): () => void {
  clockListeners.add(listener)
  return () => clockListeners.delete(listener)
}

/** Somebody uses this page: the other tabs need not lock themselves. */
export function tellUse(): void {
  otherTabs.postMessage('use' satisfies TabMessage)
}

/** Something that the reader began goes on: neither this page nor another one locks itself meanwhile. */
export function noteUse(): void {
  for (const listener of useListeners) listener()
  tellUse()
}

/** Tells that another tab is used, or that something goes on; returns the function that ends it. */
export function onUseElsewhere(listener: () => void): () => void {
  useListeners.add(listener)
  return () => useListeners.delete(listener)
}

/** Tells of every login, logout and end of a session; returns the function that ends it. */
export function onSession(listener: (session: SessionView | undefined) => void): () => void {
  sessionListeners.add(listener)
  return () => sessionListeners.delete(listener)
}

async function problemOf(response: Response): Promise<ApiError> {
  let problem: Record<string, unknown> = {}
  try {
    problem = (await response.json()) as Record<string, unknown>
  } catch {
    // Not ours: a proxy's page.
  }
  const words = typeof problem.detail === 'string' ? problem.detail : `HTTP ${response.status}`
  return new ApiError(words, response.status, problem)
}

async function send(path: string, options: CallOptions): Promise<Response> {
  const { method = 'GET', body, isBackground, signal, timeoutMs = 30_000 } = options
  const isBytes = body instanceof Blob || body instanceof Uint8Array
  const headers: Record<string, string> = { accept: 'application/json', ...options.headers }
  if (method !== 'GET') headers['x-csrf-token'] ??= csrf
  if (isBackground === true) headers['x-background'] = '1'
  if (body !== undefined) headers['content-type'] ??= isBytes ? 'application/octet-stream' : 'application/json'
  const timeout = AbortSignal.timeout(timeoutMs)
  let response: Response
  try {
    response = await fetch(path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: isBytes ? (body as BodyInit) : JSON.stringify(body) }),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    })
  } catch (cause) {
    if (signal?.aborted === true) throw cause
    if (timeout.aborted) throw new ApiError('the node did not answer in time', 0, { code: 'ERR_LATE' })
    throw new ApiError('the node cannot be reached', 0, { code: 'ERR_OFFLINE' })
  }
  const { headers: told } = response
  // What may come from the browser's own store tells when that was made.
  if (told.get('cache-control')?.includes('no-store') === true) setClock(Date.parse(told.get('date') ?? ''))
  if (response.ok) return response
  const error = await problemOf(response)
  if (error.code === 'ERR_SESSION_MISSING' && !path.startsWith('/portal/')) take(undefined)
  throw error
}

/**
 * Asks the node for JSON.
 *
 * @throws {ApiError} for every answer that is not 2xx, and when there is none.
 */
export async function call<T>(path: string, options: CallOptions = {}): Promise<T> {
  const response = await send(path, options)
  const text = await response.text()
  return (text === '' ? undefined : JSON.parse(text)) as T
}

/** Asks the node for bytes. */
export async function callBytes(path: string, options: CallOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
  return new Uint8Array(await (await send(path, options)).arrayBuffer())
}

/** The session that the browser still has, or undefined. */
export async function resumeSession(): Promise<SessionView | undefined> {
  try {
    const session = await call<SessionView>('/portal/session', { isBackground: true })
    if (localStorage.getItem(lockedKey) !== null) {
      await endSession(session.csrf)
      return undefined
    }
    take(session)
    return session
  } catch (error) {
    if (error instanceof ApiError && (error.status === 401 || error.status === 403)) return undefined
    throw error
  }
}

// A page that the browser kept as it was, to go back to, shows what was seen before: it may have been locked since.
window.addEventListener('pageshow', ({ persisted }) => {
  if (persisted) void checkSession()
})

/** Asks whether the session still is one; if not, the page shows its door. A node that cannot be reached says nothing about it. `isUse`: somebody is here. */
export async function checkSession(isUse = false): Promise<void> {
  try {
    await call('/portal/session', { isBackground: !isUse })
  } catch (error) {
    if (error instanceof ApiError && error.code === 'ERR_SESSION_MISSING') take(undefined)
  }
}

/** Opens a session; with a second factor, `code` or `key` shows it. */
export async function logIn(login: {
  name: string
  passphrase: string
  code?: string
  key?: Readonly<Record<string, string>>
}): Promise<void> {
  const session = await call<SessionView>('/portal/login', { method: 'POST', body: login })
  localStorage.removeItem(lockedKey)
  take(session)
  otherTabs.postMessage('login' satisfies TabMessage)
}

/** Has the node end a session. */
async function endSession(token: string): Promise<void> {
  await call('/portal/logout', { method: 'POST', headers: { 'x-csrf-token': token } })
  localStorage.removeItem(lockedKey)
}

/** Ends the session: in all tabs at once, and at the node, now or when it can be reached again. */
export async function logOut(): Promise<void> {
  const token = csrf
  localStorage.setItem(lockedKey, '1')
  take(undefined)
  otherTabs.postMessage('lock' satisfies TabMessage)
  await endSession(token)
}
