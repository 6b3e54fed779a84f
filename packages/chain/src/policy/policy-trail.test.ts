import { describe, expect, it } from 'vitest'
import { Consortium, type TestCosigner } from '../consortium.test-support.ts'
import { createReceipt, encodeReceipt, parseReceipt, verifyReceipt } from '../evidence/receipt.ts'
import { acceptedFlips, keyOf } from '../sample.test-support.ts'
import { type GovernedNode, governActs } from './governing.ts'
import { PolicyTrail, type TrailStep } from './policy-trail.ts'

/** Cosigners before and after: rank 1 gets another key on both chains, then rank 4 joins and rank 0 leaves. */
const first: TestCosigner[] = [{ rank: 0 }, { rank: 1 }, { rank: 2 }]
const second: TestCosigner[] = [{ rank: 1, name: '1 again' }, { rank: 2 }, { rank: 3 }]
const third: TestCosigner[] = [{ rank: 1, name: '1 again' }, { rank: 2 }, { rank: 4, name: 'fifth' }]

function replaceOne(world: Consortium) {
  return world.policy((argument) => {
    const [rank, org, account, node, ulog, ucos, dlog, dcos] = argument.nodes[1] as GovernedNode
    const key = (chain: string) => keyOf(`${chain} cosigner 1 again`).publicKey
    argument.nodes = argument.nodes.with(1, [rank, org, account, node, ulog, key('userchain'), dlog, key('docchain')])
    argument.last = [
      [ucos, 2],
      [dcos, 2],
    ]
  })
}

function exchange(world: Consortium) {
  return world.policy((argument) => {
    const [, , , , , ucos, , dcos] = argument.nodes[0] as GovernedNode
    argument.nodes = [...argument.nodes.slice(1), world.newNode(4, 0, 'fifth')]
    argument.last = [
      [ucos, 4],
      [dcos, 4],
    ]
  })
}

/** Two changes of policy on both chains, with the trail that proves them. */
function story() {
  const world = new Consortium()
  const trail = new PolicyTrail(world.genesis)
  const steps: TrailStep[] = []
  const add = (step: TrailStep) => {
    trail.extend(step)
    steps.push(step)
  }
  add(
    world.step(
      'userchain',
      world.post('userchain', world.govern(governActs.policy, replaceOne(world))).firstIndex,
      first,
    ),
  )
  const between = world.checkpoint('userchain', second)
  const reading = world.post('userchain', world.registration('patient', 1))
  const entry = world.logs.userchain.entry(reading.firstIndex, world.checkpoint('userchain', second))
  add(world.step('docchain', world.post('docchain').firstIndex, first))
  add(
    world.step(
      'userchain',
      world.post('userchain', world.govern(governActs.policy, exchange(world))).firstIndex,
      second,
    ),
  )
  add(world.step('docchain', world.post('docchain').firstIndex, second))
  return { world, trail, steps, between, entry }
}

const told = story()

describe('a policy trail', () => {
  const { world, trail, steps, between } = told

  it('gives each size of each chain its policy', () => {
    expect(steps).toHaveLength(4)
    for (const chain of ['userchain', 'docchain'] as const) {
      const { size } = world.ledger.head(chain)
      expect(trail.policies(chain, 2)).toHaveLength(1)
      expect(trail.newest(chain).cosigners[0]).toBeUndefined()
      expect(trail.newest(chain).cosigners[4]).toEqual(keyOf(`${chain} cosigner fifth`).publicKey)
      expect(trail.newest(chain)).toEqual(world.logPolicy(chain, world.ledger.head(chain).height + 1))
      // The head is a switch: the policy before published it, and the one after may cosign it as well.
      expect(trail.verify(chain, world.checkpoint(chain, second)).size).toBe(size)
      expect(trail.verify(chain, world.checkpoint(chain, third))).toMatchObject({ size, k: 2 })
      // Where both have a quorum, the one that signed last counts: whoever went is not waited for.
      const gone = { rank: 3, agoMs: 600_000 }
      const fresh = Math.floor(world.nowMs / 1000) * 1000
      const both = trail.verify(chain, world.checkpoint(chain, [...third, gone]))
      expect(both).toMatchObject({ size, k: 2, oldestTime: fresh })
      expect(trail.verify(chain, world.checkpoint(chain, [third[0], third[1], gone] as TestCosigner[]))).toMatchObject({
        k: 1,
        oldestTime: fresh - 600_000,
      })
      expect(() => trail.verify(chain, world.checkpoint(chain, first))).toThrow('too few')
      const beyond = world.checkpoint(chain, [{ rank: 0 }, { rank: 2 }, { rank: 3 }], { size: size + 1 })
      expect(() => trail.verify(chain, beyond)).toThrow('too few')
      expect(trail.verify(chain, world.checkpoint(chain, third, { size: size + 1 })).k).toBe(2)
    }
    expect(trail.verify('userchain', between).k).toBe(1)
  })

  it('takes no step out of order, twice, of another leaf, or that the wrong quorum signed', () => {
    const after = (...known: TrailStep[]) => PolicyTrail.of(world.genesis, known)
    const [one, two, three, four] = steps as [TrailStep, TrailStep, TrailStep, TrailStep]
    expect(after(one, three, two, four).steps).toEqual([one, three, two, four])
    expect(() => after(two)).toThrow('changes no policy')
    expect(() => after(three)).toThrow('too few')
    expect(() => after(one, one)).toThrow()
    expect(() => after(one, two, two)).toThrow()
    expect(() => after(one, { ...three, leaf: one.leaf })).toThrow()
    expect(() => after(one, { ...two, chain: 'userchain' })).toThrow()
    expect(() => after({ ...one, leaf: world.logs.userchain.leaves[3] as Uint8Array })).toThrow()
  })

  it('takes no step with a flipped bit', () => {
    const [one] = steps as [TrailStep]
    const proof = new TextEncoder().encode(one.proof)
    const read = (flipped: Uint8Array) =>
      PolicyTrail.of(world.genesis, [{ ...one, proof: new TextDecoder('utf-8', { fatal: false }).decode(flipped) }])
    expect(acceptedFlips(proof, read, { step: 7 })).toEqual([])
  })
})

describe('a receipt after a change of policy', () => {
  const { world, trail, steps, entry } = told
  const { genesis } = world
  const bytes = createReceipt({ genesis, trail, chain: 'userchain', transaction: entry })

  it('carries the steps that it needs, and verifies from genesis alone', () => {
    expect(parseReceipt(bytes).trail).toEqual([steps[0]])
    const { steps: words } = verifyReceipt({ bytes, ledgerId: genesis.ledgerId })
    expect(words.join('\n')).toContain('by the quorum until then: 3 of nodes 0, 1, 2, 3 cosign')
    const newest = world.logs.userchain.entry(2, world.checkpoint('userchain', third))
    const later = createReceipt({ genesis, trail, chain: 'userchain', transaction: newest })
    expect(parseReceipt(later).trail).toEqual([steps[0], steps[2]])
    const onDocchain = world.logs.docchain.entry(2, world.checkpoint('docchain', third))
    expect(trail.needed([{ chain: 'docchain', k: trail.receiptForm('docchain', onDocchain.checkpoint).k }])).toEqual(
      steps,
    )
  })

  it('is refused without them, with more of them, or with another', () => {
    const receipt = parseReceipt(bytes)
    const forge = (trailOf: readonly TrailStep[]) => () =>
      verifyReceipt({ bytes: encodeReceipt({ ...receipt, trail: trailOf }), ledgerId: genesis.ledgerId })
    expect(forge([])).toThrow('too few cosignatures')
    expect(forge([steps[0] as TrailStep, steps[1] as TrailStep])).toThrow('a step that no part needs')
    expect(forge([steps[2] as TrailStep])).toThrow('too few cosignatures')
    expect(() => createReceipt({ genesis, chain: 'userchain', transaction: entry })).toThrow('too few')
  })

  it('is refused with a flipped bit anywhere', () => {
    const check = (flipped: Uint8Array) => verifyReceipt({ bytes: flipped, ledgerId: genesis.ledgerId })
    expect(acceptedFlips(bytes, check, { step: 101 })).toEqual([])
  })
})
