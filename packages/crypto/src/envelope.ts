/**
 * Digital envelopes: the keys of one generation, sealed to one recipient under one grant. An envelope moved to another
 * ledger, patient, grant, generation or recipient does not open, because all of them are in HPKE's info.
 *
 * @see SPEC.md §5, RFC 9180
 */

import { compareBytes, concatBytes } from '@healthblock/encoding/bytes'
import { provider } from '#provider'
import { CryptoError } from './errors.ts'
import {
  type EnvelopeContents,
  type EnvelopeContext,
  encodeContents,
  envelopeInfo,
  envelopeSizes,
  padContents,
  parseContents,
  unpadContents,
} from './inner/envelope.ts'
import { argumentInvalid, openFailed } from './inner/failures.ts'
import {
  hpkeSeal,
  KemKeyPair,
  kemSeedSizeBytes,
  kemSuiteDefault,
  requireKemPublicKey,
  requireSuite,
  sealedInfo,
} from './inner/kem.ts'
import { coverOfLeaves, deriveNodeWith, leavesMax, leavesUnder, type TreeNode } from './inner/key-tree.ts'
import type { EpochRange } from './key-tree.ts'
import type { Bytes } from './provider/provider.ts'

export {
  type EnvelopeContents,
  type EnvelopeContext,
  type EnvelopeDiagnosis,
  type EnvelopeStream,
  envelopeSizes,
  type StreamKind,
  streamKinds,
} from './inner/envelope.ts'
export {
  encapsulationSizeBytes,
  type KemKeyPair,
  kemPublicKeySizeBytes,
  kemSeedSizeBytes,
  kemSuiteDefault,
  sealOverheadBytes,
} from './inner/kem.ts'

/** A new KEM key pair of the default suite. */
export function generateKemKeyPair(): KemKeyPair {
  return new KemKeyPair(provider.randomBytes(kemSeedSizeBytes), provider)
}

/**
 * The KEM key pair of a 32-byte seed, as `exportSeed` gave it.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` for any other length.
 */
export function kemKeyPairFromSeed(seed: Uint8Array): KemKeyPair {
  if (seed.length !== kemSeedSizeBytes) throw argumentInvalid('seed')
  return new KemKeyPair(seed, provider)
}

/**
 * Checks a KEM public key before it is registered or approved: 1,216 bytes that envelopes can be sealed to. About 1 ms.
 *
 * @returns A copy of the bytes.
 * @throws {CryptoError} `ERR_SUITE_UNKNOWN`, `ERR_KEY_INVALID`.
 * @see SPEC.md §5
 */
export function parseKemPublicKey(options: { suite: number; bytes: Uint8Array }): Bytes {
  requireSuite(options.suite)
  requireKemPublicKey(options.bytes)
  return Uint8Array.from(options.bytes)
}

/**
 * Seals an envelope: encapsulation (1,120 bytes) || ciphertext, of one of `envelopeSizes`.
 *
 * @throws {CryptoError} `ERR_SUITE_UNKNOWN`; `ERR_KEY_INVALID` if the recipient's key is not one; `ERR_SIZE_INVALID` if
 *   the contents do not fit into 16,384 bytes; `ERR_ARGUMENT_INVALID` for contents out of form.
 */
export async function sealEnvelope(options: {
  suite: number
  context: EnvelopeContext
  contents: EnvelopeContents
}): Promise<Bytes> {
  requireSuite(options.suite)
  const info = envelopeInfo(provider, options.context)
  const plaintext = padContents(encodeContents(options.contents))
  const sealed = await hpkeSeal(provider.hpke, { publicKey: options.context.recipientKemKey, info, plaintext })
  plaintext.fill(0)
  return sealed
}

/**
 * Opens an envelope with the recipient's key pair. The context is the one of the transactions that carry it.
 *
 * @throws {CryptoError} `ERR_OPEN_FAILED`, whatever the cause.
 */
export async function openEnvelope(options: {
  keyPair: KemKeyPair
  context: Omit<EnvelopeContext, 'recipientKemKey'>
  envelope: Uint8Array
}): Promise<EnvelopeContents> {
  const { keyPair, envelope } = options
  if (!(envelopeSizes as readonly number[]).includes(envelope.length)) throw openFailed()
  const info = envelopeInfo(provider, { ...options.context, recipientKemKey: keyPair.publicKey })
  const padded = await KemKeyPair.open(keyPair, info, envelope)
  try {
    return parseContents(unpadContents(padded))
  } catch {
    throw openFailed()
  }
}

/** A stream whose keys a grant hands over; `nodes` are those that the patient's node holds for the generation. */
export interface GrantedStream {
  readonly stream: Uint8Array
  readonly kind: number
  readonly class: number
  readonly nodes: readonly TreeNode[]
}

function boundaries(lists: readonly (readonly TreeNode[])[], from: number, until: number): number[] {
  const cuts = new Set([from, until])
  for (const nodes of lists) {
    for (const node of nodes) {
      const under = leavesUnder(node)
      for (const cut of [under.from, under.until]) if (cut > from && cut < until) cuts.add(cut)
    }
  }
  return [...cuts].sort((a, b) => a - b)
}

function reaches(nodes: readonly TreeNode[], leaf: number): TreeNode | undefined {
  return nodes.find((node) => leavesUnder(node).from <= leaf && leaf < leavesUnder(node).until)
}

/**
 * The contents of an envelope for a window: the smallest common cover, and each stream's keys for it. What a stream's
 * nodes do not reach any more (it was destroyed) is left out, for that stream.
 *
 * @throws {CryptoError} `ERR_EPOCH_OUTSIDE` if no stream reaches any epoch of the window.
 */
export function composeEnvelope(options: {
  range: EpochRange
  streams: readonly GrantedStream[]
  diagnosis: readonly { readonly stream: Uint8Array; readonly nodes: readonly TreeNode[] }[]
}): EnvelopeContents {
  const { range, streams, diagnosis } = options
  const from = Math.max(range.from - range.first, 0)
  const until = Math.min(range.until === undefined ? leavesMax : range.until - range.first, leavesMax)
  const lists = [...streams, ...diagnosis].map(({ nodes }) => nodes)
  const whole = lists.every((nodes) => nodes.length === 1 && nodes[0]?.depth === 0)
  // Runs of leaves that the same streams reach: one run, unless something was destroyed.
  const runs: { from: number; until: number; held: string }[] = []
  const cuts = from < until ? (whole ? [from, until] : boundaries(lists, from, until)) : []
  for (let i = 0; i + 1 < cuts.length; i++) {
    const [begin, end] = [cuts[i] as number, cuts[i + 1] as number]
    const held = lists.map((nodes) => (reaches(nodes, begin) === undefined ? '0' : '1')).join('')
    const last = runs.at(-1)
    if (last !== undefined && last.until === begin && last.held === held) last.until = end
    else if (held.includes('1')) runs.push({ from: begin, until: end, held })
  }
  // A position of the cover may lie above the nodes at hand, which were cut smaller: then their own cuts are used.
  const cover = runs
    .flatMap((run) => coverOfLeaves(run.from, run.until))
    .flatMap((position) => splitForNodes(position, lists))
  if (cover.length === 0) {
    throw new CryptoError('no key for that window', { code: 'ERR_EPOCH_OUTSIDE', epoch: range.from })
  }
  const keysOf = (nodes: readonly TreeNode[]): Bytes => {
    const keys = new Uint8Array(32 * cover.length)
    for (const [i, position] of cover.entries()) {
      const node = reaches(nodes, leavesUnder(position).from)
      if (node !== undefined) keys.set(deriveNodeWith(provider, node, position).key, 32 * i)
    }
    return keys
  }
  return {
    first: range.first,
    cover: cover.map(({ depth, index }) => [depth, index] as const),
    streams: [...streams]
      .sort((a, b) => compareBytes(a.stream, b.stream))
      .map(({ stream, kind, class: size, nodes }) => ({ stream, kind, class: size, keys: keysOf(nodes) })),
    diagnosis: [...diagnosis]
      .sort((a, b) => compareBytes(a.stream, b.stream))
      .map(({ stream, nodes }) => ({ stream, keys: keysOf(nodes) })),
  }
}

function splitForNodes(
  position: { depth: number; index: number },
  lists: readonly (readonly TreeNode[])[],
): { depth: number; index: number }[] {
  const under = leavesUnder(position)
  const finer = lists.some((nodes) => {
    const node = reaches(nodes, under.from)
    return node !== undefined && node.depth > position.depth
  })
  if (!finer) return [position]
  const left = { depth: position.depth + 1, index: position.index * 2 }
  const right = { depth: position.depth + 1, index: position.index * 2 + 1 }
  return [...splitForNodes(left, lists), ...splitForNodes(right, lists)]
}

/** The nodes that an envelope's `keys` stand for, ready for `epochKeyFrom`; destroyed ones are left out. */
export function envelopeNodes(contents: EnvelopeContents, keys: Uint8Array): TreeNode[] {
  const nodes: TreeNode[] = []
  for (const [i, [depth, index]] of contents.cover.entries()) {
    const key = keys.slice(32 * i, 32 * i + 32)
    if (key.some((byte) => byte !== 0)) nodes.push({ depth, index, key })
  }
  return nodes
}

/**
 * Seals bytes to a KEM public key for one purpose: u16 suite || encapsulation || ciphertext, 1,138 bytes longer than the
 * plaintext, not padded.
 *
 * @param options - `label`: what it is, `[a-z0-9._-]{1,64}`; `context`: bytes that must be equal on opening.
 * @throws {CryptoError} `ERR_KEY_INVALID`, `ERR_SUITE_UNKNOWN`, `ERR_ARGUMENT_INVALID`.
 */
export async function sealToKemKey(options: {
  suite: number
  publicKey: Uint8Array
  label: string
  context: Uint8Array
  plaintext: Uint8Array
}): Promise<Bytes> {
  requireSuite(options.suite)
  const { publicKey, plaintext } = options
  const sealed = await hpkeSeal(provider.hpke, {
    publicKey,
    info: sealedInfo(options.label, options.context),
    plaintext,
  })
  return concatBytes(Uint8Array.of(options.suite >> 8, options.suite & 255), sealed)
}

/**
 * Opens what `sealToKemKey` sealed for the same label and context.
 *
 * @throws {CryptoError} `ERR_SUITE_UNKNOWN`; `ERR_OPEN_FAILED` for every other cause.
 */
export async function openWithKemKey(options: {
  keyPair: KemKeyPair
  label: string
  context: Uint8Array
  sealed: Uint8Array
}): Promise<Bytes> {
  const { keyPair, sealed } = options
  if (sealed.length < 2) throw openFailed()
  const suite = (sealed[0] as number) * 256 + (sealed[1] as number)
  if (suite !== kemSuiteDefault) throw new CryptoError('unknown suite', { code: 'ERR_SUITE_UNKNOWN', suite })
  return KemKeyPair.open(keyPair, sealedInfo(options.label, options.context), sealed.subarray(2))
}
