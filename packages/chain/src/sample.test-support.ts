/** A small ledger for tests: keys from fixed seeds, logs of leaves, checkpoints that a quorum cosigned. */
import { kemKeyPairFromSeed } from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { concatBytes, encodeU64, encodeUtf8 } from '@healthblock/encoding/bytes'
import type { ChainName } from './chains.ts'
import { ChainError } from './errors.ts'
import type { ReceiptEntry } from './evidence/receipt.ts'
import {
  addSignatures,
  type CheckpointHead,
  chainOrigin,
  checkpointText,
  cosignCheckpoint,
  signCheckpoint,
} from './log/checkpoint.ts'
import { CompactRange, inclusionProof, leafHash, MemoryHashes } from './log/merkle.ts'
import { encodeSignatureLine, encodeVkey, type NoteKey, noteKeyId, signatureTypes } from './log/note.ts'
import type { Seal } from './log/seal.ts'
import { encodeGenesis, type Genesis, parseGenesis } from './policy/genesis.ts'
import type { TransactionBody, TransactionType } from './transaction/transaction.ts'

/** The signing key of a name: the same in every run. */
export function keyOf(name: string): SigningKey {
  return signingKeyFromSeed(sha256(encodeUtf8(`sample key ${name}`)))
}

/** Bytes of a name: the same in every run. */
export function bytesOf(name: string, length = 32): Uint8Array {
  const parts: Uint8Array = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) {
    parts.set(sha256(encodeUtf8(`${name} ${at}`)).subarray(0, Math.min(32, length - at)), at)
  }
  return parts
}

function kemOf(i: number): Uint8Array {
  return kemKeyPairFromSeed(bytesOf(`kem ${i}`)).publicKey
}

/** A genesis of four nodes, quorum three, one organisation and one store each. */
export function sampleGenesis(nodes = 4, q = 3): Genesis {
  const ranks = Array.from({ length: nodes }, (_, rank) => rank)
  const publicKey = (name: string) => keyOf(name).publicKey
  return parseGenesis(
    encodeGenesis({
      v: 1,
      t: 'genesis',
      start: 1_750_000_000_000,
      params: { epochms: 3_600_000, seals: 1 },
      q,
      orgs: ranks.map((i) => [publicKey(`root ${i}`), publicKey(`op ${i}`), kemOf(i), 1, 1000]),
      nodes: ranks.map((i) => [
        i,
        publicKey(`node ${i}`),
        publicKey(`userchain log ${i}`),
        publicKey(`userchain cosigner ${i}`),
        publicKey(`docchain log ${i}`),
        publicKey(`docchain cosigner ${i}`),
      ]),
      stores: ranks.map((i) => [i, publicKey(`store ${i}`), bytesOf(`peer ${i}`, 38)]),
    }),
  )
}

/** A log in memory that publishes checkpoints. */
export class SampleLog {
  readonly origin: string
  readonly #chain: ChainName
  readonly #range = new CompactRange()
  readonly #hashes = new MemoryHashes()
  readonly leaves: Uint8Array[] = []

  constructor(genesis: Genesis, chain: ChainName) {
    this.#chain = chain
    this.origin = chainOrigin({ ledgerId: genesis.ledgerId, chain })
  }

  /** Adds leaves and gives the size after them. */
  add(...leaves: readonly Uint8Array[]): number {
    for (const leaf of leaves) {
      this.leaves.push(leaf)
      this.#range.append(leafHash(leaf), this.#hashes.keep)
    }
    return this.#range.size
  }

  get root(): Uint8Array {
    return this.#range.root
  }

  /** The present head with the log line of rank 0 and the cosignatures of these ranks, a second apart. */
  checkpoint(ranks: readonly number[] = [0, 1, 2], nowMs = 1_750_000_100_000): string {
    const head = { origin: this.origin, size: this.#range.size, root: this.#range.root }
    const lines = ranks.map((rank) => {
      const signer = keyOf(`${this.#chain} cosigner ${rank}`)
      return cosignCheckpoint(head, { rank, signer, nowMs: nowMs + rank * 1000 })
    })
    return addSignatures(signCheckpoint(head, keyOf(`${this.#chain} log 0`)), lines)
  }

  /** A leaf with its proof in the present tree. */
  entry(index: number, checkpoint = this.checkpoint()): ReceiptEntry {
    const hashes = inclusionProof({ index, size: this.#range.size }, this.#hashes.read)
    return { leaf: this.leaves[index] as Uint8Array, index, hashes, checkpoint }
  }
}

/** A copy with one bit flipped. */
export function flipBit(bytes: Uint8Array, bit: number): Uint8Array {
  const flipped = bytes.slice()
  flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7))
  return flipped
}

/** The flips of single bits that `read` takes without a typed error: none, where every byte counts. */
export function acceptedFlips(
  bytes: Uint8Array,
  read: (flipped: Uint8Array) => unknown,
  bits: { from?: number; to?: number; step?: number } = {},
): number[] {
  const accepted: number[] = []
  for (let bit = bits.from ?? 0; bit < (bits.to ?? bytes.length * 8); bit += bits.step ?? 1) {
    try {
      read(flipBit(bytes, bit))
      accepted.push(bit)
    } catch (error) {
      if (!(error instanceof ChainError)) throw error
    }
  }
  return accepted
}

/** Eight bytes of a name. */
export const b8 = (name: string) => bytesOf(name, 8)
/** Sixteen bytes of a name. */
export const b16 = (name: string) => bytesOf(name, 16)
/** 32 bytes of a name. */
export const b32 = (name: string) => bytesOf(name)
const consent = { a: b32('patient'), n: 1_750_000_000_001, x: 1_750_000_100_000 }
const doctor = b32('doctor')
const range = [b8('ecg'), 1, 20] as const

/** One body of each type, optional fields included. */
export const sampleBodies: { readonly [T in Exclude<TransactionType, 'genesis'>]: TransactionBody } = {
  register: {
    v: 1,
    t: 'register',
    role: 1,
    root: b32('root'),
    op: b32('op'),
    kem: bytesOf('kem', 1216),
    suite: 1,
    sponsor: b32('sponsor'),
    salt: b16('salt'),
  },
  update: {
    v: 1,
    t: 'update',
    ...consent,
    op: b32('op 2'),
    root: b32('root 2'),
    kem: bytesOf('kem 2', 1216),
    suite: 1,
    why: 255,
  },
  licence: { v: 1, t: 'licence', ...consent, doctor, state: 1, from: 0, to: 2 ** 53 - 1 },
  device: {
    v: 1,
    t: 'device',
    ...consent,
    dev: b16('device'),
    act: 1,
    streams: [b8('ecg')],
    cert: b32('cert'),
    sid: b16('sid'),
  },
  iot: { v: 1, t: 'iot', a: b32('patient'), r: [[b8('ecg'), 1, 1, 486_111, 0, 4096, b32('cid')]] },
  key: {
    v: 1,
    t: 'key',
    ...consent,
    gen: 2,
    first: 486_111,
    cut: [[b8('ecg'), 1, 20]],
    close: [b16('grant 1')],
    open: [
      [b16('grant 2'), doctor, [b8('ecg')], 486_111, 2 ** 53 - 1, 3, 1, b32('request')],
      [b16('grant 3'), doctor, [b8('ecg')], 486_111, 2 ** 53 - 1, 3, 1],
    ],
    env: [[b16('grant 2'), 2, bytesOf('envelope', 1472)]],
    why: 2,
    seen: [9, b32('seen')],
  },
  envelope: {
    v: 1,
    t: 'envelope',
    a: b32('patient'),
    key: b32('key tx'),
    env: [[b16('grant 2'), 2, bytesOf('envelope 2', 1472)]],
  },
  erase: { v: 1, t: 'erase', ...consent, ranges: [range, [b8('vitals'), 3, 3]], law: 17 },
  algorithm: {
    v: 1,
    t: 'algorithm',
    a: b32('org'),
    id: 'healthblock.ecg',
    version: '1.0.0',
    hash: b32('algorithm'),
    act: 1,
  },
  govern: { v: 1, t: 'govern', a: b32('org'), act: 4, arg: bytesOf('argument', 64), n: 1 },
  evidence: { v: 1, t: 'evidence', a: b32('org'), kind: 2, notes: [bytesOf('note', 64)] },
  diagnosis: {
    v: 1,
    t: 'diagnosis',
    a: doctor,
    pat: b32('patient'),
    g: b16('grant 2'),
    basis: [9, b32('seen')],
    in: [range],
    gen: 2,
    epoch: 486_111,
    seq: 1,
    alg: b32('algorithm'),
    carry: b32('carry'),
    pair: b32('pair'),
    cid: b32('cid 2'),
    len: 16_384,
    esc: b16('escrow'),
  },
  amend: {
    v: 1,
    t: 'amend',
    a: doctor,
    of: b32('diagnosis'),
    act: 3,
    gen: 2,
    epoch: 486_111,
    seq: 2,
    cid: b32('cid 3'),
    len: 16_384,
  },
  unreadable: {
    v: 1,
    t: 'unreadable',
    a: doctor,
    pat: b32('patient'),
    g: b16('grant 2'),
    basis: [9, b32('seen')],
    in: [range],
    code: 5,
  },
}
/** A SEAL of Userchain. */
export const sampleSeal: Seal = {
  h: 1,
  i0: 2,
  k: 1,
  psize: 2,
  proot: b32('p'),
  st: b32('st'),
  ms: 1_750_000_000_001,
  rules: 1,
}

/** Somebody outside of a ledger who cosigns: a key for `parseWitnessKey`, and its line over a head at a time. */
export function sampleWitness(name: string): {
  readonly vkey: string
  line(head: CheckpointHead, nowMs: number): string
} {
  const signer = keyOf(`witness ${name}`)
  const key: NoteKey = { name, type: signatureTypes.cosigner, publicKey: signer.publicKey }
  return {
    vkey: encodeVkey(key),
    line(head, nowMs) {
      const seconds = Math.floor(nowMs / 1000)
      const message = encodeUtf8(`cosignature/v1\ntime ${seconds}\n${checkpointText(head)}`)
      const signature = concatBytes(encodeU64(seconds), signer.sign(message))
      return encodeSignatureLine({ name, keyId: noteKeyId(key), signature })
    },
  }
}
