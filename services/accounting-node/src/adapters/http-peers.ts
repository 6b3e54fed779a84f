/** Calls to peers over HTTP with connections that stay open; each carries a token of this node for the one peer. */
import { Agent, request as httpRequest } from 'node:http'
import { request as httpsRequest, Agent as TlsAgent } from 'node:https'
import { createToken } from '@healthblock/chain/token'
import type { SigningKey } from '@healthblock/crypto/signature'
import { messageOf } from '@healthblock/runtime/errors'
import { AccountingError } from '../errors.ts'
import type { HeardNetwork } from '../peer-pulse.ts'

/** Largest answer: blocks of a peer, with room. */
const answerSizeBytesMax = 32 * 1024 * 1024
/** Connections to one peer. */
const connectionsMax = 16
/** Lifetime of a token, and how long before its end it is made anew. */
const tokenMs = 3_600_000
const tokenRenewMs = 600_000

/** How to reach the peers. */
export interface HttpPeersOptions {
  readonly ledgerId: Uint8Array
  /** Account of a node by rank, asked when a token is made; undefined if it is not known. */
  readonly accountOf: (rank: number) => Uint8Array | undefined
  /** This node's account and node key. */
  readonly account: Uint8Array
  readonly nodeKey: SigningKey
  /** Ranks whose addresses are known. */
  readonly known?: () => readonly number[]
  /** Base URL of a rank, asked at each call; undefined if it is not known. */
  readonly urlOf: (rank: number) => string | undefined
  /** Unix ms: when tokens end. */
  readonly nowMs: () => number
  /** Ms of the clock that never steps: when a peer was heard. */
  readonly elapsedMs: () => number
}

/** A network and its connections. */
export interface HttpPeers extends HeardNetwork {
  /**
   * How far this clock is from the median of the peers', ms, by the dates of their answers (to a second); 0 before the first.
   * A refusal has a date too: a node whose clock is so wrong that its tokens count for nothing learns it here.
   */
  clockSkewMs(): number
  close(): void
}

interface Request {
  readonly url: URL
  readonly token: string
  readonly body: Uint8Array
  readonly timeoutMs: number
  readonly agents: { readonly plain: Agent; readonly tls: TlsAgent }
}

interface Answer {
  readonly status: number
  readonly bytes: Uint8Array
  /** When the peer answered, by its own clock; NaN if it does not say. */
  readonly dateMs: number
}

/** One POST. */
function post({ url, token, body, timeoutMs, agents }: Request): Promise<Answer> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer>()
  const headers = {
    'content-type': 'application/cbor',
    'content-length': body.length,
    authorization: `Bearer ${token}`,
  }
  const options = { method: 'POST', headers }
  const request =
    url.protocol === 'https:'
      ? httpsRequest(url, { ...options, agent: agents.tls })
      : httpRequest(url, { ...options, agent: agents.plain })
  // A signal with a timeout of its own costs as much as the rest of a short call.
  const late = setTimeout(() => request.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs)
  late.unref()
  request.setNoDelay(true)
  request.on('error', reject)
  request.on('close', () => clearTimeout(late))
  request.on('response', (response) => {
    const parts: Buffer[] = []
    let sizeBytes = 0
    response.on('error', reject)
    response.on('data', (part: Buffer) => {
      sizeBytes += part.length
      if (sizeBytes > answerSizeBytesMax) request.destroy(new Error('the answer is too large'))
      else parts.push(part)
    })
    const { statusCode: status = 0, headers: found } = response
    const dateMs = Date.parse(found.date ?? '')
    response.on('end', () => resolve({ status, bytes: new Uint8Array(Buffer.concat(parts)), dateMs }))
  })
  request.end(body)
  return promise
}

function isRefused(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ECONNREFUSED'
}

/** Opens the calling side of the peer network; no connection is made before the first call. */
export function openHttpPeers(options: HttpPeersOptions): HttpPeers {
  const settings = { keepAlive: true, maxSockets: connectionsMax, scheduling: 'lifo' } as const
  const agents = { plain: new Agent(settings), tls: new TlsAgent(settings) }
  const tokens = new Map<number, { token: string; untilMs: number }>()
  const skewMs = new Map<number, number>()
  const heardMs = new Map<number, number>()

  const tokenFor = (rank: number): string | undefined => {
    const nowMs = options.nowMs()
    const known = tokens.get(rank)
    if (known !== undefined && known.untilMs > nowMs + tokenRenewMs) return known.token
    const { account } = options
    const audience = options.accountOf(rank)
    if (audience === undefined) return undefined
    const untilMs = nowMs + tokenMs
    const statement = { account, audience, scope: 'ledger', until: untilMs } as const
    const token = createToken({ ledgerId: options.ledgerId, statement, key: 2, signingKey: options.nodeKey })
    tokens.set(rank, { token, untilMs })
    return token
  }

  return {
    known: () => options.known?.() ?? [],
    async call(rank, chain, method, body, { timeoutMs }) {
      const base = options.urlOf(rank)
      const unreachable = (reason: string, cause?: unknown): AccountingError =>
        new AccountingError(`rank ${rank}: ${reason}`, { code: 'ERR_PEER_UNREACHABLE', rank, reason }, { cause })
      if (base === undefined) throw unreachable('its address is not known')
      const token = tokenFor(rank)
      if (token === undefined) throw unreachable('its account is not known')
      let answer: Answer
      try {
        const url = new URL(`/peer/${chain}/${method}`, base)
        answer = await post({ url, token, body, timeoutMs, agents })
      } catch (cause) {
        // Nobody listens: no need to wait until the last answer is old.
        if (isRefused(cause)) heardMs.delete(rank)
        throw unreachable(messageOf(cause), cause)
      }
      if (!Number.isNaN(answer.dateMs)) skewMs.set(rank, options.nowMs() - answer.dateMs)
      if (answer.status === 200) {
        heardMs.set(rank, options.elapsedMs())
        return answer.bytes
      }
      if (answer.status >= 500) throw unreachable(`status ${answer.status}`)
      const reason = `status ${answer.status}`
      throw new AccountingError(`rank ${rank} refused: ${reason}`, { code: 'ERR_PEER_REFUSED', rank, reason })
    },
    heardMs: (rank) => heardMs.get(rank),
    clockSkewMs() {
      const sorted = [...skewMs.values()].sort((a, b) => a - b)
      return Math.abs(sorted[sorted.length >> 1] ?? 0)
    },
    close() {
      agents.plain.destroy()
      agents.tls.destroy()
    },
  }
}
