import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import { expect, test } from 'vitest'
import { bytesOf } from '../sample.test-support.ts'
import { userTables } from '../state/tables.ts'
import { encodeDispute, verifyDispute } from './dispute.ts'
import { type ProvedRecord, provedLicence } from './dispute-licence.ts'
import { disputeStory } from './dispute-story.test-support.ts'

const [doctor, org, other] = ['doctor', 'organisation', 'other'].map((name) => bytesOf(name)) as [
  Uint8Array,
  Uint8Array,
  Uint8Array,
]
const record = (parts: ProvedRecord['parts'], value?: CborValue): ProvedRecord =>
  value === undefined ? { parts } : { parts, value: encodeCbor(value) }
const licence = (k: number, fields: { state?: number; o: number; c?: number }, of = doctor) =>
  record(['licence', of, k], { org, state: 1, from: 1_000, to: 2_000, ...fields })
const organisation = (fields: { o: number; c?: number } = { o: 0 }) => record(['org', org], fields)
const head = (newest?: number) => record(['licencehead', doctor], newest)
const at = (size: number, atMs = 1_500) => ({ doctor, size, atMs })

test.each<[string | undefined, string, ProvedRecord[], ReturnType<typeof at>]>([
  ['active', 'a licence within its days', [licence(0, { o: 5 }), organisation()], at(6)],
  ['active', 'what closed later', [licence(0, { o: 5, c: 6 }), organisation({ o: 0, c: 6 })], at(6)],
  ['suspended', 'the newer one counts', [licence(0, { o: 5, c: 8 }), licence(1, { o: 8, state: 2 })], at(9)],
  ['ended', 'one that was ended', [licence(0, { o: 5, state: 3 })], at(6)],
  ['out of date', 'before its first moment', [licence(0, { o: 5 })], at(6, 999)],
  ['out of date', 'at its last moment', [licence(0, { o: 5 })], at(6, 2_000)],
  ['of a removed organisation', 'whoever gave it is gone', [licence(0, { o: 5 }), organisation({ o: 0, c: 5 })], at(6)],
  ['of a removed organisation', 'nobody gave it', [licence(0, { o: 5 }), record(['org', org])], at(6)],
  ['none', 'there never was one', [head()], at(6)],
  ['none', 'it came later', [licence(0, { o: 6 }), head(0)], at(6)],
  [undefined, 'nothing is proved', [], at(6)],
  [undefined, 'nothing is proved of who gave it', [licence(0, { o: 5 })], at(6)],
  [undefined, 'another one may have been in force', [licence(1, { o: 7 }), head(1)], at(6)],
  [undefined, 'they are of somebody else', [licence(0, { o: 5 }, other), organisation()], at(6)],
])('%s: %s', (answer, _, records, question) => {
  expect(provedLicence(records, question)).toBe(answer)
})

test('a value that is no such record is refused', () => {
  const wrong: CborValue[] = [{ o: 1 }, 7, { org, state: 1, from: 1, to: 2, o: 1, more: 1 }]
  for (const value of wrong)
    expect(() => provedLicence([record(['licence', doctor, 0], value)], at(6))).toThrow('not the record')
  expect(() => provedLicence([record(['licencehead', doctor], 'x')], at(6))).toThrow('not the record')
})

test('a bundle that proves the licence says so beside the grant, and one that does not says that', () => {
  const told = disputeStory()
  const { ledger } = told.world
  const keys = [
    userTables.licence.key(told.doctor, 0),
    userTables.organisation.key(told.world.organisations[0] as Uint8Array),
  ]
  const proved = keys.map((key) => ({ key, ...ledger.prove('userchain', key) }))
  const parts = told.dispute.parts.map((part) =>
    part.chain === 'userchain' && part.state !== undefined ? { ...part, state: [...part.state, ...proved] } : part,
  )
  const check = (dispute: typeof told.dispute) => verifyDispute({ bytes: encodeDispute(dispute) })
  const whole = check({ ...told.dispute, parts })
  expect(whole.answers.map(({ answer, licence: found }) => [answer, found])).toEqual([
    ['in force', 'active'],
    ['closed', undefined],
    ['no such grant', undefined],
  ])
  expect(whole.steps.join('\n')).toContain("was: in force; its doctor's licence was: active")
  const { answers, steps } = check(told.dispute)
  // Of a grant that came later it is said that it came.
  const [first] = told.dispute.questions
  const before = told.world.ledger.index('userchain').boundaryAt(2)?.ms as number
  const seals = [told.part('userchain', told.granted.firstIndex - 1), ...told.dispute.parts]
  const early = check({
    ...told.dispute,
    parts: seals,
    questions: [{ ...first, at: before } as typeof first & object, ...told.dispute.questions],
  })
  expect(early.answers[0]?.answer).toBe('no such grant')
  expect(early.steps.join('\n')).toContain(`it came on record after that, at index ${told.granted.firstIndex}`)
  expect(answers[0]).not.toHaveProperty('licence')
  expect(steps.join('\n')).toContain('was: in force; nothing here says whether its doctor had a licence')
})
