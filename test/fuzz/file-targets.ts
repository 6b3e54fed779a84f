/**
 * Files that settle something: receipts, dispute bundles, successions, policy trails, blocks. Each is read, verified, and what damaged bytes
 * prove is held against what happened: nothing may be proved that is not so.
 */
import assert from 'node:assert/strict'
import { Ledger } from '@healthblock/chain/block'
import { verifyCosignature } from '@healthblock/chain/checkpoint'
import { encodeDispute, parseDispute, verifyDispute } from '@healthblock/chain/dispute'
import { ChainError } from '@healthblock/chain/errors'
import {
  CompactRange,
  consistencyProof,
  inclusionProof,
  leafHash,
  MemoryHashes,
  verifyConsistency,
  verifyInclusion,
} from '@healthblock/chain/merkle'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseProof, verifyProof } from '@healthblock/chain/proof'
import { createReceipt, encodeTrail, parseReceipt, parseTrail, verifyReceipt } from '@healthblock/chain/receipt'
import { verifyStateProof } from '@healthblock/chain/state-tree'
import { MemoryChainStore } from '@healthblock/chain/store'
import { encodeSuccession, parseSuccession, verifySuccession } from '@healthblock/chain/succession'
import { parseTransactionLeaf, transactionId } from '@healthblock/chain/transaction'
import { parseWitnessKey } from '@healthblock/chain/witness'
import { encodeUtf8, equalBytes, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { extractFiles } from '@healthblock/verify/extract'
import { verifyFile } from '@healthblock/verify/verify'
import { disputeStory, gid } from '../../packages/chain/src/evidence/dispute-story.test-support.ts'
import { parseJson, stateOfJson, stateToJson } from '../../packages/chain/src/evidence/json-form.ts'
import { successionStory } from '../../packages/chain/src/evidence/succession-story.test-support.ts'
import { sampleWitness } from '../../packages/chain/src/sample.test-support.ts'
import { encodeBlock, parseBlock, parseMessage } from '../../services/accounting-node/src/core/wire.ts'
import { type FuzzTarget, texts } from '../support/fuzz.ts'

const story = disputeStory()
const { world, trail, dispute, notes, granted, revoked, newest } = story
const { ledgerId } = world.genesis
const logs = world.logs
const utf8 = new TextDecoder()

/** Witnesses' lines behind a checkpoint of this ledger. */
const witnesses = [sampleWitness('witness.example/a'), sampleWitness('witness.example/b')]
function witnessed(chain: 'userchain' | 'docchain'): string {
  const { size, root } = world.ledger.head(chain)
  return (
    notes[chain] + witnesses.map((one) => one.line({ origin: logs[chain].origin, size, root }, world.nowMs)).join('')
  )
}

function receiptOf(note: (chain: 'userchain' | 'docchain') => string, isWhole = true): Uint8Array {
  const entry = (index: number) => logs.userchain.entry(index, note('userchain'))
  return createReceipt({
    ...{ genesis: world.genesis, trail, chain: 'userchain', transaction: entry(revoked.firstIndex) },
    ...(isWhole
      ? {
          seal: { ...entry(revoked.head.size - 1), state: [story.closed] },
          anchor: logs.docchain.entry(story.anchored.head.size - 1, note('docchain')),
        }
      : {}),
    witnesses: witnesses.map(({ vkey }) => parseWitnessKey(vkey)),
  })
}

const receipts = [
  receiptOf((chain) => notes[chain]),
  receiptOf(witnessed),
  receiptOf((chain) => notes[chain], false),
  createReceipt({
    ...{ genesis: world.genesis, trail, chain: 'docchain' },
    transaction: logs.docchain.entry(story.diagnosed.firstIndex, notes.docchain),
  }),
]
const bundle = encodeDispute(dispute)
const succession = await successionStory()
const carriedOn = encodeSuccession(succession.succession)

/** Where each transaction of the story stands. */
const places = new Map(
  (['userchain', 'docchain'] as const).flatMap((chain) =>
    logs[chain].leaves.flatMap((leaf, index) => {
      if (leaf[0] !== 0x83) return []
      const { bodyBytes } = parseTransactionLeaf(leaf)
      return [[toHex(transactionId({ ledgerId, chain, bodyBytes })), `${chain} ${index}`] as const]
    }),
  ),
)

/** What a reader of a receipt believes must be so. */
function checkReceipt(bytes: Uint8Array): void {
  const { chain, index, transactionId: id, closed, anchored } = verifyReceipt({ bytes, ledgerId })
  assert.equal(places.get(toHex(id)), `${chain} ${index}`)
  for (const grant of closed) assert.deepEqual(grant, { gid, closedAt: revoked.firstIndex })
  if (anchored !== undefined) assert.equal(anchored.height, story.anchored.head.height)
}

/** As the story had it. */
function answerAt(grant: Uint8Array, at: number): string {
  if (toHex(grant) !== toHex(gid) || at < granted.head.ms) return 'no such grant'
  return at < revoked.head.ms ? 'in force' : 'closed'
}

/** What a reader of a bundle believes must be so. */
function checkDispute(bytes: Uint8Array): void {
  const { transactions, answers, opened } = verifyDispute({ bytes, ledgerId })
  for (const { chain, index, id } of transactions) assert.equal(places.get(toHex(id)), `${chain} ${index}`)
  for (const { at, gid: grant, answer } of answers) assert.equal(answer, answerAt(grant, at))
  for (const { data } of opened) assert.equal(utf8.decode(data), 'the reading')
}

/** Heads of the two histories that the keys of this ledger signed in these tests. */
const signedHeads = new Set(
  [...trail.heads, ...PolicyTrail.of(world.genesis, succession.succession.trail).heads].map(
    ({ chain, size, root }) => `${chain} ${size} ${toHex(root)}`,
  ),
)

/** Steps of a trail that hold are of heads that were signed. */
function checkTrail(bytes: Uint8Array): void {
  const { heads } = PolicyTrail.of(world.genesis, parseTrail(bytes))
  for (const { chain, size, root } of heads) assert.ok(signedHeads.has(`${chain} ${size} ${toHex(root)}`))
}

/** A proof of the state, as bundles carry it. */
function checkState(bytes: Uint8Array): void {
  const { key, value, proof } = stateOfJson(parseJson(bytes))
  verifyStateProof({ key, value, proof, root: newest.head.stateRoot })
  assert.deepEqual(value, world.ledger.state('userchain').get(key)?.bytes)
}

/** A ledger that stands before the block with this leaf, and the block. */
function blockWith(index: number): { before: Ledger; leaves: readonly Uint8Array[] } {
  const { leaves } = logs.userchain
  const endOf = (from: number): number => leaves.findIndex((leaf, i) => i >= from && leaf[0] === 0x82) + 1
  const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
  const before = Ledger.open({ genesis: world.genesis.bytes, stores })
  let at = 2
  for (let end = endOf(at); end <= index; end = endOf(at)) {
    before.commit(before.checkBlock({ chain: 'userchain', leaves: leaves.slice(at, end) }))
    at = end
  }
  return { before, leaves: leaves.slice(at, endOf(at)) }
}

function blockTargets(): FuzzTarget[] {
  const targets = { grant: granted, record: story.read, revocation: revoked, policy: story.governed }
  return Object.entries(targets).map(([name, { firstIndex }]) => {
    const { before, leaves } = blockWith(firstIndex)
    return {
      name: `block of a ${name}, executed`,
      corpus: [encodeBlock(leaves)],
      parse: (bytes) => before.checkBlock({ chain: 'userchain', leaves: parseBlock(bytes) }),
    }
  })
}

/** A tree of as many leaves, and what reads its hashes. */
function treeOf(size: number) {
  const range = new CompactRange()
  const hashes = new MemoryHashes()
  const leaves = Array.from({ length: size }, (_, i) => leafHash(Uint8Array.of(i)))
  for (const leaf of leaves) range.append(leaf, hashes.keep)
  return { size, root: range.root, read: hashes.read, leaves }
}
const [small, large] = [treeOf(7), treeOf(21)]

/** Numbers, hashes and a proof, as a peer may send them. */
function merkleClaim(bytes: Uint8Array): {
  numbers: [number, number]
  hashes: [Uint8Array, Uint8Array]
  proof: Uint8Array[]
} {
  const fields = parseMessage(bytes)
  const proof = fields.list('proof')
  if (!proof.every((one) => one instanceof Uint8Array))
    throw new ChainError('no hash', { code: 'ERR_PROOF_FORMAT', reason: 'hash' })
  return {
    numbers: [fields.uint('a'), fields.uint('b')],
    hashes: [fields.bytes('x'), fields.bytes('y')],
    proof: proof as Uint8Array[],
  }
}

function merkleTargets(): FuzzTarget[] {
  const claims = [0, 3, 20].map((index) =>
    encodeCbor({
      ...{ a: index, b: 21, x: large.leaves[index] as Uint8Array, y: large.root },
      proof: inclusionProof({ index, size: 21 }, large.read),
    }),
  )
  const grown = encodeCbor({
    ...{ a: 7, b: 21, x: small.root, y: large.root },
    proof: consistencyProof({ oldSize: 7, size: 21 }, large.read),
  })
  return [
    {
      name: 'inclusion, verified',
      corpus: claims,
      parse(bytes) {
        const { numbers, hashes, proof } = merkleClaim(bytes)
        const [index, size] = numbers
        verifyInclusion({ index, size, leafHash: hashes[0], root: hashes[1], proof })
        // Under the true root nothing else is included, whatever the proof.
        if (size === 21 && equalBytes(hashes[1], large.root)) assert.deepEqual(hashes[0], large.leaves[index])
      },
    },
    {
      name: 'consistency, verified',
      corpus: [grown],
      parse(bytes) {
        const { numbers, hashes, proof } = merkleClaim(bytes)
        const [oldSize, size] = numbers
        verifyConsistency({ oldSize, size, oldRoot: hashes[0], root: hashes[1], proof })
        if (size !== 21 || !equalBytes(hashes[1], large.root)) return
        if (oldSize === 7) assert.deepEqual(hashes[0], small.root)
      },
    },
  ]
}

/** Checkpoints and cosignatures under the policies of the story, and what stands on them. */
function noteTargets(): FuzzTarget[] {
  const { size, root } = world.ledger.head('userchain')
  const head = { origin: logs.userchain.origin, size, root }
  const lines = notes.userchain.trimEnd().split('\n').slice(-3)
  const { leaf, proof } = dispute.parts[2] as (typeof dispute.parts)[number]
  const place = parseProof(proof)
  const { cosigners } = trail.newest('userchain')
  return [
    {
      name: 'checkpoint, verified',
      corpus: texts(notes.userchain, witnessed('userchain')),
      parse(bytes) {
        const verified = trail.verify('userchain', utf8.decode(bytes))
        assert.deepEqual([verified.size, verified.root], [size, root])
      },
    },
    {
      name: 'cosignature, verified',
      corpus: texts(...lines.map((line) => `${line}\n`)),
      parse(bytes) {
        const { rank } = verifyCosignature({ line: utf8.decode(bytes), head, cosigners })
        assert.ok(rank <= 2)
      },
    },
    {
      name: 'proof, verified',
      corpus: texts(proof),
      parse(bytes) {
        const text = utf8.decode(bytes)
        const verified = verifyProof({ proof: text, leaf, origin: head.origin, policy: trail.newest('userchain') })
        assert.deepEqual([verified.index, verified.size], [place.index, size])
      },
    },
    {
      name: 'policy trail, verified',
      corpus: [encodeTrail(trail.steps), encodeTrail(succession.succession.trail)],
      parse: checkTrail,
    },
    {
      name: 'proof of the state, verified',
      corpus: (dispute.parts[6]?.state ?? []).map((state) => encodeUtf8(JSON.stringify(stateToJson(state)))),
      parse: checkState,
    },
  ]
}

/** Everything that a file may be, as a reader opens it. */
function checkFile(bytes: Uint8Array): void {
  const { kind, attested, witnesses: told } = verifyFile(bytes, { genesis: world.genesis.bytes })
  assert.equal(attested, told.length === 0 ? 'quorum' : 'witnessed')
  // A file that says so is signed by them: nothing of it can be another's.
  for (const { vkey } of told) assert.ok(witnesses.some((one) => one.vkey === vkey))
  if (kind === 'dispute') checkDispute(bytes)
  else checkReceipt(bytes)
}

/** Parsers of the files, and of the blocks they stand on. */
export function fileTargets(): FuzzTarget[] {
  const files = [...receipts, bundle]
  return [
    ...merkleTargets(),
    ...noteTargets(),
    { name: 'receipt', corpus: receipts, parse: parseReceipt },
    { name: 'receipt, verified', corpus: receipts, parse: checkReceipt },
    { name: 'dispute bundle', corpus: [bundle], parse: parseDispute },
    { name: 'dispute bundle, verified', corpus: [bundle], parse: checkDispute },
    { name: 'succession', corpus: [carriedOn], parse: parseSuccession },
    {
      name: 'succession, verified',
      corpus: [carriedOn],
      parse(bytes) {
        const { heads } = verifySuccession({ bytes, prior: succession.world.genesis.ledgerId })
        for (const { chain, size, root } of heads) {
          const truth = succession.world.ledger.head(chain)
          assert.deepEqual([size, root], [truth.size, truth.root])
        }
      },
    },
    { name: 'file, verified', corpus: files, parse: checkFile },
    {
      name: 'file, extracted',
      corpus: files,
      parse(bytes) {
        for (const { name } of extractFiles(bytes)) assert.match(name, /^[a-z0-9.-]+$/)
      },
    },
    ...blockTargets(),
  ]
}
