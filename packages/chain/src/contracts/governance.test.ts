import { readFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { Consortium, nodeKeys } from '../consortium.test-support.ts'
import { ChainError } from '../errors.ts'
import { encodeSealLeaf } from '../log/seal.ts'
import { type GovernedNode, governActs } from '../policy/governing.ts'
import { bytesOf, keyOf } from '../sample.test-support.ts'
import { userTables } from '../state/tables.ts'

const { admit, remove, policy, parameters } = governActs
/** Rules that a test below expects to be broken. */
const broken = new Set<string>()
const refused = (rule: string) => {
  broken.add(rule)
  return { verdict: 'refused', rule: `govern.${rule}` }
}
const organisation = (world: Consortium, i: number) => world.organisations[i] as Uint8Array

/** Replaces the cosigner key of rank 1 on Userchain by one of another name. */
function withNewCosigner(world: Consortium, name = '1 again', size = 2) {
  return world.policy((argument) => {
    const [rank, org, account, node, ulog, ucos, dlog, dcos] = argument.nodes[1] as GovernedNode
    const key = keyOf(`userchain cosigner ${name}`).publicKey
    argument.nodes = argument.nodes.with(1, [rank, org, account, node, ulog, key, dlog, dcos])
    argument.last = [[ucos, size]]
  })
}

/** The rules that SPEC.md names for a type, without its prefix. */
function namedRules(type: string): string[] {
  const spec = readFileSync(new URL('../../SPEC.md', import.meta.url), 'utf8')
  const [, text = ''] = new RegExp(`^- \\*\\*${type}\\*\\*(.*(?:\\n {2}.*)*)`, 'm').exec(spec) ?? []
  return [...new Set([...text.matchAll(/`\.([a-z]+)`/g)].map(([, rule]) => rule as string))].sort()
}

afterAll(() => {
  // `.place` only ever defers.
  expect([...broken, 'place'].sort()).toEqual(namedRules('govern'))
})

describe('who governs', () => {
  it('is two thirds of the organisations, each with its root key, in the order of n', () => {
    const world = new Consortium()
    const quota = { quota: [[organisation(world, 0), 5]] as [Uint8Array, number][] }
    const act = (options: Parameters<Consortium['govern']>[2]) =>
      world.judge('userchain', world.govern(parameters, quota, options))
    expect(act({ by: [0, 1] })).toEqual(refused('signature'))
    expect(act({ by: [0, 1, 2] })).toEqual({ verdict: 'valid' })
    expect(act({ by: [0, 1, 2, 3] })).toEqual({ verdict: 'valid' })
    expect(act({ a: bytesOf('another') })).toEqual(refused('signature'))
    expect(act({ n: 0 })).toEqual(refused('order'))
    expect(act({ n: 2 })).toEqual({ verdict: 'deferred', rule: 'govern.order', missing: 'sequence' })
    world.post('userchain', world.govern(parameters, quota))
    expect(act({ n: 1, by: [0, 1, 2, 3] })).toEqual({ verdict: 'refused', rule: 'govern.duplicate', index: 2 })
    expect(world.judge('userchain', world.govern(parameters, { quota: [] }))).toEqual(refused('arg'))
    expect(world.judge('userchain', world.govern(policy, Uint8Array.of(0x80)))).toEqual(refused('arg'))
    const twice = { quota: [organisation(world, 1), organisation(world, 1)].map((o) => [o, 1] as const) }
    expect(world.judge('userchain', world.govern(parameters, twice))).toEqual(refused('quota'))
    expect(world.judge('userchain', world.govern(parameters, { quota: [[bytesOf('nobody'), 1]] }))).toEqual(
      refused('quota'),
    )
    expect(userTables.quota.get(world.ledger.state('userchain'), organisation(world, 0))).toEqual([5, 0])
  })

  it('does not count one key twice, nor an op key', () => {
    const world = new Consortium()
    const good = world.govern(parameters, { quota: [[organisation(world, 0), 5]] })
    const signers = [0, 1, 2].map((i) => ({
      account: organisation(world, i),
      key: i === 2 ? 1 : 0,
      signingKey: keyOf(i === 2 ? 'op 2' : `root ${i}`),
    }))
    expect(world.judge('userchain', world.sign('userchain', good.body, signers))).toEqual(refused('signature'))
  })
})

describe('organisations', () => {
  it('join after they registered, sponsor, count among those who govern, and leave', () => {
    const world = new Consortium()
    const registration = world.registration('fifth', 3)
    const patient = world.registration('patient', 1)
    const id = world.ledger.transactionId('userchain', registration)
    expect(world.judge('userchain', world.govern(admit, [id, 10]))).toEqual(refused('organisation'))
    world.post('userchain', registration, patient)
    const notOne = world.ledger.transactionId('userchain', patient)
    expect(world.judge('userchain', world.govern(admit, [notOne, 10]))).toEqual(refused('organisation'))
    world.post('userchain', world.govern(admit, [id, 10]))
    const again = world.govern(admit, [id, 10], { by: [0, 1, 2, 3] })
    expect(world.judge('userchain', again)).toEqual(refused('organisation'))
    // Five organisations: three are fewer than two thirds.
    expect(world.judge('userchain', world.govern(remove, [id]))).toEqual(refused('signature'))
    const removal = world.govern(remove, [id], { by: [0, 1, 2, 3] })
    const before = world.ledger.accountKey(id, 1)
    const { wakes } = world.post('userchain', removal)
    expect(wakes).toBe(true)
    expect(before).toEqual(keyOf('op fifth').publicKey)
    expect(world.ledger.accountKey(id, 1)).toBeUndefined()
    expect(world.ledger.accountKey(id, 0)).toBeUndefined()
    expect(world.judge('userchain', world.govern(admit, [id, 10]))).toEqual(refused('organisation'))
    expect(world.judge('userchain', world.govern(remove, [id]))).toEqual(refused('organisation'))
  })

  it('with a node or a store in the policy stay', () => {
    const world = new Consortium()
    expect(world.judge('userchain', world.govern(remove, [organisation(world, 3)]))).toEqual(refused('organisation'))
    world.post(
      'userchain',
      world.govern(
        policy,
        world.policy((argument) => {
          const [, , , , , ucos, , dcos] = argument.nodes[3] as GovernedNode
          argument.nodes = argument.nodes.slice(0, 3)
          argument.last = [
            [ucos, 2],
            [dcos, 2],
          ]
          argument.q = 2
        }),
      ),
    )
    expect(world.judge('userchain', world.govern(remove, [organisation(world, 3)]))).toEqual(refused('organisation'))
    world.post(
      'userchain',
      world.govern(
        policy,
        world.policy((argument) => {
          argument.stores = argument.stores.slice(0, 3)
        }),
      ),
    )
    world.post('userchain', world.govern(remove, [organisation(world, 3)]))
    expect(world.ledger.accountKey(world.nodes[3] as Uint8Array, 2)).toBeUndefined()
  })
})

describe('a policy', () => {
  it('replaces a key, which never comes back', () => {
    const world = new Consortium()
    const before = world.policy()
    const { wakes, head } = world.post('userchain', world.govern(policy, withNewCosigner(world)))
    expect(wakes).toBe(true)
    expect(world.ledger.isSwitch('userchain', head.height)).toBe(true)
    expect(world.ledger.policyOf('userchain', head.height).k).toBe(0)
    expect(world.ledger.policyOf('userchain', head.height + 1).k).toBe(1)
    // Docchain's next block is still under the policy at the anchor of its head.
    expect(world.ledger.policyOf('docchain', 1).k).toBe(0)
    world.post('docchain')
    expect(world.ledger.isSwitch('docchain', 1)).toBe(true)
    expect(world.ledger.policyOf('docchain', 2).k).toBe(1)
    const again = { ...before, last: [[keyOf('userchain cosigner 1 again').publicKey, 2]] as [Uint8Array, number][] }
    expect(world.judge('userchain', world.govern(policy, again))).toEqual(refused('keys'))
  })

  it('admits a node whose account follows from its key, under a rank that nobody had', () => {
    const world = new Consortium()
    const withNode = (node: GovernedNode) =>
      world.policy((argument) => {
        argument.nodes = [...argument.nodes, node]
        argument.q = 4
      })
    const judge = (node: GovernedNode) => world.judge('userchain', world.govern(policy, withNode(node)))
    const good = world.newNode(4, 0, 'fifth')
    expect(judge(good)).toEqual({ verdict: 'valid' })
    expect(judge([3, ...good.slice(1)] as unknown as GovernedNode)).toEqual(refused('policy'))
    expect(judge(good.with(2, bytesOf('account')) as unknown as GovernedNode)).toEqual(refused('policy'))
    expect(judge(good.with(1, bytesOf('org')) as unknown as GovernedNode)).toEqual(refused('policy'))
    expect(judge(good.with(4, nodeKeys('1')[1]) as unknown as GovernedNode)).toEqual(refused('keys'))
    expect(judge(good.with(4, good[3]) as unknown as GovernedNode)).toEqual(refused('keys'))
    expect(judge(good.with(4, new Uint8Array(32)) as unknown as GovernedNode)).toEqual(refused('keys'))
    world.post('userchain', world.govern(policy, withNode(good)))
    expect(world.ledger.accountKey(good[2], 2)).toEqual(good[3])
    // It leaves, and its rank is nobody's again: not even its own.
    const left = world.policy((argument) => {
      argument.nodes = argument.nodes.slice(0, 4)
      argument.q = 3
      argument.last = [
        [good[5], 8],
        [good[7], 8],
      ]
    })
    world.post('userchain', world.govern(policy, left))
    expect(world.ledger.accountKey(good[2], 2)).toBeUndefined()
    expect(judge(world.newNode(4, 0, 'sixth'))).toEqual(refused('policy'))
    expect(judge(world.newNode(5, 0, 'sixth'))).toEqual({ verdict: 'valid' })
    const fresh = nodeKeys('fifth again')
    expect(judge([5, good[1], good[2], ...fresh])).toEqual({ verdict: 'valid' })
    expect(judge([5, organisation(world, 1), good[2], ...fresh])).toEqual(refused('policy'))
    expect(
      judge([5, good[1], good[2], good[3], ...(fresh.slice(1) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array])]),
    ).toEqual(refused('keys'))
  })

  it('may say from version 4 on how far each replaced log key signed, in its place', () => {
    const judge = (rules: number, change: (keys: Uint8Array[]) => Uint8Array[]) => {
      const world = new Consortium()
      if (rules > 1) {
        const from = world.ledger.head('userchain').height + 2
        world.post('userchain', world.govern(parameters, { quota: [], rules: [rules, from] }))
      }
      const argument = world.policy((changed) => {
        const [, , , , ...keys] = changed.nodes[3] as GovernedNode
        changed.nodes = changed.nodes.slice(0, 3)
        changed.q = 2
        changed.last = change(keys).map((key) => [key, 2] as const)
      })
      return world.judge('userchain', world.govern(policy, argument))
    }
    const cosigners = ([, ucos, , dcos]: Uint8Array[]) => [ucos, dcos] as Uint8Array[]
    expect([3, 4].map((rules) => judge(rules, cosigners))).toEqual([{ verdict: 'valid' }, { verdict: 'valid' }])
    expect([3, 4].map((rules) => judge(rules, (keys) => keys))).toEqual([refused('last'), { verdict: 'valid' }])
    expect(judge(4, ([ulog, ucos, , dcos]) => [ulog, ucos, dcos] as Uint8Array[])).toEqual({ verdict: 'valid' })
    expect(judge(4, ([ulog, ucos, , dcos]) => [ucos, ulog, dcos] as Uint8Array[])).toEqual(refused('last'))
    expect(judge(4, ([ulog, , dlog]) => [ulog, dlog] as Uint8Array[])).toEqual(refused('last'))
    expect(judge(4, (keys) => [...keys, keys[0] as Uint8Array])).toEqual(refused('last'))
    expect(judge(4, (keys) => [bytesOf('another'), ...keys])).toEqual(refused('last'))
  })

  it('has a quorum of more than half, and says how far each replaced key signed', () => {
    const world = new Consortium()
    const judge = (change: Parameters<Consortium['policy']>[0]) =>
      world.judge('userchain', world.govern(policy, world.policy(change)))
    expect(judge((argument) => Object.assign(argument, { q: 2 }))).toEqual(refused('policy'))
    expect(judge((argument) => Object.assign(argument, { q: 5 }))).toEqual(refused('policy'))
    expect(judge((argument) => Object.assign(argument, { q: 4 }))).toEqual({ verdict: 'valid' })
    expect(judge((argument) => Object.assign(argument, { nodes: argument.nodes.toReversed() }))).toEqual(
      refused('policy'),
    )
    const good = withNewCosigner(world)
    const withLast = (last: [Uint8Array, number][]) => world.judge('userchain', world.govern(policy, { ...good, last }))
    expect(withLast([...good.last] as [Uint8Array, number][])).toEqual({ verdict: 'valid' })
    expect(withLast([])).toEqual(refused('last'))
    expect(withLast([[bytesOf('another'), 2]])).toEqual(refused('last'))
  })

  it('is set once a block', () => {
    const world = new Consortium()
    const four = world.govern(policy, { ...world.policy(), q: 4 })
    const three = world.govern(policy, world.policy(), { n: 2 })
    const { verdicts } = world.ledger.buildBlock({
      chain: 'userchain',
      candidates: [four, three],
      nowMs: world.nowMs + 1,
    })
    expect(verdicts).toEqual([{ verdict: 'valid' }, { verdict: 'deferred', rule: 'govern.place', missing: 'block' }])
  })

  it('takes stores in, replaces their keys, and lets them go', () => {
    const world = new Consortium()
    const [org, account, , peer] = world.policy().stores[0] as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
    const key = keyOf('store 0 again').publicKey
    world.post(
      'userchain',
      world.govern(
        policy,
        world.policy((argument) => {
          argument.stores = argument.stores.with(0, [org, account, key, peer])
        }),
      ),
    )
    expect(world.ledger.accountKey(account, 2)).toEqual(key)
    world.post(
      'userchain',
      world.govern(
        policy,
        world.policy((argument) => {
          argument.stores = argument.stores.slice(1)
        }),
      ),
    )
    expect(world.ledger.accountKey(account, 2)).toBeUndefined()
  })
})

describe('the rules', () => {
  it('of a higher version begin at a height, on Docchain with its anchor', () => {
    const world = new Consortium()
    const rise = (rules: [number, number]) => world.judge('userchain', world.govern(parameters, { quota: [], rules }))
    expect(rise([1, 5])).toEqual(refused('rules'))
    expect(rise([2, 1])).toEqual(refused('rules'))
    world.post('userchain', world.registration('before', 4))
    world.post('userchain', world.govern(parameters, { quota: [], rules: [2, 4] }))
    expect(rise([2, 9])).toEqual(refused('rules'))
    expect(rise([3, 3])).toEqual(refused('rules'))
    expect(world.post('userchain', world.registration('between', 4)).seal.rules).toBe(1)
    expect(world.ledger.rules('docchain')).toBe(1)
    expect(world.judge('userchain', world.registration('after', 4))).toEqual({
      verdict: 'refused',
      rule: 'register.role',
    })
    const { seal, leaves } = world.post('userchain', world.registration('patient', 1))
    expect(seal.rules).toBe(2)
    expect(world.ledger.rules('docchain')).toBe(2)
    const other = new Consortium()
    expect(() =>
      other.ledger.checkBlock({
        chain: 'userchain',
        leaves: [
          ...leaves.slice(0, -1),
          encodeSealLeaf({ ...seal, h: 1, i0: 2, psize: 2, proot: other.ledger.head('userchain').root }),
        ],
      }),
    ).toThrow('seal.rules')
  })

  it('of a version that nobody wrote yet stop whoever gets there', () => {
    const world = new Consortium()
    world.post('userchain', world.govern(parameters, { quota: [], rules: [5, 2] }))
    const unknown = expect.objectContaining({ detail: { code: 'ERR_RULES_UNKNOWN', version: 5, newest: 4 } })
    expect(() => world.judge('userchain', world.registration('late', 1))).toThrow(unknown)
    expect(() => world.ledger.buildBlock({ chain: 'userchain', candidates: [], nowMs: world.nowMs + 1 })).toThrow(
      ChainError,
    )
  })
})
