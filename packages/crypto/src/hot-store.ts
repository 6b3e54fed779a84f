/**
 * The hot store: what the patient's node needs by day and night without its owner. It can seal, open findings, mark gaps,
 * and rotate to the same grantees minus some; it cannot grant, read the past, or change keys. Where the file lies and who
 * keeps the wrapping key is the node's business.
 *
 * @see SPEC.md §7
 */

import { compareBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { provider } from '#provider'
import { argumentInvalid, openFailed } from './inner/failures.ts'
import { type FileFormat, openFileWith, sealFileWith } from './inner/file.ts'
import { FormatReader, type HeldNodes, heldNodesValue } from './inner/held-nodes.ts'
import { kemPublicKeySizeBytes } from './inner/kem.ts'
import type { Bytes } from './provider/provider.ts'

export type { HeldNodes } from './inner/held-nodes.ts'

/** A stream that the node seals or opens. */
export interface HotStream {
  /** 8 bytes. */
  readonly stream: Uint8Array
  /** As in envelopes; 0 for a diagnosis stream. */
  readonly kind: number
  /** Bytes of a block, 0 while no record fixed it. */
  readonly class: number
  /** The last sequence number used, persisted before sealing; 0 = none. */
  readonly lastSequence: number
}

/** A grant that a rotation must renew. */
export interface LiveGrant {
  /** 16 bytes. */
  readonly grantId: Uint8Array
  /** Account of the recipient, 32 bytes. */
  readonly recipient: Uint8Array
  readonly suite: number
  /** 1,216 bytes, as it was when the owner approved it. */
  readonly kemKey: Uint8Array
  /** 8 bytes each: data streams and the recipient's diagnosis stream. */
  readonly streams: readonly Uint8Array[]
  /** First epoch of the window. */
  readonly from: number
  /** Unix ms at which the grant ends; 2^53 - 1 = never. */
  readonly until: number
  readonly rights: number
}

/** What the hot store holds. Seeds are 32 bytes. */
export interface HotStoreContents {
  readonly opSeed: Uint8Array
  readonly kemSeed: Uint8Array
  /** The vault's KEM public key, 1,216 bytes. */
  readonly vaultKey: Uint8Array
  readonly generation: number
  /** Epoch of the current generation's leaf 0. */
  readonly first: number
  readonly streams: readonly HotStream[]
  /** Nodes of the next `hotWindowDays` days. */
  readonly nodes: readonly HeldNodes[]
  readonly grants: readonly LiveGrant[]
  /** Roots sealed to the vault's key (`sealRoots`) that the vault has not yet taken over. */
  readonly sealedRoots: readonly Uint8Array[]
}

/** How far ahead the hot store holds keys. */
export const hotWindowDays = 30
const streamsMax = 4096
const grantsMax = 4096
const grantStreamsMax = 32
const sealedMax = 1024
const format: FileFormat = { magic: 'hbhotst1', info: 'healthblock/1 hot store', fieldsSizeBytes: 0 }
const keys = ['v', 'op', 'kem', 'vault', 'gen', 'first', 'streams', 'nodes', 'grants', 'sealed'] as const

function isAscending(ids: readonly Uint8Array[], length: number): boolean {
  return ids.every((id, i) => id.length === length && (i === 0 || compareBytes(ids[i - 1] as Uint8Array, id) < 0))
}

function isWellFormed({ streams, grants, sealedRoots, vaultKey, opSeed, kemSeed }: HotStoreContents): boolean {
  const ordered =
    isAscending(
      streams.map(({ stream }) => stream),
      8,
    ) &&
    isAscending(
      grants.map(({ grantId }) => grantId),
      16,
    )
  const counts = streams.length <= streamsMax && grants.length <= grantsMax && sealedRoots.length <= sealedMax
  const lengths = vaultKey.length === kemPublicKeySizeBytes && opSeed.length === 32 && kemSeed.length === 32
  return ordered && counts && lengths && grants.every(isGrant)
}

function isGrant({ recipient, kemKey, streams }: LiveGrant): boolean {
  if (recipient.length !== 32 || kemKey.length !== kemPublicKeySizeBytes) return false
  return streams.length <= grantStreamsMax && streams.every((stream) => stream.length === 8)
}

/**
 * The contents as canonical CBOR, in the clear: streams and grants are put into order.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` for contents out of form.
 */
export function encodeHotStore(contents: HotStoreContents): Bytes {
  const ordered: HotStoreContents = {
    ...contents,
    streams: [...contents.streams].sort((a, b) => compareBytes(a.stream, b.stream)),
    grants: [...contents.grants].sort((a, b) => compareBytes(a.grantId, b.grantId)),
  }
  if (!isWellFormed(ordered)) throw argumentInvalid('contents')
  return encodeCbor({
    v: 1,
    op: ordered.opSeed,
    kem: ordered.kemSeed,
    vault: ordered.vaultKey,
    gen: ordered.generation,
    first: ordered.first,
    streams: ordered.streams.map(({ stream, kind, class: size, lastSequence }) => [stream, kind, size, lastSequence]),
    nodes: heldNodesValue(ordered.nodes),
    grants: ordered.grants.map((grant) => [
      grant.grantId,
      grant.recipient,
      grant.suite,
      grant.kemKey,
      [...grant.streams],
      grant.from,
      grant.until,
      grant.rights,
    ]),
    sealed: [...ordered.sealedRoots],
  })
}

/**
 * Reads what `encodeHotStore` wrote.
 *
 * @throws {CryptoError} `ERR_FORMAT_INVALID`.
 */
export function parseHotStore(bytes: Uint8Array): HotStoreContents {
  const reader = new FormatReader('hot store')
  const map = reader.map(bytes, keys)
  const contents: HotStoreContents = {
    opSeed: reader.bytes(map.op),
    kemSeed: reader.bytes(map.kem),
    vaultKey: reader.bytes(map.vault),
    generation: reader.number(map.gen),
    first: reader.number(map.first),
    streams: reader.list(map.streams, streamsMax).map((item): HotStream => {
      const [stream, kind, size, last] = reader.tuple(item, 4)
      const [kindNumber, sizeBytes] = [reader.number(kind), reader.number(size)]
      return { stream: reader.bytes(stream), kind: kindNumber, class: sizeBytes, lastSequence: reader.number(last) }
    }),
    nodes: reader.heldNodes(map.nodes),
    grants: reader.list(map.grants, grantsMax).map((item): LiveGrant => {
      const [grantId, recipient, suite, kemKey, streams, from, until, rights] = reader.tuple(item, 8)
      return {
        grantId: reader.bytes(grantId),
        recipient: reader.bytes(recipient),
        suite: reader.number(suite),
        kemKey: reader.bytes(kemKey),
        streams: reader.list(streams, grantStreamsMax).map((stream) => reader.bytes(stream)),
        from: reader.number(from),
        until: reader.number(until),
        rights: reader.number(rights),
      }
    }),
    sealedRoots: reader.list(map.sealed, sealedMax).map((sealed) => reader.bytes(sealed)),
  }
  reader.demand(isWellFormed(contents))
  return contents
}

/** A new key that wraps the hot store: 32 random bytes, for the OS keystore or a file of the service's user. */
export function newHotStoreKey(): Bytes {
  return provider.randomBytes(32)
}

/** The hot store's file (SPEC.md §7), to be written atomically. Never the same bytes twice. */
export function sealHotStore(options: { contents: HotStoreContents; wrappingKey: Uint8Array }): Bytes {
  if (options.wrappingKey.length !== 32) throw argumentInvalid('wrappingKey')
  const contents = encodeHotStore(options.contents)
  const salt = provider.randomBytes(32)
  const fields = new Uint8Array(0)
  const file = sealFileWith(provider, format, { key: options.wrappingKey, fields, salt, contents })
  contents.fill(0)
  return file
}

/**
 * Opens a hot store file.
 *
 * @throws {CryptoError} `ERR_OPEN_FAILED`, whatever the cause.
 */
export function openHotStore(options: { file: Uint8Array; wrappingKey: Uint8Array }): HotStoreContents {
  const bytes = openFileWith(provider, format, options.wrappingKey, options.file)
  try {
    return parseHotStore(bytes)
  } catch {
    throw openFailed()
  } finally {
    bytes.fill(0)
  }
}
