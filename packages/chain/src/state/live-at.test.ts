import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { algorithmAt, keyAt, licenceAt, liveAt } from './live-at.ts'
import { StateOverlay } from './state.ts'
import { userTables } from './tables.ts'

const bytes = (length: number, fill: number) => new Uint8Array(length).fill(fill)
const patient = bytes(32, 1)
const doctor = bytes(32, 2)
const organisations = [bytes(32, 3), bytes(32, 4)] as const
const gid = bytes(16, 5)
const algorithm = bytes(32, 6)

type Event =
  | {
      readonly type: 'licence'
      readonly state: number
      readonly from: number
      readonly to: number
      readonly org: 0 | 1
    }
  | { readonly type: 'organisation'; readonly org: 0 | 1 }
  | { readonly type: 'grant' | 'close' | 'account' | 'key' | 'algorithm' | 'withdraw' | 'other' }

const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    type: fc.constant('licence' as const),
    state: fc.integer({ min: 1, max: 3 }),
    from: fc.nat(9),
    to: fc.nat(9),
    org: fc.constantFrom(0 as const, 1 as const),
  }),
  fc.record({ type: fc.constant('organisation' as const), org: fc.constantFrom(0 as const, 1 as const) }),
  fc.record({
    type: fc.constantFrom('grant', 'close', 'account', 'key', 'key', 'algorithm', 'withdraw', 'other' as const),
  }) as fc.Arbitrary<Event>,
)

/** Until when the grant lasts. */
const until = 7

/** Sets records as the contracts do: the event at index i opens or closes at i. */
function tables(events: readonly Event[]): StateOverlay {
  const state = new StateOverlay({ get: () => undefined })
  let licences = 0
  let keys = 0
  for (const [o, happened] of events.entries()) {
    const { type } = happened
    if (type === 'licence') {
      const old = licences === 0 ? undefined : userTables.licence.get(state, doctor, licences - 1)
      if (old !== undefined) userTables.licence.set(state, { ...old, c: o }, doctor, licences - 1)
      const { state: licenceState, from, to, org } = happened
      userTables.licence.set(state, { org: organisations[org], state: licenceState, from, to, o }, doctor, licences++)
    } else if (type === 'key') {
      const old = keys === 0 ? undefined : userTables.key.get(state, doctor, 1, keys - 1)
      if (old !== undefined) userTables.key.set(state, { ...old, c: o }, doctor, 1, keys - 1)
      userTables.key.set(state, { key: bytes(32, keys), o }, doctor, 1, keys++)
    } else toggle(state, happened, o)
  }
  return state
}

function toggle(state: StateOverlay, happened: Event, index: number): void {
  const account = userTables.account.get(state, doctor)
  const grant = userTables.grant.get(state, patient, gid)
  const known = userTables.algorithm.get(state, algorithm)
  if (happened.type === 'organisation') {
    const org = organisations[happened.org]
    const old = userTables.organisation.get(state, org)
    if (old === undefined) userTables.organisation.set(state, { o: index }, org)
    else if (old.c === undefined) userTables.organisation.set(state, { ...old, c: index }, org)
  }
  if (happened.type === 'account' && account === undefined) {
    userTables.account.set(state, { role: 2, o: index }, doctor)
  }
  if (happened.type === 'grant' && grant === undefined) {
    const fields = { to: doctor, streams: [], from: 0, until, rights: 3, purpose: 1, o: index }
    userTables.grant.set(state, fields, patient, gid)
  }
  if (happened.type === 'close' && grant !== undefined && grant.c === undefined) {
    userTables.grant.set(state, { ...grant, c: index }, patient, gid)
  }
  if (happened.type === 'algorithm' && known === undefined) {
    userTables.algorithm.set(state, { org: patient, id: 'a', version: '1', o: index }, algorithm)
  }
  if (happened.type === 'withdraw' && known !== undefined && known.c === undefined) {
    userTables.algorithm.set(state, { ...known, c: index }, algorithm)
  }
}

/** The same question put to somebody who has only seen the events before `s`. */
function oracle(events: readonly Event[], s: number) {
  const model = {
    licence: undefined as Extract<Event, { type: 'licence' }> | undefined,
    organisations: ['none', 'none'] as ('none' | 'open' | 'closed')[],
    grant: 'none' as 'none' | 'open' | 'closed',
    algorithm: 'none' as 'none' | 'open' | 'closed',
    account: false,
    keys: 0,
  }
  const closes = { none: 'none', open: 'closed', closed: 'closed' } as const
  const opens = { none: 'open', open: 'open', closed: 'closed' } as const
  for (const seen of events.slice(0, s)) {
    if (seen.type === 'licence') model.licence = seen
    if (seen.type === 'organisation') {
      const now = model.organisations[seen.org] ?? 'none'
      model.organisations[seen.org] = now === 'none' ? 'open' : 'closed'
    }
    if (seen.type === 'account') model.account = true
    if (seen.type === 'key') model.keys++
    if (seen.type === 'grant') model.grant = opens[model.grant]
    if (seen.type === 'close') model.grant = closes[model.grant]
    if (seen.type === 'algorithm') model.algorithm = opens[model.algorithm]
    if (seen.type === 'withdraw') model.algorithm = closes[model.algorithm]
  }
  return model
}

/** What a live grant needs, in any order, so that not every history ends dead. */
const needed: readonly Event[] = [
  { type: 'account' },
  { type: 'organisation', org: 0 },
  { type: 'licence', state: 1, from: 0, to: 9, org: 0 },
  { type: 'grant' },
]
const history = fc
  .tuple(
    fc.shuffledSubarray([...needed], { minLength: needed.length }),
    fc.array(event, { maxLength: 40, size: 'max' }),
    fc.nat(4),
  )
  .map(([first, rest, at]) => [...rest.slice(0, at), ...first, ...rest.slice(at)])

describe('liveAt', () => {
  it('answers for every anchor and time as one who saw only what came before the anchor', () => {
    let lives = 0
    fc.assert(
      fc.property(history, (events) => {
        const state = tables(events)
        for (let s = 0; s <= events.length + 1; s++) {
          const then = oracle(events, s)
          expect(keyAt(state, doctor, 1, s)?.key).toEqual(then.keys === 0 ? undefined : bytes(32, then.keys - 1))
          expect(algorithmAt(state, algorithm, s) !== undefined).toBe(then.algorithm === 'open')
          expect(licenceAt(state, doctor, s)?.from).toBe(then.licence?.from)
          for (const timeMs of [0, 3, until - 1, until]) {
            const { licence } = then
            const isLicensed = licence?.state === 1 && licence.from <= timeMs && timeMs < licence.to
            const isOpen = licence !== undefined && then.organisations[licence.org] === 'open'
            const isLive = then.grant === 'open' && timeMs < until && then.account && isLicensed && isOpen
            if (isLive) lives++
            expect(liveAt(state, { patient, gid, s, timeMs }) !== undefined).toBe(isLive)
          }
        }
      }),
      { numRuns: 150 },
    )
    expect(lives).toBeGreaterThan(100)
  })
})
