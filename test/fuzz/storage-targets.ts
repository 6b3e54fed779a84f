/** What stores are sent. */

import { createErasureOrder } from '@healthblock/chain/erasure-order'
import { sha256 } from '@healthblock/crypto/hash'
import { generateSigningKey } from '@healthblock/crypto/signature'
import { concatBytes, encodeUtf8 } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import * as dagPb from '@ipld/dag-pb'
import { parseMembers } from '../../services/storage/src/access/members.ts'
import { linksOf } from '../../services/storage/src/dag-node.ts'
import { readPayloadHeader } from '../../services/storage/src/node.ts'
import { ledgerWord, parseWord, statedWord, wordOfOrder } from '../../services/storage/src/replication/erasure-word.ts'
import { parseDigests } from '../../services/storage/src/replication/node-client.ts'
import { encodeReceipts, parseReceipts, signReceipt } from '../../services/storage/src/replication/receipt.ts'
import { parseDurationMs } from '../../services/storage/src/routes/duration.ts'
import { parseParts } from '../../services/storage/src/routes/multipart.ts'
import {
  encodeBlockId,
  encodeBlockIdBytes,
  parseBlockId,
  parseBlockIdBytes,
  toCid,
} from '../../services/storage/src/store/block-id.ts'
import {
  encodeBitswapMessage,
  FrameDecoder,
  parseBitswapMessage,
} from '../../services/storage/src/swarm/bitswap-message.ts'
import { parseSwarmKey } from '../../services/storage/src/swarm/swarm-key.ts'
import { type FuzzTarget, latin1, texts } from '../support/fuzz.ts'

const ledgerId = sha256(encodeUtf8('a ledger'))
const b32 = new Uint8Array(32).fill(7)

/** Parsers of `services/storage`. */
export function storageTargets(): FuzzTarget[] {
  const id = { digest: b32, codec: 0x55 }
  const signed = { ...id, account: b32, ms: 5, key: 1, ledgerId, signingKey: generateSigningKey() }
  const words = [wordOfOrder(createErasureOrder(signed)), statedWord(id, b32, 5), ledgerWord(id)].map(
    ({ bytes }) => bytes,
  )
  const message = encodeBitswapMessage({
    wants: [{ cid: encodeBlockIdBytes(id), cancel: false, wantType: 1, sendDontHave: true }],
    full: true,
    blocks: [{ prefix: Uint8Array.of(1, 0x55, 0x12, 32), data: b32 }],
    presences: [{ cid: encodeBlockIdBytes(id), have: true }],
  })
  const multipart = (boundary: string) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="data"\r\n\r\ndata\r\n--${boundary}--\r\n`
  const store = generateSigningKey()
  const receipts = encodeReceipts([signReceipt(store, ledgerId, { digest: b32, size: 3, ms: 1, store: b32 })])
  const node = dagPb.prepare({ Data: b32, Links: [{ Name: 'x', Tsize: 3, Hash: toCid(id) }] })
  const hex = Buffer.from(b32).toString('hex')
  const members = JSON.stringify({
    ledgerId: hex,
    members: [{ account: hex, storeKey: hex, peerId: '12D3', url: 'http://a' }],
  })
  return [
    { name: 'erasure word', corpus: words, parse: parseWord },
    { name: 'Bitswap message', corpus: [message], parse: parseBitswapMessage },
    {
      name: 'Bitswap frames',
      corpus: [concatBytes(Uint8Array.of(message.length), message, Uint8Array.of(1, 0))],
      parse: (bytes) => {
        const decoder = new FrameDecoder()
        for (let at = 0; at < bytes.length; at += 3) decoder.push(bytes.subarray(at, at + 3))
      },
    },
    { name: 'CID', corpus: texts(encodeBlockId(id)), parse: (bytes) => parseBlockId(latin1(bytes)) },
    { name: 'CID bytes', corpus: [encodeBlockIdBytes(id)], parse: parseBlockIdBytes },
    {
      name: 'multipart body',
      corpus: texts(multipart('x')),
      parse: (bytes) => parseParts('multipart/form-data; boundary=x', Buffer.from(bytes)),
    },
    {
      name: 'multipart type',
      corpus: texts('multipart/form-data; boundary=x'),
      parse: (bytes) => parseParts(latin1(bytes), Buffer.from(multipart('x'))),
    },
    { name: 'duration', corpus: texts('30s', '1h2m3.5s', '250ms'), parse: (bytes) => parseDurationMs(latin1(bytes)) },
    { name: 'storage receipts', corpus: texts(receipts), parse: (bytes) => parseReceipts(latin1(bytes)) },
    { name: 'list of digests', corpus: [encodeCbor([b32, b32])], parse: (bytes) => parseDigests(decodeCbor(bytes)) },
    { name: 'member list', corpus: texts(members), parse: (bytes) => parseMembers(latin1(bytes)) },
    {
      name: 'swarm key',
      corpus: texts(`/key/swarm/psk/1.0.0/\n/base16/\n${hex}\n`),
      parse: (bytes) => parseSwarmKey(latin1(bytes)),
    },
    ...[dagPb.encode(node), dagCbor.encode({ a: [toCid(id)] }), dagJson.encode({ a: toCid(id) })].map((bytes, at) => {
      const codec = [0x70, 0x71, 0x0129][at] as number
      return {
        name: `links of a node of codec ${codec.toString(16)}`,
        corpus: [new Uint8Array(bytes)],
        parse: (input: Uint8Array) => linksOf({ digest: b32, codec }, input),
      }
    }),
    { name: 'payload header of a block', corpus: [new Uint8Array(1024).fill(1)], parse: readPayloadHeader },
  ]
}
