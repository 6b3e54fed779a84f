/** Signs what people of a simulated ledger send, from fixed seeds: the same transactions in every process. */

import type { ChainName } from '@healthblock/chain/chains'
import { encodeGovernArgument, type GovernArguments } from '@healthblock/chain/governing'
import {
  signTransaction,
  type TransactionBody,
  type TransactionSigner,
  transactionId,
} from '@healthblock/chain/transaction'
import { kemKeyPairFromSeed } from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { compareBytes, encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import type { SampleNodeKeys } from '../support/sample-ledger.ts'
import { nodeSeedMark } from './provider.ts'

/** Unix ms at which every run begins. */
export const startMs = 1_800_000_000_000
/** Length of an epoch. */
export const epochMs = 3_600_000
const dayMs = 86_400_000
const slot = Math.floor(startMs / epochMs)

/** One transaction of somebody. */
export interface Item {
  readonly name: string
  readonly chain: ChainName
  readonly id: Uint8Array
  /** The id in hex. */
  readonly key: string
  readonly leaf: Uint8Array
  /** Names of the items that its sender waits for. */
  readonly needs: readonly string[]
  /** True if it is sent only if all of those are on record. */
  readonly isStrict?: boolean
}

/** Somebody who sends items in order. */
export interface Lane {
  readonly name: string
  readonly items: readonly Item[]
}

/** Bytes that follow from a name. */
export function bytesOf(name: string, length = 32): Uint8Array {
  const bytes = new Uint8Array(length)
  for (let at = 0; at < length; at += 32) {
    bytes.set(sha256(encodeUtf8(`simulated ${name} ${at}`)).subarray(0, Math.min(32, length - at)), at)
  }
  return bytes
}

/** A person's or organisation's key. */
export function keyOf(name: string): SigningKey {
  return signingKeyFromSeed(bytesOf(name))
}

/** A node's key, which signs cheaply. */
function nodeKeyOf(name: string): SigningKey {
  const seed = bytesOf(name)
  seed.set(nodeSeedMark)
  return signingKeyFromSeed(seed)
}

/** All keys of a node. */
export function nodeKeysOf(name: string): SampleNodeKeys {
  const pair = (chain: ChainName) => ({
    log: nodeKeyOf(`${chain} log ${name}`),
    cosigner: nodeKeyOf(`${chain} cosigner ${name}`),
  })
  return { node: nodeKeyOf(`node ${name}`), userchain: pair('userchain'), docchain: pair('docchain') }
}

/** An account's public key for envelopes. */
export function kemOf(name: string): Uint8Array {
  return kemKeyPairFromSeed(bytesOf(name)).publicKey
}

/** Somebody with an account. */
export interface Party {
  readonly account: Uint8Array
  readonly root: SigningKey
  readonly op: SigningKey
}

/** Signs what people send. */
export class Scribe {
  readonly ledgerId: Uint8Array
  readonly organisation: Party
  /** Userchain's first boundary. */
  readonly zero: readonly [number, Uint8Array]
  #counter = 0

  constructor(ledgerId: Uint8Array, organisation: Party, zero: readonly [number, Uint8Array]) {
    this.ledgerId = ledgerId
    this.organisation = organisation
    this.zero = zero
  }

  item(
    name: string,
    chain: ChainName,
    body: TransactionBody,
    signers: TransactionSigner[],
    needs: readonly string[] = [],
  ): Item {
    const { leaf, bodyBytes } = signTransaction({ ledgerId: this.ledgerId, chain, body, signers })
    const id = transactionId({ ledgerId: this.ledgerId, chain, bodyBytes })
    return { name, chain, id, key: toHex(id), leaf, needs }
  }

  byOp({ account, op }: Party): TransactionSigner[] {
    return [{ account, key: 1, signingKey: op }]
  }

  byBoth({ account, root, op }: Party): TransactionSigner[] {
    return [
      { account, key: 0, signingKey: root },
      { account, key: 1, signingKey: op },
    ]
  }

  consent(): { n: number; x: number } {
    return { n: startMs + ++this.#counter, x: startMs + dayMs / 2 }
  }

  register(name: string, role: number): { item: Item; party: Party } {
    const [root, op] = [keyOf(`${name} root`), keyOf(`${name} op`)]
    const { account, op: sponsor } = this.organisation
    const keys = { root: root.publicKey, op: op.publicKey, kem: kemOf(`${name} kem`), suite: 1 }
    const body = { v: 1, t: 'register', role, ...keys, sponsor: account, salt: bytesOf(`${name} salt`, 16) } as const
    const signers = [
      { key: 0, signingKey: root },
      { key: 1, signingKey: op },
      { account, key: 1, signingKey: sponsor },
    ]
    const item = this.item(`${name}.register`, 'userchain', body, signers)
    return { item, party: { account: item.id, root, op } }
  }

  /** The n-th act of those who govern. */
  govern<A extends keyof GovernArguments>(
    n: number,
    act: A,
    argument: GovernArguments[A],
    needs: readonly string[],
    signers: readonly Party[] = [this.organisation],
  ): Item {
    const inOrder = signers.toSorted((one, other) => compareBytes(one.account, other.account))
    const [{ account }] = inOrder as [Party]
    const body = { v: 1, t: 'govern', a: account, act, arg: encodeGovernArgument(act, argument), n } as const
    const signed = inOrder.map((party) => ({ account: party.account, key: 0, signingKey: party.root }))
    return { ...this.item(`governors.act-${n}`, 'userchain', body, signed, needs), isStrict: true }
  }

  algorithm(number: number): Item {
    const { account } = this.organisation
    const hash = bytesOf(`algorithm ${number}`)
    const body = { v: 1, t: 'algorithm', a: account, id: `a${number}`, version: '1', hash, act: 1 } as const
    return this.item(`algorithm.${number}`, 'userchain', body, this.byOp(this.organisation))
  }

  licence(name: string, doctor: Party, state: number, needs: readonly string[]): Item {
    const { account } = this.organisation
    const range = { state, from: startMs - dayMs, to: startMs + 300 * dayMs }
    const body = { v: 1, t: 'licence', a: account, ...this.consent(), doctor: doctor.account, ...range } as const
    return this.item(name, 'userchain', body, this.byOp(this.organisation), needs)
  }

  device(name: string, patient: Party, streams: readonly Uint8Array[], needs: readonly string[]): Item {
    const fields = { dev: bytesOf(name, 16), act: 1, streams: [...streams], cert: bytesOf(`${name} cert`) }
    const body = { v: 1, t: 'device', a: patient.account, ...this.consent(), ...fields } as const
    return this.item(name, 'userchain', body, this.byOp(patient), needs)
  }

  /** A rotation to `gen`; `open` are grants to doctors, `close` ids of grants. */
  key(
    name: string,
    patient: Party,
    change: {
      gen: number
      cut?: [Uint8Array, number, number][]
      close?: Uint8Array[]
      open?: { gid: Uint8Array; to: Uint8Array; streams: Uint8Array[] }[]
      kept?: Uint8Array[]
    },
    needs: readonly string[],
  ): Item {
    const { gen, cut = [], close = [], open = [], kept = [] } = change
    const [size, root] = this.zero
    const gids = [...open.map(({ gid }) => gid), ...kept]
    const body: TransactionBody = {
      ...{ v: 1, t: 'key', a: patient.account, ...this.consent(), gen, first: slot, cut, close },
      open: open.map(({ gid, to, streams }) => [gid, to, streams, slot, startMs + 90 * dayMs, 3, 1] as const),
      env: gids.map((gid) => [gid, gen, bytesOf(`${name} ${toHex(gid)}`, 1472)] as const),
      ...{ why: close.length > 0 ? 2 : 1, seen: [size, root] },
    }
    return this.item(name, 'userchain', body, open.length > 0 ? this.byBoth(patient) : this.byOp(patient), needs)
  }

  iot(name: string, patient: Party, record: { stream: Uint8Array; seq: number; gen: number }): Item {
    const { stream, seq, gen } = record
    const r = [[stream, seq, gen, slot, 0, 4096, bytesOf(`${name} cid`)] as const]
    return this.item(name, 'userchain', { v: 1, t: 'iot', a: patient.account, r }, this.byOp(patient))
  }

  diagnosis(
    name: string,
    doctor: Party,
    of: { patient: Party; g: Uint8Array; stream: Uint8Array; from: number; to: number; seq: number },
    needs: readonly string[],
  ): Item {
    const [size, root] = this.zero
    const { patient, g, stream, from, to, seq } = of
    const body: TransactionBody = {
      ...{ v: 1, t: 'diagnosis', a: doctor.account, pat: patient.account, g, basis: [size, root] },
      ...{ in: [[stream, from, to]], gen: 1, epoch: slot, seq, alg: new Uint8Array(32) },
      ...{ cid: bytesOf(`${name} cid`), len: 16_384 },
    }
    return this.item(name, 'docchain', body, this.byOp(doctor), needs)
  }
}
