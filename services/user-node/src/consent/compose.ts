/** The parts of a `key` transaction: fresh roots, envelopes for grantees, cuts. Nothing here is written anywhere. */
import { setImmediate as turnOfOthers } from 'node:timers/promises'
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import { type EnvelopeEntry, type TransactionBody, transactionId } from '@healthblock/chain/transaction'
import { composeEnvelope, type EnvelopeContents, sealEnvelope } from '@healthblock/crypto/envelope'
import { CryptoError } from '@healthblock/crypto/errors'
import { type HeldNodes, type HotStoreContents, hotWindowDays, type LiveGrant } from '@healthblock/crypto/hot-store'
import { newStreamRoot, restrictNodes, shredNodes, type TreeNode } from '@healthblock/crypto/key-tree'
import { compareBytes, equalBytes } from '@healthblock/encoding/bytes'
import type { Person } from '../store/person.ts'

/** `until` of a grant without an end. */
export const noEnd = Number.MAX_SAFE_INTEGER
// A body holds at most 60,000 bytes; the rest of a `key` with 256 cuts and closes needs less than 20,000 of them.
const envelopeBytesMax = 40_000
const envelopeCountMax = 24

/** Streams of one generation with their nodes: roots at a rotation, what the vault holds at a grant. */
export type Nodes = readonly HeldNodes[]

function compareHeld(a: HeldNodes, b: HeldNodes): number {
  return compareBytes(a.stream, b.stream) || a.generation - b.generation
}

/** Orders held nodes as the formats want them: by stream, then by generation. */
export function sortHeld(held: readonly HeldNodes[]): HeldNodes[] {
  return [...held].sort(compareHeld)
}

/**
 * Joins two lists of held nodes; those of a (stream, generation) that both have are taken from `newer`. The older list is as long as the
 * generations of years times the doctors, and in order already: it is passed through once.
 */
export function mergeHeld(older: readonly HeldNodes[], newer: readonly HeldNodes[]): HeldNodes[] {
  const [left, right] = [sortHeld(older), sortHeld(newer)]
  const merged: HeldNodes[] = []
  let at = 0
  for (const held of right) {
    for (; at < left.length && compareHeld(left[at] as HeldNodes, held) < 0; at++) merged.push(left[at] as HeldNodes)
    while (at < left.length && compareHeld(left[at] as HeldNodes, held) === 0) at++
    merged.push(held)
  }
  return [...merged, ...left.slice(at)]
}

/** What is left of held nodes when epochs outside [from, until) are forgotten; `until` absent = without end. */
export function keepEpochs(
  held: readonly HeldNodes[],
  range: { from: number; until?: number | undefined },
): HeldNodes[] {
  return held
    .map((each) => ({ ...each, nodes: restrictNodes(each.nodes as TreeNode[], { first: each.first, ...range }) }))
    .filter(({ nodes }) => nodes.length > 0)
}

/** Fresh roots for the data streams and for the diagnosis streams of the remaining grantees. */
export function newRoots(
  person: Person,
  ledgerId: Uint8Array,
  place: { generation: number; first: number; grants: readonly LiveGrant[] },
): HeldNodes[] {
  const { generation, first, grants } = place
  const streams = person.streams.map(({ stream }) => stream)
  for (const { recipient } of grants) {
    const stream = diagnosisStreamId({ ledgerId, patient: person.account, doctor: recipient })
    if (!streams.some((other) => equalBytes(other, stream))) streams.push(stream)
  }
  return sortHeld(streams.map((stream) => ({ stream, generation, first, nodes: [newStreamRoot()] })))
}

/** The part of the nodes that the hot store may keep: from now to 30 days ahead. */
export function hotPart(held: readonly HeldNodes[], epochNow: number, epochLengthMs: number): HeldNodes[] {
  const until = epochNow + Math.ceil((hotWindowDays * 86_400_000) / epochLengthMs)
  return held.map(({ stream, generation, first, nodes }) => ({
    stream,
    generation,
    first,
    nodes: restrictNodes(nodes as TreeNode[], { first, from: epochNow, until }),
  }))
}

/** What remains of held nodes when a period of some streams is destroyed, and the nodes to be wiped then. */
export function shredHeld(
  held: readonly HeldNodes[],
  period: { streams: readonly Uint8Array[]; fromEpoch: number; untilEpoch: number; generationMax: number },
): { kept: HeldNodes[]; gone: TreeNode[][] } {
  const { streams, fromEpoch: from, untilEpoch: until, generationMax } = period
  const gone: TreeNode[][] = []
  const kept = held.map((each) => {
    const isMeant = each.generation <= generationMax && streams.some((stream) => equalBytes(stream, each.stream))
    if (!isMeant) return each
    const nodes = each.nodes as TreeNode[]
    const left = shredNodes(nodes, { first: each.first, from, until })
    // What is kept whole is the same memory.
    gone.push(nodes.filter((node) => !left.some((other) => other.key === node.key)))
    return { ...each, nodes: left }
  })
  return { kept: kept.filter(({ nodes }) => nodes.length > 0), gone }
}

/** Who gets the keys of which window of one generation. */
export interface EnvelopeRequest {
  readonly person: Person
  readonly ledgerId: Uint8Array
  readonly epochLengthMs: number
  readonly grant: LiveGrant
  readonly generation: number
  readonly first: number
  /** Last epoch (exclusive) of the generation's own records; undefined for the current one. */
  readonly endEpoch: number | undefined
  readonly nodes: Nodes
  /** Block size of each stream in this generation, 0 while unknown. */
  readonly classOf: (stream: Uint8Array) => number
}

/** The epochs [from, until) of a grant; `until` undefined = without end. */
export function grantEpochs(
  grant: Pick<LiveGrant, 'from' | 'until'>,
  epochLengthMs: number,
): { from: number; until: number | undefined } {
  return { from: grant.from, until: grant.until >= noEnd ? undefined : Math.floor(grant.until / epochLengthMs) }
}

/** Contents of an envelope; `undefined` if all of its window was erased in this generation. */
function composeLeft(options: Parameters<typeof composeEnvelope>[0]): EnvelopeContents | undefined {
  try {
    return composeEnvelope(options)
  } catch (error) {
    if (error instanceof CryptoError && error.detail.code === 'ERR_EPOCH_OUTSIDE') return undefined
    throw error
  }
}

/** Seals one envelope. `undefined` if the grant's window and the generation have no epoch in common, or none that is left. */
export async function sealGrantEnvelope(request: EnvelopeRequest): Promise<EnvelopeEntry | undefined> {
  const { person, ledgerId, grant, generation, first, endEpoch, nodes } = request
  const window = grantEpochs(grant, request.epochLengthMs)
  const until = endEpoch === undefined ? window.until : Math.min(window.until ?? endEpoch, endEpoch)
  if (until !== undefined && until <= Math.max(window.from, first)) return undefined
  const held = (stream: Uint8Array): readonly TreeNode[] =>
    (nodes.find((other) => other.generation === generation && equalBytes(other.stream, stream))?.nodes ??
      []) as TreeNode[]
  const diagnosisStream = diagnosisStreamId({ ledgerId, patient: person.account, doctor: grant.recipient })
  const streams = person.streams
    .filter(({ stream }) => grant.streams.some((granted) => equalBytes(granted, stream)))
    .map(({ stream, kind }) => ({
      stream,
      kind: { ecg: 1, vitals: 2, records: 3, profile: 4 }[kind],
      class: request.classOf(stream),
      nodes: held(stream),
    }))
    .filter(({ nodes: streamNodes }) => streamNodes.length > 0)
  if (streams.length === 0) return undefined
  const diagnosisNodes = held(diagnosisStream)
  const contents = composeLeft({
    range: { first, from: window.from, until },
    streams,
    diagnosis: diagnosisNodes.length === 0 ? [] : [{ stream: diagnosisStream, nodes: diagnosisNodes }],
  })
  if (contents === undefined) return undefined
  const context = {
    ledgerId,
    patient: person.account,
    grantId: grant.grantId,
    generation,
    recipient: grant.recipient,
    recipientKemKey: grant.kemKey,
  }
  // Sealing does not wait for anything: of a thousand envelopes in a row nobody else's request would be answered.
  await turnOfOthers()
  return [grant.grantId, generation, await sealEnvelope({ suite: grant.suite, context, contents })]
}

/** Splits envelopes into what fits into the `key` and groups that fit into one `envelope` each. */
export function packEnvelopes(entries: readonly EnvelopeEntry[]): { first: EnvelopeEntry[]; rest: EnvelopeEntry[][] } {
  const groups: EnvelopeEntry[][] = [[]]
  let bytes = 0
  for (const entry of entries) {
    const size = entry[2].length + 32
    const last = groups.at(-1) as EnvelopeEntry[]
    if (last.length > 0 && (bytes + size > envelopeBytesMax || last.length >= envelopeCountMax)) {
      groups.push([entry])
      bytes = size
    } else {
      last.push(entry)
      bytes += size
    }
  }
  const [first = [], ...rest] = groups
  return { first, rest }
}

/** The id of a body on Userchain. */
export function userchainId(ledgerId: Uint8Array, bodyBytes: Uint8Array): Uint8Array {
  return transactionId({ ledgerId, chain: 'userchain', bodyBytes })
}

/** Body of a `key` transaction. */
export type KeyBody = Extract<TransactionBody, { t: 'key' }>

/** True for a grant that has not run out. */
export function isUnexpired(grant: LiveGrant, nowMs: number): boolean {
  return grant.until > nowMs
}

/** What a hot store becomes at a rotation. */
export function rotateHot(
  hot: HotStoreContents,
  next: {
    generation: number
    first: number
    nodes: readonly HeldNodes[]
    grants: readonly LiveGrant[]
    sealedRoots: Uint8Array
  },
): HotStoreContents {
  return {
    ...hot,
    generation: next.generation,
    first: next.first,
    // Of older generations only what was sealed until now can be opened, and a diagnosis that is on its way: its epoch may be the next.
    nodes: mergeHeld(keepEpochs(hot.nodes, { from: 0, until: next.first + 2 }), next.nodes),
    grants: next.grants,
    sealedRoots: [...hot.sealedRoots, next.sealedRoots],
  }
}
