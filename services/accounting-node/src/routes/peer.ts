/** What nodes ask each other over HTTP (SPEC.md §2): one route per chain and method, CBOR in and out, for node accounts only. */
import { ChainError } from '@healthblock/chain/errors'
import { verifyToken } from '@healthblock/chain/token'
import type { ChainName } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { FastifyInstance, FastifyRequest } from '@healthblock/runtime/http-app'
import type { ChainCore } from '../core/chain-core.ts'
import { peerMethods } from '../core/ports.ts'

/** Largest body: a block of 4,096 transactions, with its acks. */
const bodySizeBytesMax = 16 * 1024 * 1024
/** Tokens whose signature was checked, so that it is checked once and not with each message. */
const tokensKnownMax = 64

/** Gives the rank of the node that sent a request. */
export type PeerGuard = (request: FastifyRequest) => number

/** What a guard goes by. */
export interface PeerGuardOptions {
  readonly ledgerId: Uint8Array
  /** Accounts of all nodes by rank; `rank` is this node's. */
  readonly accounts: readonly Uint8Array[]
  readonly rank: number
  /** The live key of an account in this node's own Userchain state. */
  readonly keyOf: (account: Uint8Array, key: number) => Uint8Array | undefined
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
  const known = new Map<string, { rank: number; until: number }>()
  return (request) => {
    const token = bearerOf(request)
    const nowMs = options.nowMs()
    const before = known.get(token)
    if (before !== undefined && before.until > nowMs) return before.rank
    known.delete(token)
    const { ledgerId, keyOf, accounts } = options
    const audiences = [accounts[options.rank] as Uint8Array]
    try {
      const { account, until } = verifyToken({ token, ledgerId, audiences, scope: 'ledger', nowMs, keyOf })
      const rank = accounts.findIndex((node) => equalBytes(node, account))
      if (rank === -1)
        throw new RuntimeError('not a node of this ledger', { code: 'ERR_ROLE_FORBIDDEN', needed: 'node' })
      if (known.size >= tokensKnownMax) known.clear()
      known.set(token, { rank, until })
      return rank
    } catch (cause) {
      if (!(cause instanceof ChainError) || cause.detail.code !== 'ERR_TOKEN_INVALID') throw cause
      const { reason } = cause.detail
      throw new RuntimeError(`the token is not valid: ${reason}`, { code: 'ERR_TOKEN_INVALID', reason }, { cause })
    }
  }
}

/** Adds `POST /peer/<chain>/<method>` for both chains. */
export function registerPeerRoutes(
  app: FastifyInstance,
  cores: Readonly<Record<ChainName, ChainCore>>,
  guard: PeerGuard,
): void {
  for (const chain of ['userchain', 'docchain'] as const) {
    for (const method of peerMethods) {
      app.post(
        `/peer/${chain}/${method}`,
        { bodyLimit: bodySizeBytesMax, schema: { hide: true } },
        async (request, reply) => {
          const from = guard(request)
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
