import { readFileSync } from 'node:fs'
import type { SigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { afterAll, describe, expect, it } from 'vitest'
import type { SizeAndRoot } from '../block/block.ts'
import { type ChainName, chains } from '../chains.ts'
import { Consortium } from '../consortium.test-support.ts'
import { encodeSignedStatement, encodeSingleNote, evidenceKinds } from '../evidence/misconduct.ts'
import {
  chainOrigin,
  checkpointText,
  cosignCheckpoint,
  noteKeyId,
  signatureTypes,
  signCheckpoint,
} from '../log/checkpoint.ts'
import { type GovernedNode, governActs } from '../policy/governing.ts'
import { bytesOf, keyOf } from '../sample.test-support.ts'
import { userTables } from '../state/tables.ts'
import { signStatement } from '../transaction/statement.ts'
import type { Transaction } from '../transaction/transaction.ts'

const { equivocation, conflict, brokenPromise, falseRefusal } = evidenceKinds
const broken = new Set<string>()
const refused = (rule: string) => {
  broken.add(rule)
  return { verdict: 'refused', rule: `evidence.${rule}` }
}

afterAll(() => {
  const spec = readFileSync(new URL('../../SPEC.md', import.meta.url), 'utf8')
  const [, text = ''] = /^- \*\*evidence\*\*(.*(?:\n {2}.*)*)/m.exec(spec) ?? []
  const named = [...new Set([...text.matchAll(/`\.([a-z]+)`/g)].map(([, rule]) => rule as string))]
  expect([...broken, 'format'].sort()).toEqual(named.sort())
})

function evidence(world: Consortium, chain: ChainName, kind: number, notes: readonly Uint8Array[]): Transaction {
  const a = world.organisations[0] as Uint8Array
  return world.byOrganisation(chain, { v: 1, t: 'evidence', a, kind, notes })
}

/** A note of a cosigner, or, without a rank, of node 0's log key. */
function note(world: Consortium, chain: ChainName, head: SizeAndRoot, by: { rank?: number; name?: string } = {}) {
  const { origin } = world.logs[chain]
  const text = checkpointText({ origin, ...head })
  if (by.rank === undefined) {
    const signed = signCheckpoint({ origin, ...head }, keyOf(`${chain} log ${by.name ?? '0'}`))
    return encodeSingleNote(text, signed.slice(text.length + 1))
  }
  const signer = keyOf(`${chain} cosigner ${by.name ?? by.rank}`)
  return encodeSingleNote(text, cosignCheckpoint({ origin, ...head }, { rank: by.rank, signer, nowMs: world.nowMs }))
}

const otherRoot = bytesOf('another history')

describe.each(['userchain', 'docchain'] as const)('notes of %s', (chain) => {
  it('of one key, equal size and different roots are an equivocation, once', () => {
    const world = new Consortium()
    const good = { size: 9, root: bytesOf('one history') }
    const bad = { size: 9, root: otherRoot }
    const judge = (...notes: readonly Uint8Array[]) => world.judge(chain, evidence(world, chain, equivocation, notes))
    const of = (head: SizeAndRoot, by?: { rank?: number; name?: string }) => note(world, chain, head, by)
    expect(judge(of(good, { rank: 2 }), of(bad, { rank: 2 }))).toEqual({ verdict: 'valid' })
    expect(judge(of(good), of(bad))).toEqual({ verdict: 'valid' })
    expect(judge(of(good, { rank: 2 }), of(bad, { rank: 1 }))).toEqual(refused('key'))
    expect(judge(of(good, { rank: 2 }), of(bad))).toEqual(refused('key'))
    expect(judge(of(good, { rank: 2, name: 'nobody' }), of(bad, { rank: 2, name: 'nobody' }))).toEqual(refused('key'))
    expect(judge(of(good, { rank: 2 }), of(good, { rank: 2 }))).toEqual(refused('proof'))
    expect(judge(of(good, { rank: 2 }), of({ ...bad, size: 10 }, { rank: 2 }))).toEqual(refused('proof'))
    expect(judge(of(good, { rank: 2 }))).toEqual(refused('notes'))
    expect(judge(of(good, { rank: 2 }), bytesOf('no note'))).toEqual(refused('notes'))
    const elsewhere = chain === 'userchain' ? 'docchain' : 'userchain'
    expect(judge(note(world, elsewhere, good, { rank: 2 }), note(world, elsewhere, bad, { rank: 2 }))).toEqual(
      refused('notes'),
    )
    world.post(chain, evidence(world, chain, equivocation, [of(good, { rank: 2 }), of(bad, { rank: 2 })]))
    const again = [of(bad, { rank: 2 }), of({ ...good, root: bytesOf('a third') }, { rank: 2 })]
    expect(judge(...again)).toEqual(refused('known'))
    const [, , node] = world.nodes
    expect(userTables.evidence.get(world.ledger.state(chain), 0)).toEqual({ kind: 1, node, o: 2, size: 9 })
  })

  it('that differ from the ledger are a conflict', () => {
    const world = new Consortium()
    const judge = (...notes: readonly Uint8Array[]) => world.judge(chain, evidence(world, chain, conflict, notes))
    const { size, root } = world.ledger.head(chain)
    expect(judge(note(world, chain, { size, root }, { rank: 1 }))).toEqual(refused('proof'))
    expect(judge(note(world, chain, { size, root: otherRoot }, { rank: 1 }))).toEqual({ verdict: 'valid' })
    expect(judge(note(world, chain, { size: 1, root }, { rank: 1 }))).toEqual({ verdict: 'valid' })
    expect(judge(note(world, chain, { size: 0, root }, { rank: 1 }))).toEqual(refused('proof'))
    const ahead = { verdict: 'deferred', rule: 'evidence.proof', missing: 'basis' }
    expect(judge(note(world, chain, { size: size + 1, root: otherRoot }, { rank: 1 }))).toEqual(ahead)
    expect(judge(note(world, chain, { size, root: otherRoot }, { rank: 1, name: 'nobody' }))).toEqual(refused('key'))
  })
})

it('a replaced key convicts its node no further than it had signed', () => {
  const world = new Consortium()
  const argument = world.policy((policy) => {
    const [rank, org, account, node, ulog, ucos, dlog, dcos] = policy.nodes[1] as GovernedNode
    const keys = [node, ulog, keyOf('userchain cosigner 1 again').publicKey, dlog, dcos] as const
    policy.nodes = policy.nodes.with(1, [rank, org, account, ...keys])
    policy.last = [[ucos, 4]]
  })
  world.post('userchain', world.govern(governActs.policy, argument))
  const judge = (size: number, name: string) => {
    const notes = [bytesOf('one'), bytesOf('two')].map((root) =>
      note(world, 'userchain', { size, root }, { rank: 1, name }),
    )
    return world.judge('userchain', evidence(world, 'userchain', equivocation, notes))
  }
  expect(judge(4, '1')).toEqual({ verdict: 'valid' })
  expect(judge(5, '1')).toEqual(refused('key'))
  expect(judge(5, '1 again')).toEqual({ verdict: 'valid' })
})

/** Puts a version of the rules in force from the next block on. */
function raiseRules(world: Consortium, version = 3): void {
  const from = world.ledger.head('userchain').height + 2
  world.post('userchain', world.govern(governActs.parameters, { quota: [], rules: [version, from] }))
}

it('a replaced log key convicts its node no further either, if the policy says how far it had signed', () => {
  const world = new Consortium()
  raiseRules(world, 4)
  const argument = world.policy((policy) => {
    const [rank, org, account, node, ulog, ...others] = policy.nodes[1] as GovernedNode
    const keys = [node, keyOf('userchain log 1 again').publicKey, ...others] as const
    policy.nodes = policy.nodes.with(1, [rank, org, account, ...keys])
    policy.last = [[ulog, 4]]
  })
  world.post('userchain', world.govern(governActs.policy, argument))
  const judge = (size: number) => {
    const notes = [bytesOf('one'), bytesOf('two')].map((root) => {
      const head = { origin: chainOrigin({ ledgerId: world.genesis.ledgerId, chain: 'userchain' }), size, root }
      return encodeUtf8(signCheckpoint(head, keyOf('userchain log 1')))
    })
    return world.judge('userchain', evidence(world, 'userchain', equivocation, notes))
  }
  expect(judge(4)).toEqual({ verdict: 'valid' })
  expect(judge(5)).toEqual(refused('key'))
})

it('a key that was made to have the id of another one convicts nobody else, and hides nobody', () => {
  const world = new Consortium()
  // Log keys of Userchain whose ids are equal: found by trying names from 0 on. The one of node 1 stands before that of node 2.
  const keys = [1, 2].map((rank) => ({ rank, key: keyOf(`lookalike ${rank === 1 ? 9_866 : 88_891}`) }))
  const argument = world.policy((policy) => {
    for (const { rank, key } of keys) {
      const [, org, account, node, , ...others] = policy.nodes[rank] as GovernedNode
      policy.nodes = policy.nodes.with(rank, [rank, org, account, node, key.publicKey, ...others])
    }
  })
  world.post('userchain', world.govern(governActs.policy, argument))
  const { origin } = world.logs.userchain
  const ids = keys.map(({ key: { publicKey } }) => noteKeyId({ name: origin, type: signatureTypes.log, publicKey }))
  expect(ids[0]).toEqual(ids[1])
  const of = (by: SigningKey, root: string) => {
    const head = { origin, size: 9, root: bytesOf(root) }
    const text = checkpointText(head)
    return encodeSingleNote(text, signCheckpoint(head, by).slice(text.length + 1))
  }
  const [one, other] = keys.map(({ key }) => key) as [SigningKey, SigningKey]
  const act = (by: SigningKey, second = by) =>
    evidence(world, 'userchain', equivocation, [of(by, 'one'), of(second, 'two')])
  const judge = (by: SigningKey, second?: SigningKey) => world.judge('userchain', act(by, second))
  expect(judge(one)).toEqual({ verdict: 'valid' })
  expect(judge(other)).toEqual(refused('key'))
  raiseRules(world)
  expect(judge(one, other)).toEqual(refused('key'))
  for (const by of [one, other]) expect(judge(by)).toEqual({ verdict: 'valid' })
  world.post('userchain', act(other))
  expect(userTables.evidence.get(world.ledger.state('userchain'), 0)?.node).toEqual(world.nodes[2])
})

it.each(['userchain', 'docchain'] as const)(
  '64 pieces of a kind are enough for %s, until the policy changes',
  (chain) => {
    const world = new Consortium()
    const piece = (size: number, rank = 2) =>
      evidence(
        world,
        chain,
        equivocation,
        ['one', 'two'].map((name) => note(world, chain, { size, root: bytesOf(name) }, { rank })),
      )
    raiseRules(world)
    // So Docchain's next block is anchored beyond the rise.
    world.post('userchain', world.registration('patient', 1))
    for (let size = 0; size < 64; size += 16)
      world.post(chain, ...Array.from({ length: 16 }, (_, i) => piece(100 + size + i)))
    expect(world.judge(chain, piece(99))).toEqual(refused('count'))
    expect(world.judge(chain, piece(99, 1))).toEqual({ verdict: 'valid' })
    const head = note(world, chain, { size: 1, root: otherRoot }, { rank: 2 })
    expect(world.judge(chain, evidence(world, chain, conflict, [head]))).toEqual({ verdict: 'valid' })
    world.post('userchain', world.govern(governActs.policy, world.policy()))
    expect(world.judge(chain, piece(99))).toEqual({ verdict: 'valid' })
  },
)

describe.each(['userchain', 'docchain'] as const)('statements about %s', (chain) => {
  const world = new Consortium()
  const gateway = world.nodes[1] as Uint8Array
  const { ledgerId } = world.genesis
  const own = { v: 1, chain: chains[chain], gateway } as const
  const signed = (name: 'accepted' | 'refused', statement: object, key = 'node 1') =>
    encodeSignedStatement(signStatement({ name, statement: statement as never, ledgerId, signingKey: keyOf(key) }))
  const judge = (kind: number, ...notes: readonly Uint8Array[]) =>
    world.judge(chain, evidence(world, chain, kind, notes))

  it('that promise what is not kept are broken promises', () => {
    const tx = bytesOf('lost')
    const promise = { ...own, txs: [tx, bytesOf('other')], height: 0, deadline: world.nowMs - 1 }
    expect(judge(brokenPromise, signed('accepted', promise), tx)).toEqual({ verdict: 'valid' })
    expect(judge(brokenPromise, signed('accepted', { ...promise, deadline: world.nowMs }), tx)).toEqual(
      refused('proof'),
    )
    expect(judge(brokenPromise, signed('accepted', promise), bytesOf('not named'))).toEqual(refused('proof'))
    expect(judge(brokenPromise, signed('accepted', promise), tx.subarray(1))).toEqual(refused('notes'))
    expect(judge(brokenPromise, signed('accepted', promise, 'node 2'), tx)).toEqual(refused('key'))
    expect(judge(brokenPromise, signed('accepted', { ...promise, height: 99 }), tx)).toEqual(refused('key'))
    expect(judge(brokenPromise, signed('accepted', { ...promise, chain: 3 - own.chain }), tx)).toEqual(refused('notes'))
    expect(judge(brokenPromise, bytesOf('nothing'), tx)).toEqual(refused('notes'))
  })

  it('that refuse what has a form, or what is on record, are false', () => {
    const act = evidence(world, chain, conflict, [note(world, chain, { size: 1, root: otherRoot }, { rank: 3 })])
    const tx = world.ledger.transactionId(chain, act)
    const refusal = { ...own, tx, rule: 'evidence.format', height: 0, st: bytesOf('st') }
    expect(judge(falseRefusal, signed('refused', refusal), act.leaf)).toEqual({ verdict: 'valid' })
    expect(judge(falseRefusal, signed('refused', { ...refusal, rule: 'evidence.known' }), act.leaf)).toEqual(
      refused('proof'),
    )
    expect(judge(falseRefusal, signed('refused', { ...refusal, tx: otherRoot }), act.leaf)).toEqual(refused('proof'))
    expect(judge(falseRefusal, signed('refused', refusal), bytesOf('no leaf'))).toEqual(refused('proof'))
    expect(judge(falseRefusal, signed('refused', refusal))).toEqual(refused('proof'))
    const { head } = world.post(chain, act)
    const late = { ...refusal, rule: 'evidence.key', height: head.height }
    expect(judge(falseRefusal, signed('refused', late))).toEqual({ verdict: 'valid' })
    expect(judge(falseRefusal, signed('refused', { ...late, height: 0 }))).toEqual(refused('proof'))
    // What was promised and came late is a broken promise; what came in time is none.
    const promise = { ...own, txs: [tx], height: 0, deadline: head.ms - 1 }
    expect(judge(brokenPromise, signed('accepted', promise), tx)).toEqual({ verdict: 'valid' })
    world.nowMs += 10_000
    expect(judge(brokenPromise, signed('accepted', { ...promise, deadline: head.ms }), tx)).toEqual(refused('proof'))
  })
})

it('is signed by somebody registered', () => {
  const world = new Consortium()
  const notes = [note(world, 'userchain', { size: 1, root: otherRoot }, { rank: 3 })]
  const a = world.organisations[0] as Uint8Array
  const body = { v: 1, t: 'evidence', a, kind: conflict, notes } as const
  for (const chain of ['userchain', 'docchain'] as const) {
    expect(world.judge(chain, world.sign(chain, body, []))).toEqual(refused('signature'))
    const byRoot = [{ account: a, key: 0, signingKey: keyOf('root 0') }]
    expect(world.judge(chain, world.sign(chain, body, byRoot))).toEqual(refused('signature'))
  }
})
