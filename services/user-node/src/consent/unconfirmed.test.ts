import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sha256 } from '@healthblock/crypto/hash'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { LedgerView } from '../ledger-view.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import { closesMax, isEndLeft, noteEnded, unconfirmed } from './unconfirmed.ts'

const account = new Uint8Array(32).fill(1)

/** A node that changes keys, and a ledger that takes them, refuses them, or has others in between. */
class Story {
  readonly #database
  readonly #closed = new Set<string>()
  readonly #ended: string[] = []
  #generation = 1
  #current = 1
  #keys = 0
  #pending: { tx: Uint8Array; generation: number; closes: readonly Uint8Array[] }[] = []

  constructor(database: ReturnType<typeof openNodeDatabase>) {
    this.#database = database
  }

  /** Ends so many grants with a change of keys. */
  end(count: number): void {
    const ending = Array.from({ length: count }, (_, i) => sha256(encodeUtf8(`${this.#ended.length + i}`)))
    const generation = Math.max(this.#generation, this.#current) + 1
    this.#database.transaction(() => {
      for (const gid of ending) {
        const columns = 'account, gid, doctor, streams, starts, until, rights, purpose, opened, tx'
        const insert = `INSERT INTO grants (${columns}) VALUES (?, ?, x'02', '[]', 0, 0, 0, 0, 0, x'03')`
        this.#database.run(insert, account, gid)
      }
      const closed = this.#sign(generation, ending)
      noteEnded(this.#database, account, { generation, atMs: 1, ending, closed })
    })
    this.#ended.push(...ending.map(toHex))
    this.#generation = generation
  }

  #sign(generation: number, ending: readonly Uint8Array[]): readonly Uint8Array[] {
    const ledger = { currentGeneration: () => this.#current } as unknown as LedgerView
    const place = { generation, newest: this.#generation }
    const pending = unconfirmed({ database: this.#database, ledger }, account, place).closes
    const names = new Set(pending.map(toHex))
    const closes = [...pending, ...ending.filter((gid) => !names.has(toHex(gid)))].slice(0, closesMax)
    const tx = sha256(encodeUtf8(`key ${this.#keys++}`))
    const insert =
      "INSERT INTO consent (tx, account, generation, opens, closes, body, state, changed) VALUES (?, ?, ?, 0, 1, x'', 'pending', 0)"
    this.#database.run(insert, tx, account, generation)
    this.#pending.push({ tx, generation, closes })
    return closes
  }

  #settle(tx: Uint8Array, state: string): void {
    this.#database.run('UPDATE consent SET state = ? WHERE tx = ?', state, tx)
  }

  /** The ledger takes what is on its way, the oldest first. */
  take(): void {
    for (const { tx, generation, closes } of this.#pending.splice(0)) {
      const isTaken = generation > this.#current
      this.#settle(tx, isTaken ? 'committed' : 'refused')
      if (!isTaken) continue
      this.#current = generation
      for (const gid of closes) this.#closed.add(toHex(gid))
    }
  }

  /** All that is on its way is refused; the newest is signed again. */
  refuse(): void {
    const refused = this.#pending.splice(0)
    for (const { tx } of refused) this.#settle(tx, 'refused')
    if (refused.length > 0 && this.#generation > this.#current) this.#sign(this.#generation, [])
  }

  /** Somebody else opens generations. */
  overtake(count: number): void {
    this.#current += count
  }

  /** What a node does until nothing is left to do; the grants that are not ended on the ledger then. */
  open(): string[] {
    for (let round = 0; round < 64; round++) {
      this.take()
      const isOutrun = this.#current > this.#generation || isUnheard(this.#database, this.#generation)
      if (isOutrun || isEndLeft(this.#database, account, this.#generation)) this.end(0)
      else break
    }
    return this.#ended.filter((gid) => !this.#closed.has(gid))
  }
}

function isUnheard(database: ReturnType<typeof openNodeDatabase>, generation: number): boolean {
  const find = "SELECT 1 FROM consent WHERE generation = ? AND state = 'committed'"
  return generation > 1 && database.get(find, generation) === undefined
}

const step = fc.oneof(
  fc.record({ what: fc.constant('end' as const), count: fc.integer({ min: 1, max: 400 }) }),
  fc.record({ what: fc.constantFrom('take' as const, 'refuse' as const), count: fc.constant(0) }),
  fc.record({ what: fc.constant('overtake' as const), count: fc.integer({ min: 1, max: 4 }) }),
)

test('whatever is ended is ended on the ledger, however many there are, whatever is refused, and whoever opens generations in between', {
  timeout: 120_000,
}, () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 8 }), (steps) => {
      const dir = mkdtempSync(join(tmpdir(), 'hb-unconfirmed-'))
      const database = openNodeDatabase(join(dir, 'node.db'))
      try {
        const story = new Story(database)
        for (const { what, count } of steps) story[what](count)
        expect(story.open()).toEqual([])
      } finally {
        database.close()
        rmSync(dir, { recursive: true })
      }
    }),
    { numRuns: 60 },
  )
})
