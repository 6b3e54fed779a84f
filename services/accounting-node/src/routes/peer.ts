/** What nodes ask each other over HTTP (SPEC.md §2): one route per chain and method, CBOR in and out, for node accounts only. */

import type { ChainName } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import type { RankedNode } from '@healthblock/chain/policy'
import { parseToken, verifyToken } from '@healthblock/chain/token'
import { equalBytes } from '@healthblock/encoding/bytes'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyInstance, FastifyRequest } from '@healthblock/runtime/http-app'
import type { ChainCore } from '../core/chain-core.ts'
import { peerMethods } from '../core/ports.ts'

/** Largest body: a block of 4,096 transactions, with its acks. */
const bodySizeBytesMax = 16 * 1024 * 1024
/** Tokens whose signature was checked, so that it is checked once and not with each message. */
const tokensKnownMax = 64
/** Number of a node's key in its account. */
const nodeKeyNumber = 2

/** Gives the rank of the node that sent a request. */
export type PeerGuard = (request: FastifyRequest) => number

/** What a guard goes by. */
export interface PeerGuardOptions {
  readonly ledgerId: Uint8Array
  /** This node's account. */
  readonly account: Uint8Array
  /** The nodes of the policies in force, and of those before a switch that is under way, by account; one may stand there with two keys. */
  readonly peer: (account: Uint8Array) => readonly RankedNode[]
  readonly nowMs: () => number
}

function bearerOf(request: FastifyRequest): string {
  const { authorization } = request.headers
  if (authorization === undefined || !authorization.startsWith('Bearer ')) {
    throw new RuntimeError('a node token is needed', { code: 'ERR_TOKEN_MISSING' })
  }
  return authorization.slice('Bearer '.length)
}

/**
 * A guard that admits node accounts of the policy by tokens for this very node.
 *
 * @returns A function that throws {@link RuntimeError} `ERR_TOKEN_MISSING`, `ERR_TOKEN_INVALID` or `ERR_ROLE_FORBIDDEN`.
 */
export function createPeerGuard(options: PeerGuardOptions): PeerGuard {
  const known = new Map<string, { account: Uint8Array; key: Uint8Array; until: number }>()
  return (request) => {
    const token = bearerOf(request)
    const nowMs = options.nowMs()
    const before = known.get(token)
    if (before !== undefined && before.until > nowMs) {
      // A node that was removed, or whose key was replaced, is not heard with the token of an hour ago.
      const node = options.peer(before.account).find(({ node: keys }) => equalBytes(keys[2], before.key))
      if (node !== undefined) return node.rank
    }
    known.delete(token)
    try {
      const { account } = parseToken(token).statement
      const nodes = options.peer(account)
      for (const [position, node] of nodes.entries()) {
        const key = node.node[2]
        const until = verified(token, key, position === nodes.length - 1, { ...options, nowMs })
        if (until === undefined) continue
        if (known.size >= tokensKnownMax) known.clear()
        known.set(token, { account, key, until })
        return node.rank
      }
    } catch (cause) {
      if (!(cause instanceof ChainError) || cause.detail.code !== 'ERR_TOKEN_INVALID') throw cause
      const { reason } = cause.detail
      throw new RuntimeError(`the token is not valid: ${reason}`, { code: 'ERR_TOKEN_INVALID', reason }, { cause })
    }
    throw new RuntimeError('not a node of this ledger', { code: 'ERR_ROLE_FORBIDDEN', needed: 'node' })
  }
}

/** End of a token's life if it is signed by this node key; undefined if another key may yet fit. */
function verified(
  token: string,
  key: Uint8Array,
  isLast: boolean,
  { ledgerId, account, nowMs }: { ledgerId: Uint8Array; account: Uint8Array; nowMs: number },
): number | undefined {
  const keyOf = (_account: Uint8Array, number: number) => (number === nodeKeyNumber ? key : undefined)
  try {
    return verifyToken({ token, ledgerId, audiences: [account], scope: 'ledger', nowMs, keyOf }).until
  } catch (error) {
    if (isLast || !(error instanceof ChainError)) throw error
    return undefined
  }
}

/** Adds `POST /peer/<chain>/<method>` for both chains. Who is no node is refused before his body is read. */
export function registerPeerRoutes(
  app: FastifyInstance,
  cores: Readonly<Record<ChainName, ChainCore>>,
  guard: PeerGuard,
): void {
  const ranks = new WeakMap<FastifyRequest, number>()
  const onRequest = async (request: FastifyRequest): Promise<void> => void ranks.set(request, guard(request))
  for (const chain of ['userchain', 'docchain'] as const) {
    for (const method of peerMethods) {
      app.post(
        `/peer/${chain}/${method}`,
        { bodyLimit: bodySizeBytesMax, schema: { hide: true }, onRequest },
        async (request, reply) => {
          const from = ranks.get(request) as number
          if (!(request.body instanceof Uint8Array)) {
            throw new RuntimeError('the body must be application/cbor', {
              code: 'ERR_REQUEST_INVALID',
              field: 'body',
              reason: 'cbor',
            })
          }
          const answer = await cores[chain].handlePeer(from, method, request.body)
          return reply.type('application/cbor').send(Buffer.from(answer.buffer, answer.byteOffset, answer.byteLength))
        },
      )
    }
  }
}
