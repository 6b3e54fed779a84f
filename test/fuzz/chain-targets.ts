/** Leaves, notes, proofs, statements, tiles: the pieces of which ledgers are made. */
import { chainOrigin, encodeVkey, parseCheckpoint, parseVkey } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { genesisLeaf, parseGenesis } from '@healthblock/chain/genesis'
import { encodeGovernArgument, parseGovernArgument } from '@healthblock/chain/governing'
import { CompactRange, leafHash } from '@healthblock/chain/merkle'
import { parseSignedStatement, parseSingleNote } from '@healthblock/chain/misconduct'
import { encodeProof, parseAddCheckpoint, parseProof } from '@healthblock/chain/proof'
import { encodeSealLeaf, parseSealLeaf } from '@healthblock/chain/seal'
import { encodeStatement, parseStatement, type StatementName, type Statements } from '@healthblock/chain/statement'
import { encodeEntryBundle, parseEntryBundle, parseHashTile, parseTilePath } from '@healthblock/chain/tile'
import { createToken, parseToken } from '@healthblock/chain/token'
import { encodeBody, parseBody, parseTransactionLeaf, signTransaction } from '@healthblock/chain/transaction'
import { parseWitnessKey, parseWitnessSize, verifyWitnessAnswer } from '@healthblock/chain/witness'
import { concatBytes } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import {
  keyOf,
  SampleLog,
  sampleBodies,
  sampleGenesis,
  sampleSeal,
  sampleWitness,
} from '../../packages/chain/src/sample.test-support.ts'
import { type FuzzTarget, latin1, texts } from '../support/fuzz.ts'

const genesis = sampleGenesis()
const { ledgerId } = genesis
const key = keyOf('op')
const b32 = new Uint8Array(32).fill(7)

/** The argument of whichever act takes it. */
function parseAnyArgument(bytes: Uint8Array): void {
  let refusal: unknown
  for (const act of [1, 2, 3, 4] as const) {
    try {
      parseGovernArgument(act, bytes)
      return
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
      refusal = error
    }
  }
  throw refusal
}

/** Parsers of `packages/chain`. */
export function chainTargets(): FuzzTarget[] {
  const bodies = Object.values(sampleBodies)
  const chain = 'userchain'
  const signed = bodies.map((body) =>
    signTransaction({ ledgerId, chain, body, signers: [{ account: b32, key: 1, signingKey: key }] }),
  )
  const leaves = [...signed.map(({ leaf }) => leaf), genesisLeaf(genesis)]
  const seals = [encodeSealLeaf(sampleSeal), encodeSealLeaf({ ...sampleSeal, anchor: [[2, b32]] })]
  const log = new SampleLog(genesis, 'userchain')
  log.add(genesisLeaf(genesis), ...seals, ...leaves)
  const checkpoint = log.checkpoint()
  const entry = log.entry(3)
  const proof = encodeProof({ index: entry.index, hashes: entry.hashes, checkpoint })
  const head = { origin: log.origin, size: log.leaves.length, root: log.root }
  const witness = sampleWitness('witness.example/w')
  const witnessKey = parseWitnessKey(witness.vkey)
  const token = { account: b32, audience: ledgerId, scope: 'ledger', until: 1_800_000_000_000 } as const
  const statements: { [N in StatementName]: Statements[N] } = {
    accepted: { v: 1, chain: 1, gateway: b32, txs: [b32, ledgerId], height: 3, deadline: 1_800_000_000_000 },
    refused: { v: 1, chain: 2, gateway: b32, tx: b32, rule: 'd.live', height: 4, st: b32, anchor: [2, b32] },
    deferred: { v: 1, chain: 1, gateway: b32, tx: b32, missing: 'sequence', height: 4 },
    incident: {
      v: 1,
      node: b32,
      code: 'entry-damaged',
      chain: 1,
      height: 1,
      index: 2,
      file: 'log',
      found: 1,
      healed: 0,
    },
    storage: { v: 1, cid: b32, size: 4096, ms: 1_800_000_000_000, store: b32 },
    erasure: { v: 1, a: b32, cid: b32, codec: 0x55, ms: 1_800_000_000_000 },
    'stage-ack': [1, 4, 2, 100, b32],
    successor: [b32],
  }
  const range = new CompactRange()
  for (const leaf of leaves) range.append(leafHash(leaf))
  const vkey = encodeVkey({ name: chainOrigin({ ledgerId, chain }), type: 1, publicKey: key.publicKey })
  const args = [encodeGovernArgument(1, [b32, 5]), encodeGovernArgument(2, [b32])]
  return [
    { name: 'transaction leaf', corpus: leaves, parse: parseTransactionLeaf },
    { name: 'transaction body', corpus: bodies.map(encodeBody), parse: parseBody },
    { name: 'SEAL', corpus: seals, parse: parseSealLeaf },
    { name: 'genesis', corpus: [genesis.bytes], parse: parseGenesis },
    { name: 'argument of an act', corpus: args, parse: parseAnyArgument },
    {
      name: 'checkpoint',
      corpus: texts(checkpoint),
      parse: (bytes) => parseCheckpoint(latin1(bytes).replaceAll('â\u0080\u0094', '—')),
    },
    { name: 'note with one line', corpus: texts(checkpoint), parse: parseSingleNote },
    {
      name: 'signed statement',
      corpus: [encodeCbor([encodeStatement('storage', statements.storage), new Uint8Array(64)])],
      parse: parseSignedStatement,
    },
    { name: 'verifier key', corpus: texts(vkey), parse: (bytes) => parseVkey(latin1(bytes)) },
    { name: 'proof', corpus: texts(proof), parse: (bytes) => parseProof(new TextDecoder().decode(bytes)) },
    {
      name: 'request to a witness',
      corpus: texts(`old 2\n${Buffer.from(b32).toString('base64')}\n\n${checkpoint}`),
      parse: (bytes) => parseAddCheckpoint(new TextDecoder().decode(bytes)),
    },
    {
      name: 'answer of a witness',
      corpus: texts(witness.line(head, 1_800_000_000_000)),
      parse: (bytes) => verifyWitnessAnswer({ answer: new TextDecoder().decode(bytes), head, key: witnessKey }),
    },
    {
      name: 'size that a witness holds',
      corpus: texts('20852014\n', '0\n'),
      parse: (bytes) => parseWitnessSize(latin1(bytes)),
    },
    { name: 'key of a witness', corpus: texts(witness.vkey), parse: (bytes) => parseWitnessKey(latin1(bytes)) },
    {
      name: 'token',
      corpus: texts(createToken({ ledgerId, statement: token, key: 1, signingKey: key })),
      parse: (bytes) => parseToken(latin1(bytes)),
    },
    ...(Object.keys(statements) as StatementName[]).map((name) => ({
      name: `statement ${name}`,
      corpus: [encodeStatement(name, statements[name] as never)],
      parse: (bytes: Uint8Array) => parseStatement(name, bytes),
    })),
    {
      name: 'path of a tile',
      corpus: texts('tile/0/x001/234.p/7', 'tile/entries/000'),
      parse: (bytes) => parseTilePath(latin1(bytes)),
    },
    { name: 'hash tile', corpus: [concatBytes(b32, b32)], parse: (bytes) => parseHashTile(bytes, 2) },
    {
      name: 'entry bundle',
      corpus: [encodeEntryBundle(leaves.slice(0, 3))],
      parse: (bytes) => parseEntryBundle(bytes, 3),
    },
    { name: 'compact range', corpus: [range.encode()], parse: (bytes) => CompactRange.parse(bytes) },
  ]
}
