/**
 * Cosigning, and gathering the others' cosignatures until there are q: then the checkpoint is published. A node cosigns only what
 * it executed and stored, one root per size, in ascending order, and its promise to do so is on its disk before the signature exists.
 */
import {
  addSignatures,
  type Cosignature,
  cosignCheckpoint,
  parseCheckpoint,
  signCheckpoint,
  verifyCosignature,
} from '@healthblock/chain/checkpoint'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import type { CoreState } from './core-state.ts'
import { encodeMessage, type Fields, isSameHead } from './wire.ts'

const utf8 = new TextDecoder()

/**
 * Cosigns the head, if this node may and has not yet (or `again`: a heartbeat), tells all peers, and publishes if that makes q.
 */
export async function cosign(core: CoreState, options: { again?: boolean } = {}): Promise<void> {
  const line = await core.lock.run(async () => {
    const { size, root, height } = core.head()
    if (core.signal.aborted || !core.maySign(size)) return undefined
    const promised = core.promise.current
    if (promised.size === size && !equalBytes(promised.root, root)) {
      throw core.fork(height, `this node cosigned another root at size ${size} than it has now`)
    }
    if (core.cosignedSize === size && options.again !== true) return undefined
    if (promised.size < size) await core.durably(core.promise.bind({ size, root }))
    core.cosignedSize = size
    const head = { origin: core.members.origin, size, root }
    const cosigner = { rank: core.rank, signer: core.options.keys.cosigner, nowMs: core.nowMs() }
    return { ...head, line: cosignCheckpoint(head, cosigner) }
  })
  if (line === undefined) return
  takeCosignature(core, line)
  core.tell('cosignature', encodeMessage({ size: line.size, root: line.root, line: encodeUtf8(line.line) }))
}

/** Takes a cosignature from whoever sent it, verifies it, and publishes if that makes q. Wrong ones are dropped. */
export function takeCosignature(core: CoreState, cosignature: { size: number; root: Uint8Array; line: string }): void {
  const { size, root, line } = cosignature
  if (size < (core.published?.size ?? 0)) return
  const head = { origin: core.members.origin, size, root }
  let verified: Cosignature
  try {
    verified = verifyCosignature({ line, head, cosigners: core.members.policy.cosigners })
  } catch (error) {
    core.report('a cosignature', error)
    return
  }
  core.cosignatures.add({ ...verified, size, root }, core.published?.size ?? 0)
  core.largestSizeSeen = Math.max(core.largestSizeSeen, size)
  publish(core)
}

/** Answers `cosignature`. */
export function answerCosignature(core: CoreState, request: Fields): Uint8Array {
  takeCosignature(core, {
    size: request.uint('size'),
    root: request.bytes('root', 32),
    line: utf8.decode(request.bytes('line')),
  })
  return encodeMessage({})
}

/** Publishes the largest applied boundary that q nodes cosigned, or a fresher note of the published one. */
export function publish(core: CoreState): void {
  const head = core.head()
  const q = core.members.quorum
  const sizes = [head.size]
  const before = core.ledger.index(core.chain).boundaryAt(head.height - 1)
  if (before !== undefined) sizes.push(before.size)
  for (const size of sizes) {
    if (size < (core.published?.size ?? 0)) return
    const place = core.ledger.index(core.chain).boundary(size)
    if (place === undefined) continue
    const lines = core.cosignatures.over(place)
    if (lines.length < q) continue
    // Of a size that is out already, only fresher cosignatures make a new note.
    const times = lines.map(({ time }) => time).sort((a, b) => b - a)
    const oldestTime = times[q - 1] as number
    if (size === core.published?.size && oldestTime <= core.publishedOldestTime) return
    const note = signCheckpoint({ origin: core.members.origin, size, root: place.root }, core.options.keys.log)
    const checkpoint = addSignatures(
      note,
      lines.map(({ line }) => line),
    )
    const fresh = size !== core.published?.size
    core.published = { height: place.height, size, root: place.root, checkpoint }
    core.publishedOldestTime = oldestTime
    if (fresh) core.options.observe({ kind: 'published', chain: core.chain, size, cosigners: lines.length })
    core.notifyPublished(core.published, fresh)
    return
  }
}

/** Takes the cosignatures of a published note that a peer served. */
export function takePublished(core: CoreState, checkpoint: string): void {
  const { origin, size, root } = parseCheckpoint(checkpoint)
  if (origin !== core.members.origin || size < (core.published?.size ?? 0)) return
  // The lines stand after the empty line; those of log keys are no cosignatures.
  const lines = checkpoint.slice(checkpoint.lastIndexOf('\n\n') + 2).split(/(?<=\n)/)
  for (const line of lines) {
    if (line.startsWith(`\u2014 ${origin}/`)) takeCosignature(core, { size, root, line })
  }
}

/** True if this node's newest head is published. */
export function isPublished(core: CoreState): boolean {
  return core.published !== undefined && isSameHead(core.published, core.head())
}
