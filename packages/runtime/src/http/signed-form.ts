/** A signed statement as services send and keep it: `[statement, signature]`. */
import type { SignedStatement } from '@healthblock/chain/statement'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'

/**
 * A statement as it stands in an answer: its map, or the map's bytes.
 *
 * @returns not verified.
 * @throws {TypeError} for anything else.
 */
export function signedOf(value: CborValue | undefined): SignedStatement {
  const [statement, signature] = Array.isArray(value) && value.length === 2 ? value : []
  if (statement === undefined || !(signature instanceof Uint8Array)) throw new TypeError('no signed statement')
  return { statement: statement instanceof Uint8Array ? statement : encodeCbor(statement), signature }
}

/** The form in which it is kept as evidence: canonical CBOR `[statement, signature]`, the statement as its map. */
export function evidenceOf({ statement, signature }: SignedStatement): Uint8Array {
  return encodeCbor([decodeCbor(statement), signature])
}
