/** CBOR and texts of bytes. */
import { fromBase64, fromBase64Url, fromHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { type FuzzTarget, latin1, texts } from '../support/fuzz.ts'

const b32 = new Uint8Array(32).fill(7)

/** Parsers of `packages/encoding`. */
export const encodingTargets: FuzzTarget[] = [
  { name: 'CBOR', corpus: [encodeCbor({ a: 1, bb: [b32, 'x', { c: [] }], ccc: 2 ** 40 })], parse: decodeCbor },
  { name: 'hexadecimal', corpus: texts('00ff'), parse: (bytes) => fromHex(latin1(bytes)) },
  { name: 'base64', corpus: texts('AAECAw==', 'AAEC'), parse: (bytes) => fromBase64(latin1(bytes)) },
  { name: 'base64url', corpus: texts('AAECAw', 'AAEC'), parse: (bytes) => fromBase64Url(latin1(bytes)) },
]
