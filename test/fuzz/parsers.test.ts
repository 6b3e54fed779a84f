/** Every parser of untrusted bytes: damaged inputs give a value or a typed error, soon, and leave nothing behind. */
import { readFileSync } from 'node:fs'
import { chainOrigin, encodeVkey, parseCheckpoint, parseVkey } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { genesisLeaf, parseGenesis } from '@healthblock/chain/genesis'
import { encodeGovernArgument, parseGovernArgument } from '@healthblock/chain/governing'
import { CompactRange, leafHash } from '@healthblock/chain/merkle'
import { parseSignedStatement, parseSingleNote } from '@healthblock/chain/misconduct'
import { encodeProof, parseAddCheckpoint, parseProof } from '@healthblock/chain/proof'
import { createReceipt, parseReceipt, verifyReceipt } from '@healthblock/chain/receipt'
import { encodeSealLeaf, parseSealLeaf } from '@healthblock/chain/seal'
import { encodeStatement, parseStatement, type StatementName, type Statements } from '@healthblock/chain/statement'
import { encodeSuccession, parseSuccession } from '@healthblock/chain/succession'
import { encodeEntryBundle, parseEntryBundle, parseHashTile, parseTilePath } from '@healthblock/chain/tile'
import { createToken, parseToken } from '@healthblock/chain/token'
import { encodeBody, parseBody, parseTransactionLeaf, signTransaction } from '@healthblock/chain/transaction'
import { addWitnessLines, parseWitnessKey, parseWitnessSize, verifyWitnessAnswer } from '@healthblock/chain/witness'
import {
  generateKemKeyPair,
  openEnvelope,
  openWithKemKey,
  parseKemPublicKey,
  sealEnvelope,
  sealToKemKey,
} from '@healthblock/crypto/envelope'
import { CryptoError } from '@healthblock/crypto/errors'
import { encodeHotStore, openHotStore, parseHotStore, sealHotStore } from '@healthblock/crypto/hot-store'
import { newStreamRoot } from '@healthblock/crypto/key-tree'
import { openPayload, parsePayloadHeader, payloadKinds, sealPayload } from '@healthblock/crypto/payload'
import { randomBytes } from '@healthblock/crypto/random'
import {
  generateRecoveryPhrase,
  newRecoverySalt,
  openBackup,
  parseRecoveryPhrase,
  sealBackup,
} from '@healthblock/crypto/recovery-phrase'
import { generateSigningKey, parseVerifyingKey } from '@healthblock/crypto/signature'
import { createVault, openVault, sealRoots } from '@healthblock/crypto/vault'
import { parseIntervals } from '@healthblock/diagnosis/annotate'
import { encodeBatch, parseBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { parseDiagnosis } from '@healthblock/diagnosis/document'
import { parseVitalSet } from '@healthblock/diagnosis/early-warning'
import { EcgAnalyser, parseEcgState } from '@healthblock/diagnosis/ecg'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { decodeSignal, encodeAnnotations, parseAnnotations, parseHeader } from '@healthblock/diagnosis/wfdb'
import { concatBytes, encodeUtf8, fromBase64, fromBase64Url, fromHex } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import * as dagCbor from '@ipld/dag-cbor'
import * as dagJson from '@ipld/dag-json'
import * as dagPb from '@ipld/dag-pb'
import { expect, test } from 'vitest'
import {
  keyOf,
  SampleLog,
  sampleBodies,
  sampleGenesis,
  sampleSeal,
  sampleWitness,
} from '../../packages/chain/src/sample.test-support.ts'
import { openJournal } from '../../services/accounting-node/src/core/journal.ts'
import {
  encodeBlock,
  encodeHeadValue,
  parseBlock,
  parseHeadValue,
  parseMessage,
} from '../../services/accounting-node/src/core/wire.ts'
import { AccountingError } from '../../services/accounting-node/src/errors.ts'
import { parseSubmission } from '../../services/accounting-node/src/gateway/submission.ts'
import { parseMembers } from '../../services/storage/src/access/members.ts'
import { linksOf } from '../../services/storage/src/dag-node.ts'
import { StorageError } from '../../services/storage/src/errors.ts'
import { readPayloadHeader } from '../../services/storage/src/node.ts'
import { parseDigests } from '../../services/storage/src/replication/node-client.ts'
import { encodeReceipts, parseReceipts, signReceipt } from '../../services/storage/src/replication/receipt.ts'
import { parseDurationMs } from '../../services/storage/src/routes/duration.ts'
import { parseSinglePart } from '../../services/storage/src/routes/multipart.ts'
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
import { type FuzzTarget, fuzz } from '../support/fuzz.ts'

const typed = [EncodingError, CryptoError, ChainError, DiagnosisError, StorageError, AccountingError]
const isTyped = (error: unknown): boolean => typed.some((type) => error instanceof type)
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const texts = (...list: string[]): Uint8Array[] => list.map((text) => encodeUtf8(text))

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
      if (!isTyped(error)) throw error
      refusal = error
    }
  }
  throw refusal
}

function chainTargets(): FuzzTarget[] {
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
  const receipt = createReceipt({ genesis, chain, transaction: log.entry(3) })
  const head = { origin: log.origin, size: log.leaves.length, root: log.root }
  const witness = sampleWitness('witness.example/w')
  const witnessKey = parseWitnessKey(witness.vkey)
  const seen = addWitnessLines(checkpoint, [{ line: witness.line(head, 1_800_000_000_000), time: 0 }])
  const witnessed = createReceipt({ genesis, chain, transaction: log.entry(3, seen), witnesses: [witnessKey] })
  const part = { chain, leaf: leaves[3] as Uint8Array, proof } as const
  const approval = { account: b32, signature: new Uint8Array(64) }
  const succession = encodeSuccession({
    ...{ genesis: genesis.bytes, successor: genesis.bytes, parts: [part, part], approvals: [approval], trail: [] },
  })
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
      name: 'witnessed receipt, verified',
      corpus: [witnessed],
      parse: (bytes) => verifyReceipt({ bytes, ledgerId }),
    },
    { name: 'receipt', corpus: [receipt], parse: parseReceipt },
    { name: 'succession', corpus: [succession], parse: parseSuccession },
    { name: 'receipt, verified', corpus: [receipt], parse: (bytes) => verifyReceipt({ bytes, ledgerId }) },
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

async function cryptoTargets(): Promise<FuzzTarget[]> {
  const epochKey = randomBytes(32)
  const fields = {
    ...{ kind: payloadKinds.data, ledgerId, owner: b32, writer: b32, stream: new Uint8Array(8) },
    ...{ generation: 1, epoch: 490_000, sequence: 1 },
  }
  const { block } = sealPayload({ ...fields, epochKey, plaintext: randomBytes(100), sizeBytes: 1024 })
  const pair = generateKemKeyPair()
  const place = { ledgerId, patient: b32, grantId: new Uint8Array(16), generation: 1, recipient: b32 }
  const keys = randomBytes(32)
  const contents = {
    first: 490_000,
    cover: [[0, 0]] as const,
    streams: [{ stream: new Uint8Array(8), kind: 1, class: 1024, keys }],
    diagnosis: [],
  }
  const context = { ...place, recipientKemKey: pair.publicKey }
  const envelope = await sealEnvelope({ suite: 1, context, contents })
  const purpose = { label: 'test', context: b32 }
  const sealed = await sealToKemKey({ suite: 1, publicKey: pair.publicKey, ...purpose, plaintext: b32 })
  const held = { stream: new Uint8Array(8), generation: 1, first: 490_000, nodes: [newStreamRoot()] }
  const hot = {
    ...{
      opSeed: b32,
      kemSeed: b32,
      vaultKey: pair.publicKey,
      generation: 1,
      first: 490_000,
      grants: [],
      sealedRoots: [],
    },
    ...{ streams: [{ stream: new Uint8Array(8), kind: 1, class: 0, lastSequence: 3 }], nodes: [held] },
  }
  const wrappingKey = randomBytes(32)
  const phrase = generateRecoveryPhrase()
  const recoverySalt = newRecoverySalt()
  const passphrase = 'correct horse battery'
  const vault = await createVault({
    passphrase,
    contents: {
      ...{ rootSeed: b32, opSeed: b32, kemSeed: b32, vaultKemSeed: b32, phraseEntropy: b32 },
      ...{ recoverySalts: [], nodes: [held], extra: new Uint8Array(0) },
    },
  })
  const roots = await sealRoots({ vaultKey: vault.publicKey(), roots: [held] })
  const backup = sealBackup({ phrase, recoverySalt, contents: b32 })
  return [
    { name: 'payload header', corpus: [block], parse: parsePayloadHeader },
    { name: 'payload', corpus: [block], parse: (bytes) => openPayload({ block: bytes, epochKey, expected: fields }) },
    {
      name: 'envelope',
      corpus: [envelope],
      parse: (bytes) => openEnvelope({ keyPair: pair, context: place, envelope: bytes }),
    },
    {
      name: 'sealed to a key',
      corpus: [sealed],
      parse: (bytes) => openWithKemKey({ keyPair: pair, ...purpose, sealed: bytes }),
    },
    { name: 'sealed roots', corpus: [roots], parse: (bytes) => vault.openRoots(bytes) },
    {
      name: 'hot store',
      corpus: [sealHotStore({ contents: hot, wrappingKey })],
      parse: (file) => openHotStore({ file, wrappingKey }),
    },
    { name: 'contents of a hot store', corpus: [encodeHotStore(hot)], parse: parseHotStore },
    { name: 'vault', corpus: [vault.encode()], parse: (file) => openVault({ file, passphrase }), inputsMax: 2 },
    { name: 'backup', corpus: [backup], parse: (file) => openBackup({ phrase, recoverySalt, file }) },
    {
      name: 'recovery phrase',
      corpus: texts(phrase.words().join(' ')),
      parse: (bytes) => parseRecoveryPhrase(new TextDecoder().decode(bytes)),
    },
    { name: 'signing key', corpus: [generateSigningKey().publicKey], parse: parseVerifyingKey },
    { name: 'KEM key', corpus: [pair.publicKey], parse: (bytes) => parseKemPublicKey({ suite: 1, bytes }) },
  ]
}

function diagnosisTargets(): FuzzTarget[] {
  const samples = Int16Array.from({ length: 200 }, (_, i) => i * 3)
  const ecg: ReadingBatch = {
    ...{ kind: 'ecg', startMs: 1_800_000_000_000, rateMilliHz: 250_000, leads: ['ii'], unit: 'mv', gainMilli: 200_000 },
    ...{ baseline: 0, samples },
  }
  const vitals: ReadingBatch = { kind: 'vitals', startMs: 1, rows: [{ atMs: 1, sign: 'spo2', value: 97 }] }
  const header = 'r 2 250 100\nr.dat 212 200 12 0 0 0 0 II\nr.dat 212 200 12 0 0 0 0 V5\n'
  const mat = 'm 1 250 20\nm.mat 16+24 1000 16 0 0 0 0 I\n'
  const annotations = encodeAnnotations([
    { sample: 5, symbol: 'N', subtype: 0, channel: 0, number: 0, aux: '' },
    { sample: 500, symbol: '+', subtype: 0, channel: 0, number: 0, aux: '(AFIB' },
  ])
  const documents = readFileSync(new URL('../../packages/diagnosis/vectors/golden-diagnosis.cbor', import.meta.url))
  const analyser = new EcgAnalyser({ rateMilliHz: 250_000 })
  const split = (bytes: Uint8Array): [Uint8Array, Uint8Array] => {
    const at = bytes.indexOf(0xff)
    return at === -1 ? [bytes, new Uint8Array(0)] : [bytes.subarray(0, at), bytes.subarray(at + 1)]
  }
  const record = (text: string, size: number) =>
    concatBytes(encodeUtf8(text), Uint8Array.of(0xff), new Uint8Array(size).fill(3))
  return [
    { name: 'batch of readings', corpus: [encodeBatch(ecg), encodeBatch(vitals)], parse: parseBatch },
    { name: 'diagnosis', corpus: [new Uint8Array(documents)], parse: parseDiagnosis },
    { name: 'state of an analyser', corpus: [analyser.encodeState()], parse: parseEcgState },
    {
      name: 'WFDB record',
      corpus: [record(header, 300), record(mat, 64)],
      parse: (bytes) => {
        const [head, data] = split(bytes)
        const parsed = parseHeader(head)
        for (const index of parsed.signals.keys()) decodeSignal(parsed, index, data)
      },
    },
    { name: 'WFDB annotations', corpus: [annotations], parse: parseAnnotations },
    { name: 'intervals', corpus: texts('0 0.8 200\n200 0.81 402\n'), parse: (bytes) => parseIntervals(latin1(bytes)) },
    {
      name: 'vital signs',
      corpus: texts('{"respiratoryRate":18,"spo2":96,"supplementalOxygen":false,"consciousness":"alert"}'),
      parse: (bytes) => {
        let value: unknown
        try {
          value = JSON.parse(latin1(bytes))
        } catch {
          return
        }
        parseVitalSet(value)
      },
    },
  ]
}

function storageTargets(): FuzzTarget[] {
  const id = { digest: b32, codec: 0x55 }
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
      parse: (bytes) => parseSinglePart('multipart/form-data; boundary=x', Buffer.from(bytes)),
    },
    {
      name: 'multipart type',
      corpus: texts('multipart/form-data; boundary=x'),
      parse: (bytes) => parseSinglePart(latin1(bytes), Buffer.from(multipart('x'))),
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

async function accountingTargets(): Promise<FuzzTarget[]> {
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
        const { damagedAt } = await openJournal(disk, 'journal', () => again++)
        expect([again, damagedAt]).toEqual([count, undefined])
      },
    },
  ]
}

const encodingTargets: FuzzTarget[] = [
  { name: 'CBOR', corpus: [encodeCbor({ a: 1, bb: [b32, 'x', { c: [] }], ccc: 2 ** 40 })], parse: decodeCbor },
  { name: 'hexadecimal', corpus: texts('00ff'), parse: (bytes) => fromHex(latin1(bytes)) },
  { name: 'base64', corpus: texts('AAECAw==', 'AAEC'), parse: (bytes) => fromBase64(latin1(bytes)) },
  { name: 'base64url', corpus: texts('AAECAw', 'AAEC'), parse: (bytes) => fromBase64Url(latin1(bytes)) },
]

const targets = [
  ...encodingTargets,
  ...(await cryptoTargets()),
  ...chainTargets(),
  ...diagnosisTargets(),
  ...storageTargets(),
  ...(await accountingTargets()),
]

test.each(targets.map((target) => [target.name, target] as const))(
  '%s',
  { timeout: 3_600_000 },
  async (_name, target) => {
    expect(await fuzz(target, isTyped)).toBeGreaterThan(0)
  },
)
