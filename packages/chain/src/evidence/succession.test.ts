import { toHex } from '@healthblock/encoding/bytes'
import { describe, expect, it, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { genesisAccounts, parseGenesis } from '../policy/genesis.ts'
import { acceptedFlips } from '../sample.test-support.ts'
import type { GenesisBody } from '../transaction/transaction.ts'
import {
  type Approval,
  beyondSuccession,
  encodeSuccession,
  parseSuccession,
  rivalApprovals,
  type Succession,
  verifySuccession,
  verifySuccessionProof,
} from './succession.ts'
import { all, approve, endedLedger, genesisAfter, successionStory } from './succession-story.test-support.ts'

const fails = (bytes: Uint8Array): string => {
  try {
    verifySuccession({ bytes })
    return 'accepted'
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return error.message
  }
}

describe('a succession', () => {
  it('is proved from the old genesis alone, across changes of the policy and of the organisations', async () => {
    const { world, succession, fifth } = await successionStory()
    const bytes = encodeSuccession(succession)
    expect(parseSuccession(bytes)).toEqual(succession)
    const verified = verifySuccession({ bytes, prior: world.genesis.ledgerId })
    expect(verified.organisations.map(({ account }) => account)).toEqual([...world.organisations, fifth])
    expect(verified.approvalsMin).toBe(4)
    expect(verified.heads.map(({ size }) => size)).toEqual([
      world.ledger.head('userchain').size,
      world.ledger.head('docchain').size,
    ])
    expect(verified.steps.join('\n')).toContain('4 of 5 organisations approve')
    expect(() => verifySuccession({ bytes, prior: new Uint8Array(32) })).toThrow('of another ledger')
    expect(() => verifySuccession({ bytes, successor: new Uint8Array(32) })).toThrow('of another ledger')
    expect(verifySuccession({ bytes, successor: verified.successor.ledgerId }).approved).toHaveLength(4)
  })

  it('has another ledger id than a ledger with the same keys that succeeds nobody', async () => {
    const { world } = await endedLedger()
    const successor = parseGenesis(genesisAfter(world, () => {}))
    const fresh = parseGenesis(
      genesisAfter(world, (body) => {
        delete body.prior
      }),
    )
    expect(toHex(successor.ledgerId)).not.toBe(toHex(fresh.ledgerId))
    expect(genesisAccounts(successor).organisations).toHaveLength(4)
  })

  it('from heads that the old quorum did not sign is refused', async () => {
    // Four nodes had to cosign in the end; three of them, or the quorum of before, are not enough.
    await expect(successionStory(all.slice(0, 3))).rejects.toThrow(ChainError)
    const { world, succession } = await successionStory()
    const [part, docchain] = succession.parts as [Succession['parts'][0], Succession['parts'][0]]
    const lines = part.proof.split('\n')
    const without = lines.filter((line) => !line.includes(`${world.logs.userchain.origin}/3 `)).join('\n')
    expect(fails(encodeSuccession({ ...succession, parts: [{ ...part, proof: without }, docchain] }))).toContain(
      'cosign',
    )
  })

  it('by fewer than two thirds, by strangers, or twice by one is refused', async () => {
    const { world, succession, names } = await successionStory()
    const { successor } = succession
    const by = (...approvals: Approval[]) => fails(encodeSuccession({ ...succession, approvals }))
    const some = approve(world, successor, names.slice(0, 3))
    expect(by(...some)).toContain('3, and it takes 4')
    expect(by()).toContain('0, and it takes 4')
    expect(verifySuccessionProof(encodeSuccession({ ...succession, approvals: some })).approved).toHaveLength(3)
    const [first] = some as [Approval]
    expect(by(first, ...some)).toContain('ascending')
    expect(by(...[...some].reverse())).toContain('ascending')
    expect(by(...approve(world, successor, [[new Uint8Array(32), 'root 0']]))).toContain('does not govern')
    const [zero] = names[0] as [Uint8Array, string]
    expect(by(...approve(world, successor, [[zero, 'op 0']]))).toContain('does not verify')
    const elsewhere = genesisAfter(world, (body) => {
      body.start += 1
    })
    expect(by(...approve(world, elsewhere, names.slice(0, 4)))).toContain('does not verify')
  })

  it('whose genesis names other heads, another ledger, or an earlier time is refused', async () => {
    const { world, succession, names } = await successionStory()
    const to = (change: Parameters<typeof genesisAfter>[1]) => {
      const successor = genesisAfter(world, change)
      const approvals = approve(world, successor, names)
      return fails(encodeSuccession({ ...succession, successor, approvals }))
    }
    expect(to(() => {})).toBe('accepted')
    expect(to((body) => delete body.prior)).toContain('names no ledger before it')
    const [id, user, doc] = parseGenesis(succession.successor).body.prior as NonNullable<GenesisBody['prior']>
    expect(to((body) => (body.prior = [new Uint8Array(32), user, doc]))).toContain('names another ledger')
    expect(to((body) => (body.prior = [id, [user[0] - 1, user[1]], doc]))).toContain('another head of userchain')
    expect(to((body) => (body.prior = [id, user, [doc[0], user[1]]]))).toContain('another head of docchain')
    expect(to((body) => (body.start = world.nowMs))).toContain('before the old one ends')
  })

  it('without exactly the records of who governed is refused', async () => {
    const { succession } = await successionStory()
    const [part, docchain] = succession.parts as [Succession['parts'][0], Succession['parts'][0]]
    const state = part.state as NonNullable<typeof part.state>
    const having = (...states: typeof state) =>
      fails(encodeSuccession({ ...succession, parts: [{ ...part, state: states }, docchain] }))
    expect(having(...state.slice(1))).toContain('not the records')
    expect(having(...state.slice(0, -1))).toContain('not the records')
    expect(having(...state, state[0] as (typeof state)[0])).toContain('of no use')
    const [orgs, ...more] = state as [(typeof state)[0], ...typeof state]
    // Claiming that nobody joined since genesis.
    expect(having({ key: orgs.key, proof: orgs.proof }, ...more)).not.toBe('accepted')
    expect(fails(encodeSuccession({ ...succession, parts: [part] }))).toContain('not one of each chain')
    expect(fails(encodeSuccession({ ...succession, parts: [docchain, part] }))).toContain('not one of each chain')
    expect(fails(encodeSuccession({ ...succession, trail: [] }))).not.toBe('accepted')
  })

  test('no flipped bit is taken', async () => {
    const { succession } = await successionStory()
    const bytes = encodeSuccession(succession)
    expect(acceptedFlips(bytes, (flipped) => verifySuccession({ bytes: flipped }), { step: 1009 })).toEqual([])
  })
})

test('two successions of one ledger convict those who signed both', async () => {
  const { world, succession, names } = await successionStory()
  const other = genesisAfter(world, (body) => {
    body.start += 1
  })
  const a = verifySuccession({ bytes: encodeSuccession(succession) })
  const approvals = approve(world, other, names.slice(1, 5))
  const b = verifySuccession({ bytes: encodeSuccession({ ...succession, successor: other, approvals }) })
  const both = names.slice(1, 4).map(([account]) => toHex(account))
  expect(
    rivalApprovals(a, b)
      ?.map((account) => toHex(account))
      .sort(),
  ).toEqual(both.sort())
  expect(rivalApprovals(a, a)).toBeUndefined()
})

test('what the old quorum attested beyond, or otherwise, is told', async () => {
  const { succession } = await successionStory()
  const verified = verifySuccession({ bytes: encodeSuccession(succession) })
  const [user] = verified.heads
  expect(beyondSuccession(verified, user)).toBeUndefined()
  expect(beyondSuccession(verified, { ...user, size: user.size - 1, root: new Uint8Array(32) })).toBeUndefined()
  expect(beyondSuccession(verified, { ...user, size: user.size + 2 })).toContain('carries on')
  expect(beyondSuccession(verified, { ...user, root: new Uint8Array(32) })).toContain('another root')
})
