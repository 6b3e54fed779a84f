/** What a sender holds against gateways: signed promises that were left behind, and signed refusals, for who audits. */
import { toBase64, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyRequest } from '../http/http-app.ts'
import type { Outbox } from './outbox.ts'

/** One statement of a gateway, as `GET /v1/statements` gives it. */
export interface KeptStatement {
  readonly kind: 'promise' | 'refusal'
  readonly chain: 'userchain' | 'docchain'
  /** Ids in hex: of a promise those that it left unanswered. */
  readonly transactions: readonly string[]
  /** Base64 of canonical CBOR `[statement, signature]`. */
  readonly statement: string
}

/** Adds `GET /v1/statements`. `onRequest` lets in who may read it, where the service has no guard of its own for all routes. */
export function addStatementRoute(
  app: FastifyInstance,
  outbox: Outbox,
  onRequest: (request: FastifyRequest) => Promise<void> = async () => {},
): void {
  app.get('/v1/statements', { onRequest }, async (): Promise<KeptStatement[]> => {
    const promises = outbox.passedPromises().map(({ chain, promise, transactions }): KeptStatement => {
      return { kind: 'promise', chain, transactions: transactions.map(toHex), statement: toBase64(promise) }
    })
    const refusals = outbox.refusals().map(({ chain, id, refusal }): KeptStatement => {
      return { kind: 'refusal', chain, transactions: [toHex(id)], statement: toBase64(refusal) }
    })
    return [...promises, ...refusals]
  })
}
