import { afterEach, beforeEach, expect, it } from 'vitest'
import { type Database, openDatabase } from '../disk/sqlite.ts'
import { KeptPromises, promisesSchema } from './kept-promises.ts'

const id = new Uint8Array(32).fill(1)
const other = new Uint8Array(32).fill(2)
const away = Uint8Array.of(1)
const second = Uint8Array.of(2)
let database: Database
let promises: KeptPromises

/** Deadlines that are still to come at this moment. */
const at = (nowMs: number): [number, number] => [nowMs + 1, nowMs + 60_000]
const left = (): unknown => promises.list().map(({ promise, transactions }) => [promise, transactions])
const kept = (): number => Number(database.get('SELECT count(*) AS n FROM promise')?.n)

beforeEach(() => {
  database = openDatabase({ path: ':memory:', synchronous: 'full', migrations: [promisesSchema] })
  promises = new KeptPromises(database)
  promises.keep('userchain', away, { deadlineMs: 30_000, ids: [id, other] })
  promises.keep('userchain', second, { deadlineMs: 36_000, ids: [id] })
})
afterEach(() => database.close())

it('a gateway that was away has left its promise behind, though a second one answered for the transaction', () => {
  promises.answered(id, at(36_000))
  expect(left()).toEqual([[away, [id]]])
  expect(kept()).toBe(1)
})

it('a promise whose deadline is to come stays one, whatever a second gateway answers', () => {
  promises.answered(id, at(29_999))
  expect(left()).toEqual([])
  expect(kept()).toBe(1)
  promises.passed(id, at(30_000))
  expect(left()).toEqual([[away, [id]]])
})

it('of what is on record no promise is left but those that were left behind before', () => {
  promises.passed(id, at(30_000))
  promises.settled(id)
  expect(left()).toEqual([[away, [id]]])
  promises.settled(other)
  expect(left()).toEqual([[away, [id]]])
  expect(kept()).toBe(1)
})
