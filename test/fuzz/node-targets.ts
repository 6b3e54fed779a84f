/** What an accounting node keeps, and what it reads from its register. */
import assert from 'node:assert/strict'
import { Ledger } from '@healthblock/chain/block'
import { genesisLeaf } from '@healthblock/chain/genesis'
import { encodeSealLeaf } from '@healthblock/chain/seal'
import { MemoryChainStore } from '@healthblock/chain/store'
import { signTransaction } from '@healthblock/chain/transaction'
import { concatBytes } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { keyOf, sampleBodies, sampleGenesis, sampleSeal } from '../../packages/chain/src/sample.test-support.ts'
import { openJournal } from '../../services/accounting-node/src/core/journal.ts'
import { encodeRecord, parseRecord } from '../../services/accounting-node/src/core/log.ts'
import { Members } from '../../services/accounting-node/src/core/members.ts'
import { parsePromise } from '../../services/accounting-node/src/core/promise.ts'
import { parseStaged } from '../../services/accounting-node/src/core/staged.ts'
import { encodeStep, parseStep } from '../../services/accounting-node/src/core/trail-store.ts'
import {
  encodeAcks,
  encodeBlock,
  encodeHeadValue,
  encodeMessage,
  parseAcks,
  parseBlock,
  parseHeadValue,
  parseMessage,
} from '../../services/accounting-node/src/core/wire.ts'
import { parseSubmission } from '../../services/accounting-node/src/gateway/submission.ts'
import type { FuzzTarget } from '../support/fuzz.ts'

const genesis = sampleGenesis()
const { ledgerId } = genesis
const key = keyOf('op')
const b32 = new Uint8Array(32).fill(7)

/** A disk with one file, which may be cut. */
function diskOf(content: Uint8Array) {
  let bytes = content
  const file = {
    size: () => bytes.length,
    append: async (more: Uint8Array) => {
      bytes = concatBytes(bytes, more)
    },
    read: (offset: number, length: number) => bytes.subarray(offset, offset + length),
    replace: async (whole: Uint8Array) => {
      bytes = whole
    },
    truncate: async (size: number) => {
      bytes = bytes.subarray(0, size)
    },
    close: async () => {},
  }
  return { file, open: async () => file } as never
}

/** Records of a node's own files. */
function recordTargets(leaves: readonly Uint8Array[]): FuzzTarget[] {
  const ack = { rank: 1, term: 1, signature: new Uint8Array(64) }
  const blockBytes = encodeBlock(leaves)
  const size = { size: 9, root: b32 }
  const staged = { height: 3, term: 1, leader: 0, block: blockBytes, ...size, ack: ack.signature }
  const step = { chain: 'userchain', leaf: leaves[0] as Uint8Array, proof: 'c2sp.org/tlog-proof@v1\n' } as const
  return [
    {
      name: 'record of a block',
      corpus: [encodeRecord({ blockBytes, acks: [ack, { ...ack, rank: 2 }] })],
      parse: (bytes) => parseBlock(parseRecord(bytes).blockBytes),
    },
    { name: 'record of a staged block', corpus: [encodeMessage(staged)], parse: parseStaged },
    {
      name: 'record of a promise',
      corpus: [encodeMessage({ term: 2, leader: 1, inc: 1, ...size })],
      parse: parsePromise,
    },
    {
      name: 'record of the trail',
      corpus: [encodeMessage(encodeStep(step))],
      parse: (bytes) => parseStep(parseMessage(bytes)),
    },
  ]
}

/** Stage-acks and the register's value, verified: nothing counts as decided but what q nodes signed. */
function ackTargets(): FuzzTarget[] {
  const ledger = Ledger.open({
    genesis: genesis.bytes,
    stores: { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() },
  })
  const chain = 'userchain'
  const members = new Members({ ledgerId, chain }, { k: 0, policy: ledger.policy(chain) })
  const subject = { height: 3, size: 9, root: b32 }
  const acks = [0, 1, 2].map((rank) => ({
    ...{ rank, term: 4 },
    signature: members.signAck(subject, { rank, term: 4 }, keyOf(`node ${rank}`)),
  }))
  const value = { incarnation: 1, term: 5, leader: 2, ...subject, acks }
  return [
    {
      name: 'value of the register, verified',
      corpus: [encodeHeadValue(value)],
      async parse(bytes) {
        const claimed = parseHeadValue(bytes)
        if (!members.isValid(claimed) || claimed.height === 0) return
        assert.deepEqual([claimed.height, claimed.size, claimed.root], [3, 9, b32])
      },
    },
    {
      name: 'stage-acks, verified',
      corpus: [encodeCbor(encodeAcks(acks))],
      async parse(bytes) {
        const given = decodeCbor(bytes)
        const good = members.goodAcks(subject, parseAcks(Array.isArray(given) ? given : [given]))
        assert.ok(good.every(({ rank, term }) => rank <= 2 && term === 4))
      },
    },
  ]
}

/** Parsers of `services/accounting-node`. */
export async function accountingTargets(): Promise<FuzzTarget[]> {
  const leaves = [genesisLeaf(genesis), encodeSealLeaf(sampleSeal)]
  const acks = [0, 1, 2].map((rank) => ({ rank, term: 1, signature: new Uint8Array(64) }))
  const value = encodeHeadValue({ incarnation: 1, term: 1, leader: 0, height: 3, size: 9, root: b32, acks })
  const submission = concatBytes(
    ...Object.values(sampleBodies)
      .slice(0, 5)
      .map(
        (body) =>
          signTransaction({ ledgerId, chain: 'userchain', body, signers: [{ account: b32, key: 1, signingKey: key }] })
            .leaf,
      ),
  )
  const written = diskOf(new Uint8Array(0)) as unknown as {
    file: { read(offset: number, length: number): Uint8Array; size(): number }
  }
  const { journal } = await openJournal(written as never, 'journal', () => {})
  for (const payload of [b32, leaves[0] as Uint8Array, Uint8Array.of(1)]) await journal.append(payload)
  const submissionReader = { ownerOf: () => ({ account: '', sponsor: '' }), onRead: () => {} }
  return [
    { name: 'message of a peer', corpus: [encodeCbor({ term: 1, block: b32 })], parse: parseMessage },
    { name: 'block', corpus: [encodeBlock(leaves)], parse: parseBlock },
    { name: 'value of the register', corpus: [value], parse: parseHeadValue },
    ...recordTargets(leaves),
    ...ackTargets(),
    {
      name: 'submission',
      corpus: [submission],
      parse: (bytes) => parseSubmission(bytes, { ledgerId, chain: 'userchain' }, submissionReader),
    },
    {
      name: 'journal',
      corpus: [written.file.read(0, written.file.size())],
      parse: async (bytes) => {
        // What is kept after a cut is read again whole.
        const disk = diskOf(bytes)
        let count = 0
        await openJournal(disk, 'journal', () => count++)
        let again = 0
        const { end } = await openJournal(disk, 'journal', () => again++)
        assert.deepEqual([again, end], [count, 'clean'])
      },
    },
  ]
}
