/** Makes a dispute bundle from what nodes serve: transactions with their blocks' SEALs, grants with proofs of the state, times, disclosed records. */
import { setTimeout as delay } from 'node:timers/promises'

import type { ChainName } from '@healthblock/chain/chains'
import { encodeVkey } from '@healthblock/chain/checkpoint'
import {
  type Dispute,
  type DisputeDisclosure,
  type DisputePart,
  type DisputeQuestion,
  disputeLimits,
  encodeDispute,
  type VerifiedDispute,
  verifyDispute,
} from '@healthblock/chain/dispute'
import { commonWitnesses, withWitnessLines } from '@healthblock/chain/file-witnesses'
import { inclusionProofAsync } from '@healthblock/chain/merkle'
import { encodeProof, parseProof } from '@healthblock/chain/proof'
import { parseSealLeaf, type Seal } from '@healthblock/chain/seal'
import type { SignedStatement } from '@healthblock/chain/statement'
import { userTables } from '@healthblock/chain/tables'
import { tileHashReader, tilePath } from '@healthblock/chain/tile'
import { leafKind, parseTransactionLeaf, type Transaction } from '@healthblock/chain/transaction'
import { witnessesMax } from '@healthblock/chain/witness'
import type { Disclosure } from '@healthblock/crypto/disclosure'
import { reachesEpoch, restrictNodes } from '@healthblock/crypto/key-tree'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import type { BlockCodec, StorageClient } from '@healthblock/runtime/storage-client'
import { askedWitnesses, nodesWithWitnesses, witnessFaults } from './asked-witnesses.ts'
import { CommandError } from './io.ts'

/** What is asked for. */
export interface DisputeRequest {
  readonly genesis: Uint8Array
  readonly client: LedgerClient
  readonly transactions: readonly Uint8Array[]
  readonly grants: readonly { readonly patient: Uint8Array; readonly gid: Uint8Array }[]
  /** Times at which each of the grants is in question, Unix ms. */
  readonly times: readonly number[]
  readonly storageReceipts: readonly SignedStatement[]
  /** True: stores are asked to sign now that they have the blocks which the transactions name. */
  readonly areStoresAsked?: boolean
  readonly disclosure?: Disclosure
  readonly storage?: StorageClient
  /** Only under heads that a witness cosigned, which are waited for; absent: under such ones if there are any that hold everything. */
  readonly isWitnessed?: boolean
}

/** A checkpoint under which the parts of one chain are proved. */
type Head = Awaited<ReturnType<LedgerClient['checkpoint']>>

/** Under what a bundle stands. */
interface Heads {
  readonly of: Partial<Record<ChainName, Head>>
  readonly witnesses: ReturnType<typeof commonWitnesses>
}

/** How long, and in which steps, witnesses' cosignatures are waited for; and a node that is a moment behind the one that was asked before. */
const witnessedMsMax = 30_000
const publishedMsMax = 10_000
const pauseMs = 500

interface Wanted {
  readonly leaf: Uint8Array
  readonly state?: DisputePart['state']
}

interface Block {
  readonly leaves: readonly Uint8Array[]
  readonly firstIndex: number
  readonly end: number
  readonly seal: Seal
}

/** Licences of a doctor that a file brings along: mostly there is one, and each suspension is another. */
const licencesMax = 32
const chainNames = ['userchain', 'docchain'] as const
/** Kinds of records (chain SPEC.md §6, iot). */
const kindGap = 2
const kindFile = 3
/** The act of an amendment that has no block. */
const amendSign = 1

class Composer {
  readonly #request: DisputeRequest
  readonly #wanted: Record<ChainName, Map<number, Wanted>> = { userchain: new Map(), docchain: new Map() }

  constructor(request: DisputeRequest) {
    this.#request = request
  }

  #want(chain: ChainName, index: number, wanted: Wanted): void {
    const known = this.#wanted[chain].get(index)
    this.#wanted[chain].set(index, known === undefined ? wanted : { ...wanted, ...known })
  }

  #wantSeal(chain: ChainName, { leaves, end }: Block): void {
    this.#want(chain, end - 1, { leaf: leaves.at(-1) as Uint8Array })
  }

  /** The block that holds a leaf, or undefined beyond the published ones. */
  async #block(chain: ChainName, index: number): Promise<Block | undefined> {
    const { frames } = await this.#request.client.blocks(chain, index, { limit: 1 })
    const frame = frames[0]
    if (frame === undefined) return undefined
    const { leaves, firstIndex } = frame
    return { leaves, firstIndex, end: firstIndex + leaves.length, seal: parseSealLeaf(leaves.at(-1) as Uint8Array) }
  }

  /** A transaction and the SEAL of its block. */
  async transaction(id: Uint8Array): Promise<void> {
    for (const chain of chainNames) {
      const [answer] = await this.#request.client.answers(chain, [id], { waitMs: 0 })
      if (answer?.status !== 'committed') continue
      const block = await this.#block(chain, answer.index)
      const leaf = block?.leaves[answer.index - block.firstIndex]
      if (block === undefined || leaf === undefined) continue
      this.#want(chain, answer.index, { leaf })
      this.#wantSeal(chain, block)
      return
    }
    throw new CommandError(`transaction ${toHex(id)} is on no ledger here`)
  }

  /** Proofs of the grants' records, each under the SEAL at which it was had; gives the oldest of these SEALs' ends. */
  async grants(): Promise<number> {
    let end = Number.MAX_SAFE_INTEGER
    const doctors = new Map<string, Uint8Array>()
    for (const { patient, gid } of this.#request.grants) {
      const { index, value } = await this.#state(userTables.grant.key(patient, gid))
      end = Math.min(end, index + 1)
      const to = value === undefined ? undefined : (decodeCbor(value) as { to?: unknown }).to
      if (to instanceof Uint8Array) doctors.set(toHex(to), to)
    }
    // A grant in force is worth nothing to a doctor without a licence, so that is asked with it.
    if (this.#request.times.length > 0) for (const doctor of doctors.values()) await this.#licences(doctor)
    return end
  }

  /** Takes a record of Userchain's newest state in, or the proof that there is none. */
  async #state(key: Uint8Array): Promise<{ index: number; value: Uint8Array | undefined }> {
    const { seal, index, value, proof } = await this.#request.client.provedState('userchain', key)
    const known = this.#wanted.userchain.get(index)?.state ?? []
    if (!known.some((one) => equalBytes(one.key, key))) {
      const state = [...known, value === undefined ? { key, proof } : { key, proof, value }]
      this.#wanted.userchain.set(index, { leaf: seal, state })
    }
    return { index, value }
  }

  /** The newest licences that an account ever had, with the organisations that gave them; of who is no doctor that there is none. */
  async #licences(account: Uint8Array): Promise<void> {
    const { value: head } = await this.#state(userTables.licenceHead.key(account))
    const newest = head === undefined ? -1 : Number(decodeCbor(head))
    for (let k = newest; k >= 0 && k > newest - licencesMax; k--) {
      const { value } = await this.#state(userTables.licence.key(account, k))
      const org = value === undefined ? undefined : (decodeCbor(value) as { org?: unknown }).org
      if (org instanceof Uint8Array) await this.#state(userTables.organisation.key(org))
    }
  }

  /** The newest block at a time, and the one after it, among those that end at most at `end`. */
  async time(atMs: number, end: number): Promise<void> {
    let newest = await this.#block('userchain', 0)
    if (newest === undefined || newest.seal.ms > atMs) throw new CommandError('the ledger is younger than that time')
    // Blocks from `later` on are of a later time, or beyond `end`; both bounds are ends of blocks.
    let later = end
    while (newest.end < later) {
      const middle = await this.#block('userchain', Math.floor((newest.end + later - 1) / 2))
      if (middle === undefined) break
      if (middle.seal.ms <= atMs) newest = middle
      else later = middle.firstIndex
    }
    this.#wantSeal('userchain', newest)
    const next = newest.end < end ? await this.#block('userchain', newest.end) : undefined
    if (next !== undefined) this.#wantSeal('userchain', next)
    else if (atMs > newest.seal.ms) {
      throw new CommandError(
        `no block proves that time yet: the newest is of ${new Date(newest.seal.ms).toISOString()}`,
      )
    }
  }

  /** Sealed blocks of records here that the disclosed keys reach, each with the nodes of its one epoch. */
  async disclosed(): Promise<DisputeDisclosure[]> {
    const { disclosure, storage } = this.#request
    if (disclosure === undefined) return []
    if (storage === undefined)
      throw new CommandError('no storage node is known: the disclosed blocks cannot be fetched')
    const opened: DisputeDisclosure[] = []
    for (const { leaf } of this.#wanted.userchain.values()) {
      if (leaf[0] !== 0x83) continue
      const { body } = parseTransactionLeaf(leaf)
      if (body.t !== 'iot' || !equalBytes(body.a, disclosure.patient)) continue
      for (const [stream, , generation, epoch, kind, , cid] of body.r) {
        const held = disclosure.nodes.find(
          (one) => equalBytes(one.stream, stream) && one.generation === generation && reachesEpoch({ ...one, epoch }),
        )
        if (held === undefined || kind > 1) continue
        const { first } = held
        const nodes = restrictNodes(held.nodes, { first, from: epoch, until: epoch + 1 })
        const block = await storage.get(cid)
        opened.push({ block, first, nodes: nodes.map(({ depth, index, key }) => [depth, index, key]) })
      }
    }
    return opened
  }

  /** What stores sign now about the blocks that the transactions name. */
  async stored(): Promise<SignedStatement[]> {
    const { areStoresAsked, storage } = this.#request
    if (areStoresAsked !== true) return []
    if (storage === undefined) throw new CommandError('no storage node is known: none can be asked what it has')
    const leaves = chainNames.flatMap((chain) => [...this.#wanted[chain].values()])
    const blocks = leaves.flatMap(({ leaf }) => (leafKind(leaf) === 'seal' ? [] : blocksOf(parseTransactionLeaf(leaf))))
    if (blocks.length === 0) throw new CommandError('the transactions name no blocks that a store could have')
    const words: SignedStatement[] = []
    for (const { digest, codec } of blocks) words.push(...(await storage.statements(digest, { codec })))
    return words
  }

  /** Chains that the bundle is about. */
  get #chains(): ChainName[] {
    return chainNames.filter((chain) => this.#wanted[chain].size > 0)
  }

  /** The newest heads that hold everything and that one witness at least cosigned on every chain; undefined while there are none. */
  async #witnessedHeads(): Promise<Heads | undefined> {
    const { client } = this.#request
    const of: Partial<Record<ChainName, Head>> = {}
    for (const chain of this.#chains) {
      const head = await client.witnessed(chain)
      if (head === undefined || head.size <= Math.max(...this.#wanted[chain].keys())) return undefined
      of[chain] = head
    }
    // Which keys these are is a node's word; what they signed is not.
    const keys = (await askedWitnesses(client)).flatMap((node) => node.keys)
    const distinct = [...new Map(keys.map((key) => [encodeVkey(key), key])).values()]
    const notes = Object.values(of).map(({ note }) => note)
    const witnesses = commonWitnesses(distinct, notes).slice(0, witnessesMax)
    return witnesses.length > 0 ? { of, witnesses } : undefined
  }

  async #heads(): Promise<Heads> {
    const { client, isWitnessed = false } = this.#request
    if (isWitnessed) await nodesWithWitnesses(client)
    for (let waitedMs = 0; ; waitedMs += pauseMs) {
      const witnessed = await this.#witnessedHeads()
      if (witnessed !== undefined) return witnessed
      if (!isWitnessed) break
      if (waitedMs >= witnessedMsMax) {
        throw new CommandError(
          `no witness has cosigned heads of both ledgers that hold it all${await witnessFaults(client)}: see "ledger witness list"`,
        )
      }
      await delay(pauseMs)
    }
    const of: Partial<Record<ChainName, Head>> = {}
    for (const chain of this.#chains) of[chain] = await this.#head(chain)
    return { of, witnesses: [] }
  }

  /** A published head that holds everything of a chain. */
  async #head(chain: ChainName): Promise<Head> {
    const last = Math.max(...this.#wanted[chain].keys())
    for (let waitedMs = 0; ; waitedMs += pauseMs) {
      const head = await this.#request.client.checkpoint(chain)
      if (head.size > last) return head
      if (waitedMs >= publishedMsMax)
        throw new CommandError(`${head.url} publishes ${head.size} entries of ${chain}, and entry ${last} is needed`)
      await delay(pauseMs)
    }
  }

  /** Proofs of everything that is wanted, each chain under one checkpoint. */
  async parts(): Promise<Pick<Dispute, 'parts' | 'trail' | 'witnesses'>> {
    const { client } = this.#request
    const { of, witnesses } = await this.#heads()
    const keys = witnesses.map(({ key }) => key)
    const parts: DisputePart[] = []
    const under: { chain: ChainName; k: number }[] = []
    for (const chain of this.#chains) {
      const wanted = [...this.#wanted[chain]].sort(([a], [b]) => a - b)
      const { note, size, url } = of[chain] as Head
      const { note: plain, k } = client.trail.receiptForm(chain, note)
      const checkpoint = withWitnessLines(plain, note, keys)
      under.push({ chain, k })
      const read = tileHashReader({ size, readTile: (tile) => client.tile(chain, tilePath(tile), { url }) })
      for (const [index, { leaf, state }] of wanted) {
        const hashes = await inclusionProofAsync({ index, size }, read)
        const proof = encodeProof({ index, hashes, checkpoint })
        parseProof(proof)
        parts.push(state === undefined ? { chain, leaf, proof } : { chain, leaf, proof, state })
      }
    }
    return { parts, trail: client.trail.needed(under), witnesses: witnesses.map(({ vkey }) => vkey) }
  }
}

/** The stored blocks that a transaction names: those of records but gaps, and of diagnoses. */
function blocksOf({ body }: Transaction): { digest: Uint8Array; codec: BlockCodec }[] {
  if (body.t === 'diagnosis' || (body.t === 'amend' && body.act !== amendSign))
    return [{ digest: body.cid, codec: 'raw' }]
  if (body.t !== 'iot') return []
  return body.r.flatMap(([, , , , kind, , digest]) =>
    kind === kindGap ? [] : [{ digest, codec: kind === kindFile ? 'dag-pb' : 'raw' }],
  )
}

/** @throws {CommandError} for more than one bundle holds. */
function requireFits(what: keyof typeof disputeLimits, list: readonly unknown[], words: string): void {
  const most = disputeLimits[what]
  if (list.length > most)
    throw new CommandError(`one file holds at most ${most} ${words}, and this would be ${list.length}: make several`)
}

/**
 * Makes a bundle and verifies it.
 *
 * @returns The file, what it proves in words, and who outside of the ledger stands behind it.
 * @throws {CommandError} for what is not on record, or a time that no block proves.
 */
export async function composeDispute(
  request: DisputeRequest,
): Promise<{ bytes: Uint8Array } & Pick<VerifiedDispute, 'steps' | 'witnesses'>> {
  const questions: DisputeQuestion[] = request.times.flatMap((at) =>
    request.grants.map(({ patient, gid }) => ({ at, patient, gid })),
  )
  requireFits('questions', questions, 'questions, each grant at each time')
  const composer = new Composer(request)
  for (const id of request.transactions) await composer.transaction(id)
  const end = await composer.grants()
  for (const atMs of request.times) await composer.time(atMs, end)
  const disclosed = await composer.disclosed()
  const storage = [...request.storageReceipts, ...(await composer.stored())]
  requireFits('disclosed', disclosed, 'opened blocks')
  requireFits('storage', storage, "stores' statements")
  const proved = await composer.parts()
  requireFits('parts', proved.parts, 'entries, SEALs among them')
  const bytes = encodeDispute({ genesis: request.genesis, ...proved, questions, storage, disclosed })
  const { steps, witnesses } = verifyDispute({ bytes })
  return { bytes, steps, witnesses }
}
