import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { describe, expect, it, test } from 'vitest'
import type { ChainName } from '../chains.ts'
import { encodeProof, parseProof } from '../log/proof.ts'
import { acceptedFlips, b16, bytesOf, keyOf, sampleGenesis } from '../sample.test-support.ts'
import { userTables } from '../state/tables.ts'
import { signStatement } from '../transaction/statement.ts'
import { type Dispute, type DisputePart, encodeDispute, parseDispute, verifyDispute } from './dispute.ts'
import { disputeStory, gid } from './dispute-story.test-support.ts'
import type { ReceiptState } from './json-form.ts'

const told = disputeStory()
const { world, dispute, part, end } = told
const { ledgerId } = world.genesis
const bytes = encodeDispute(dispute)
const check = (changed: Dispute) => verifyDispute({ bytes: encodeDispute(changed), ledgerId })
const parts = dispute.parts as DisputePart[]

describe('a bundle', () => {
  it('answers its questions, step by step, from genesis alone', () => {
    const { answers, opened, transactions, steps } = verifyDispute({ bytes, ledgerId })
    expect(answers.map(({ answer }) => answer)).toEqual(['in force', 'closed', 'no such grant'])
    expect(opened.map(({ data }) => new TextDecoder().decode(data))).toEqual(['the reading'])
    expect(transactions.map(({ transaction }) => transaction.body.t)).toEqual(['key', 'iot', 'diagnosis'])
    const words = steps.join('\n')
    for (const part of [
      '(diagnosis) is at index',
      'by the quorum until then',
      'is a grant to',
      'there is no record [grant',
      'had block',
    ]) {
      expect(words).toContain(part)
    }
  })

  it('agrees with a checkpoint that the reader kept, and with no other of its size', () => {
    const { size, root } = world.ledger.head('docchain')
    const kept = verifyDispute({ bytes, ledgerId, heads: [{ chain: 'docchain', size, root }] })
    expect(kept.steps.join('\n')).toContain('the checkpoint that you keep')
    const other = { chain: 'docchain', size, root: bytesOf('another history') } as const
    expect(() => verifyDispute({ bytes, ledgerId, heads: [other] })).toThrow('another root of the same size')
    expect(() => verifyDispute({ bytes, ledgerId: sampleGenesis(5, 3).ledgerId })).toThrow('of another ledger')
  })

  it('is refused with a flipped bit anywhere', () => {
    const flips = acceptedFlips(bytes, (flipped) => verifyDispute({ bytes: flipped, ledgerId }), { step: 1_499 })
    expect(flips).toEqual([])
  })

  it('of one question alone needs nothing else', () => {
    const few = {
      ...dispute,
      parts: parts.slice(6, 7),
      questions: dispute.questions.slice(2),
      storage: [],
      disclosed: [],
    }
    expect(check(few).answers).toHaveLength(1)
    const expired = { ...dispute.questions[2], at: 0, gid } as Dispute['questions'][number]
    expect(() => check({ ...few, questions: [expired] })).toThrow('no SEAL of a block at or before that time')
  })
})

/** A part with another checkpoint or place in its proof text. */
function reproved(one: DisputePart, change: Partial<ReturnType<typeof parseProof>>): DisputePart {
  return { ...one, proof: encodeProof({ ...parseProof(one.proof), ...change }) }
}

function withPart(position: number, change: (one: DisputePart) => DisputePart): Dispute {
  return { ...dispute, parts: parts.map((one, i) => (i === position ? change(one) : one)) }
}

const state = parts[6]?.state as NonNullable<DisputePart['state']>
const [present, absent] = state as [(typeof state)[number], (typeof state)[number]]
const withState = (changed: DisputePart['state']) =>
  withPart(6, ({ chain, leaf, proof }) =>
    changed === undefined ? { chain, leaf, proof } : { chain, leaf, proof, state: changed },
  )
const without = (...positions: number[]) => ({ ...dispute, parts: parts.filter((_, i) => !positions.includes(i)) })
const question = dispute.questions[0] as Dispute['questions'][number]
const [receipt] = dispute.storage as [Dispute['storage'][number]]
const [disclosure] = dispute.disclosed as [Dispute['disclosed'][number]]
const restated = (change: object, key = 'store 0') => ({
  ...dispute,
  storage: [
    signStatement({ name: 'storage', statement: { ...told.statement, ...change }, ledgerId, signingKey: keyOf(key) }),
  ],
})
const checkpointOf = (by: readonly { rank: number; name?: string }[], at?: { size?: number; root?: Uint8Array }) =>
  world.checkpoint('userchain', by, at)
const good = [{ rank: 0 }, { rank: 1, name: '1 again' }, { rank: 2 }]

/** What a forger may try, and what he is told. */
type Forgery = [string, () => Dispute, string]

/** What the state of a chain's newest block proves of a key. */
function proveOf(chain: ChainName, key: Uint8Array): ReceiptState {
  const { value, proof } = world.ledger.prove(chain, key)
  return value === undefined ? { key, proof } : { key, proof, value }
}

const forgeries: Forgery[] = [
  ['no part at all', () => ({ ...dispute, parts: [] }), 'part: there is none'],
  [
    'another leaf',
    () => withPart(0, (one) => ({ ...one, leaf: parts[2]?.leaf as Uint8Array })),
    'the inclusion proof does not hold',
  ],
  [
    'another place in the log',
    () => withPart(0, (one) => reproved(one, { index: parseProof(one.proof).index + 1 })),
    'the inclusion proof does not hold',
  ],
  [
    'a hash less',
    () => withPart(0, (one) => reproved(one, { hashes: parseProof(one.proof).hashes.slice(1) })),
    'the inclusion proof does not hold',
  ],
  [
    'extra data in a proof',
    () => withPart(0, (one) => reproved(one, { extra: bytesOf('extra') })),
    'the proof has extra data',
  ],
  [
    'too few cosignatures',
    () => withPart(0, (one) => reproved(one, { checkpoint: checkpointOf(good.slice(1)) })),
    'too few cosignatures',
  ],
  [
    'cosignatures of the replaced key',
    () => withPart(0, (one) => reproved(one, { checkpoint: checkpointOf([{ rank: 0 }, { rank: 1 }, { rank: 2 }]) })),
    'too few cosignatures',
  ],
  [
    'one cosignature too many',
    () => withPart(0, (one) => reproved(one, { checkpoint: checkpointOf([...good, { rank: 3 }]) })),
    'signature lines',
  ],
  [
    'a made-up root',
    () => withPart(0, (one) => reproved(one, { checkpoint: checkpointOf(good, { root: bytesOf('made up') }) })),
    'the inclusion proof does not hold',
  ],
  [
    'a checkpoint of the other log',
    () => withPart(0, (one) => reproved(one, { checkpoint: told.notes.docchain })),
    'another log',
  ],
  ['a transaction of the other chain', () => withPart(7, (one) => ({ ...one, chain: 'userchain' })), 'another log'],
  [
    'parts out of order',
    () => ({ ...dispute, parts: [parts[1], parts[0], ...parts.slice(2)] as DisputePart[] }),
    'not in ascending order',
  ],
  ['a part twice', () => ({ ...dispute, parts: [parts[0], ...parts] as DisputePart[] }), 'not in ascending order'],
  [
    'docchain before userchain',
    () => ({ ...dispute, parts: [...parts.slice(7), ...parts.slice(0, 7)] }),
    'userchain comes first',
  ],
  [
    'a SEAL of no use',
    () => ({ ...dispute, parts: [...parts.slice(0, 6), part('userchain', end(told.newest) - 2), ...parts.slice(6)] }),
    'a SEAL that is of no use',
  ],
  ['no trail', () => ({ ...dispute, trail: [] }), 'too few cosignatures'],
  [
    'a step of the trail twice',
    () => ({ ...dispute, trail: [...dispute.trail, ...dispute.trail] }),
    'too few cosignatures',
  ],
  [
    'a step that nothing needs',
    () => ({ ...dispute, parts: parts.slice(7), questions: [], storage: [], disclosed: [] }),
    'a step that no part needs',
  ],
  [
    'state proofs beside a transaction',
    () => withPart(2, (one) => ({ ...one, state })),
    'proofs belong to SEALs alone',
  ],
  ['an empty list of state proofs', () => withState([]), 'an empty list'],
  [
    'a grant that is called open',
    () => withState([{ ...present, value: present.value?.slice(0, -3) as Uint8Array }, absent]),
    'does not have this value',
  ],
  [
    'a grant that is called absent',
    () => withState([{ key: present.key, proof: present.proof }, absent]),
    'the key has a value',
  ],
  [
    'an absent grant with a value',
    () => withState([present, { ...absent, value: present.value as Uint8Array }]),
    'does not have this value',
  ],
  ['a question without its grant', () => withState([absent]), 'no proof of this grant'],
  [
    'a question about a grant of nobody',
    () => ({ ...dispute, questions: [{ ...question, gid: b16('nobody') }] }),
    'no proof of this grant',
  ],
  [
    'a time before every SEAL',
    () => ({ ...dispute, questions: [{ ...question, at: 1 }] }),
    'no SEAL of a block at or before that time',
  ],
  [
    'a time beyond the proof',
    () => ({ ...dispute, questions: [{ ...question, at: told.newest.head.ms + 1 }] }),
    'lies beyond what is proved',
  ],
  ['the block after that time left out', () => without(5), 'the block after that time is missing'],
  [
    'the time moved past the next block',
    () => ({
      ...dispute,
      parts: parts.filter((_, i) => i !== 4),
      questions: [{ ...question, at: told.revoked.head.ms }],
    }),
    'the block after that time is missing',
  ],
  [
    'a proof of the grant from before',
    () => ({ ...dispute, parts: [...parts.slice(0, 3), { ...(parts[3] as DisputePart), state }, ...parts.slice(4)] }),
    'the root differs',
  ],
  ['a storage receipt of nobody', () => restated({}, 'store 9'), 'not signed by a store of the ledger'],
  [
    'a storage receipt of another store',
    () => restated({ store: bytesOf('another store') }),
    'not signed by a store of the ledger',
  ],
  [
    'a storage receipt about another block',
    () => restated({ cid: bytesOf('another block') }),
    'about a block that no transaction here names',
  ],
  [
    'another size in a storage receipt',
    () => ({ ...dispute, storage: [{ ...receipt, signature: receipt.signature.toReversed() }] }),
    'not signed by a store of the ledger',
  ],
  [
    'another block',
    () => ({ ...dispute, disclosed: [{ ...disclosure, block: disclosure.block.toReversed() }] }),
    'a block that no record here names',
  ],
  [
    'another key',
    () => ({ ...dispute, disclosed: [{ ...disclosure, nodes: [[20, 0, bytesOf('another key')]] }] }),
    'the keys do not open the block',
  ],
  [
    'a key of another epoch',
    () => ({ ...dispute, disclosed: [{ ...disclosure, first: disclosure.first + 1 }] }),
    'the keys do not open the block',
  ],
  [
    'a key of which nothing is made',
    () => ({ ...dispute, disclosed: [{ ...disclosure, nodes: [...disclosure.nodes, [20, 7, bytesOf('of no use')]] }] }),
    'a key that is of no use',
  ],
  [
    'a key that opens more than the block',
    () => ({ ...dispute, disclosed: [{ ...disclosure, nodes: [[0, 0, bytesOf('root of the tree')]] }] }),
    'a key that is of no use',
  ],
  ['no key', () => ({ ...dispute, disclosed: [{ ...disclosure, nodes: [] }] }), 'the keys do not open the block'],
  // Nothing is on record under these keys, ever, and in words they would be that of the grant.
  ...[
    ['grant', toHex(told.patient), toHex(gid)],
    ['grant', told.patient, toHex(gid)],
    ['grant', told.patient, gid, 0],
    ['grant', [told.patient], gid],
    ['generation', told.patient, Uint8Array.of(1)],
  ].map((parts, i): Forgery => {
    const proved = proveOf('userchain', encodeCbor(parts))
    return [
      `the absence of a key that only reads like another, ${i}`,
      () => withState([present, absent, proved]),
      'a key',
    ]
  }),
  [
    'the absence of a grant from the state of docchain',
    () => {
      const proved = proveOf('docchain', userTables.grant.key(told.patient, gid))
      return { ...dispute, parts: [...parts, { ...part('docchain', end(told.anchored)), state: [proved] }] }
    },
    'a key that no record of docchain has',
  ],
  ['another genesis', () => ({ ...dispute, genesis: sampleGenesis(5, 3).bytes }), 'of another ledger'],
]

test('a forger has at least thirty ways, and none works', () => {
  expect(forgeries.length).toBeGreaterThanOrEqual(30)
})

test.each(forgeries)('%s: refused', (_name, forge, reason) => {
  let message = ''
  try {
    check(forge())
  } catch (error) {
    message = (error as Error).message
  }
  expect(message).toContain(reason)
})

test('a block of another length than its record says is refused', () => {
  const other = disputeStory(2048)
  const file = encodeDispute(other.dispute)
  expect(() => verifyDispute({ bytes: file, ledgerId: other.world.genesis.ledgerId })).toThrow('of another length')
})

test('words name the patient: another has grants and streams of the same names', () => {
  const { steps, opened } = verifyDispute({ bytes, ledgerId })
  expect(steps.filter((step) => step.includes(`of patient ${toHex(told.patient)}`))).toHaveLength(4)
  expect(opened.map(({ patient }) => toHex(patient))).toEqual([toHex(told.patient)])
})

test('other JSON than the canonical is refused', () => {
  const text = new TextDecoder().decode(bytes)
  for (const other of [` ${text}`, `${text}\n`, text.replace('"v":1', '"v":2'), text.replace('"v":1', '"v":1,"w":0')]) {
    expect(() => parseDispute(encodeUtf8(other))).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_RECEIPT_FORMAT' }) }),
    )
  }
})
