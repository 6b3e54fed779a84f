import { generateSigningKey } from '@healthblock/crypto/signature'
import { beforeEach, describe, expect, it } from 'vitest'
import { ChainError } from '../errors.ts'
import { leafHash } from '../log/merkle.ts'
import { encodeEntryBundle } from '../log/tile.ts'
import { enrol, memoryStores, World } from '../testkit.ts'
import { encodeTransactionLeaf, parseTransactionLeaf, signingMessage } from '../transaction/transaction.ts'
import { Ledger } from './block.ts'
import { type PreparationOrder, prepare, prepareBundle, sameThread } from './preparation.ts'
import { Replay } from './replay.ts'

let world: World
let leaves: readonly Uint8Array[]
let order: PreparationOrder

beforeEach(() => {
  world = new World()
  const { patient, streams } = enrol(world)
  world.post(world.iot(patient, [world.record(streams[0], 1)]))
  leaves = world.leaves.userchain
  const ledger = Ledger.open({ genesis: world.genesis, stores: memoryStores() })
  order = { workers: sameThread, ledger, chain: 'userchain' }
})

function bundleOf(all: readonly Uint8Array[]): Uint8Array {
  return encodeEntryBundle(all)
}

/** Replays leaves that were prepared against `ledger`, which may be ahead of them, on an empty one. */
async function replay(all: readonly Uint8Array[], from: PreparationOrder['ledger'] = order.ledger): Promise<Ledger> {
  const target = Ledger.open({ genesis: world.genesis, stores: memoryStores() })
  const reader = new Replay(target, 'userchain', target.head('userchain').size)
  const prepared = await prepareBundle({ ...order, ledger: from }, bundleOf(all), all.length)
  for (const one of prepared.leaves) reader.push(one.leaf, one)
  return target
}

describe('a prepared bundle', () => {
  it('has the hashes and ids of its leaves, and replays to the same head', async () => {
    const { leaves: known } = await prepareBundle(order, bundleOf(leaves), leaves.length)
    for (const [position, { hash, prepared }] of known.entries()) {
      expect(hash).toEqual(leafHash(leaves[position] as Uint8Array))
      if (prepared === undefined) continue
      expect(prepared.id).toEqual(world.ledger.transactionId('userchain', prepared.transaction))
    }
    const target = await replay(leaves)
    expect(target.head('userchain')).toEqual(world.ledger.head('userchain'))
  })

  it('spares execution the signatures whose keys were foreseen', async () => {
    const { leaves: known } = await prepareBundle({ ...order, ledger: world.ledger }, bundleOf(leaves), leaves.length)
    const signed = known.flatMap(({ prepared }) => prepared?.goodUnder ?? [])
    expect(signed.length).toBeGreaterThan(3)
    expect(signed.every((key) => key !== undefined)).toBe(true)
  })

  it('a signature that is not good stays one, whatever was foreseen', async () => {
    const at = leaves.length - 2
    const good = parseTransactionLeaf(leaves[at] as Uint8Array)
    const signatures = good.signatures.map((one) => ({
      ...one,
      signature: Uint8Array.from(one.signature).fill(7, 0, 8),
    }))
    const forged = encodeTransactionLeaf({ bodyBytes: good.bodyBytes, signatures })
    const all = leaves.map((leaf, i) => (i === at ? forged : leaf))
    await expect(replay(all, world.ledger)).rejects.toMatchObject({ detail: { rule: 'iot.signature', index: at + 2 } })
  })

  it('a good signature under another key than the rule demands is worth nothing', async () => {
    const at = leaves.length - 2
    const good = parseTransactionLeaf(leaves[at] as Uint8Array)
    const thief = generateSigningKey()
    const { bodyBytes } = good
    const signature = thief.sign(signingMessage({ ledgerId: order.ledger.ledgerId, chain: 'userchain', bodyBytes }))
    const forged = encodeTransactionLeaf({
      bodyBytes,
      signatures: good.signatures.map((one) => ({ ...one, signature })),
    })
    const all = leaves.map((leaf, i) => (i === at ? forged : leaf))
    const { leaves: known } = await prepareBundle(order, bundleOf(all), all.length)
    const target = Ledger.open({ genesis: world.genesis, stores: memoryStores() })
    const reader = new Replay(target, 'userchain', target.head('userchain').size)
    const push = () => {
      for (const [i, one] of known.entries()) {
        const prepared = one.prepared
        const foreseen = i === at && prepared !== undefined ? { ...prepared, goodUnder: [thief.publicKey] } : prepared
        reader.push(one.leaf, foreseen === undefined ? one : { ...one, prepared: foreseen })
      }
    }
    expect(push).toThrow(ChainError)
    expect(target.head('userchain').height).toBe(world.ledger.head('userchain').height - 1)
  })

  it('leaves to replay what cannot be read', async () => {
    const all = [Uint8Array.of(0x83, 0x01, 0xff), ...leaves.slice(1)]
    const { leaves: known } = await prepareBundle(order, bundleOf(all), all.length)
    expect(known[0]).toEqual({ leaf: all[0], hash: leafHash(all[0] as Uint8Array) })
    await expect(replay(all)).rejects.toMatchObject({ detail: { rule: 'transaction.format' } })
  })

  it('refuses a bundle that is none', async () => {
    await expect(prepareBundle(order, Uint8Array.of(0, 9, 1), 1)).rejects.toMatchObject({
      detail: { code: 'ERR_TILE_FORMAT' },
    })
  })

  it('a claim under something that is no key is not good', () => {
    const bundle = bundleOf(leaves.slice(0, 1))
    const request = {
      ledgerId: order.ledger.ledgerId,
      chain: 'userchain',
      bundle,
      width: 1,
      bodies: Uint32Array.of(4, 9),
      claims: new Uint8Array(96).fill(255),
      claimEnds: Uint32Array.of(1),
    } as const
    expect([...prepare(request).good]).toEqual([0])
  })
})
