/** Keys, payloads, envelopes, vaults. */
import {
  generateKemKeyPair,
  openEnvelope,
  openWithKemKey,
  parseKemPublicKey,
  sealEnvelope,
  sealToKemKey,
} from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
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
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { type FuzzTarget, texts } from '../support/fuzz.ts'

const ledgerId = sha256(encodeUtf8('a ledger'))
const b32 = new Uint8Array(32).fill(7)

/** Parsers of `packages/crypto`. */
export async function cryptoTargets(): Promise<FuzzTarget[]> {
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
