import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Acceptance, answerKinds, Outbox, type PendingRow } from './outbox.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

/** 32 bytes. */
const name = (text: string): Uint8Array => bytes(text.padEnd(32))

function acceptance(promise: string, ...ids: string[]): Acceptance {
  return {
    promise: { statement: bytes(promise), signature: bytes(`signed ${promise}`) },
    acceptedMs: 1_000,
    deadlineMs: 31_000,
    transactions: ids.map((id) => ({ id: name(id), leaf: bytes(`leaf ${name(id)} of ${promise}`) })),
  }
}

describe('the outbox of a gateway', () => {
  let outbox: Outbox
  beforeEach(() => {
    outbox = new Outbox(':memory:')
  })
  afterEach(() => outbox.close())

  it('takes a promise anew whose write was reported as failed, and yet was stored', async () => {
    await outbox.accept([acceptance('first', 'a')])
    // The gateway heard of a failure, so it knows nothing of it; the sender comes again, with others behind him.
    const rows = await outbox.accept([acceptance('second', 'a', 'b')])
    expect(outbox.pending(10)).toEqual(rows)
    expect(rows.map(({ promise }) => outbox.promise(promise)?.statement)).toEqual([bytes('second'), bytes('second')])
    expect(outbox.leaf(rows[0]?.number as number)).toEqual(bytes(`leaf ${name('a')} of second`))
  })

  it('keeps a promise until the last of its rows is final, and forgets one that another replaced', async () => {
    await outbox.accept([acceptance('first', 'a', 'b')])
    const [a, b] = outbox.pending(10) as [PendingRow, PendingRow]
    outbox.finish([a])
    outbox.finish([a])
    expect(outbox.pending(10)).toEqual([b])
    expect(outbox.leaf(b.number)).toEqual(bytes(`leaf ${name('b')} of first`))
    expect(outbox.promise(b.promise)).toBeDefined()
    const [again] = await outbox.accept([acceptance('second', 'b')])
    expect(outbox.promise(b.promise)).toBeUndefined()
    expect(outbox.pending(10)).toEqual([again])
  })

  it('takes what is published out with the next promises, or not at all', async () => {
    const rows = await outbox.accept([acceptance('first', 'a'), acceptance('second', 'b', 'c')])
    const [a, b, c] = rows as [PendingRow, PendingRow, PendingRow]
    await expect(outbox.accept([{ ...acceptance('third', 'd'), acceptedMs: Number.NaN }], [a, b])).rejects.toThrow()
    expect(outbox.pending(10)).toEqual([a, b, c])
    const [d] = await outbox.accept([acceptance('third', 'd')], [a, b])
    expect(outbox.pending(10)).toEqual([c, d])
    expect(outbox.promise(a.promise)).toBeUndefined()
    expect(outbox.promise(c.promise)).toBeDefined()
  })

  it('opens with what is neither published nor answered, in order, each transaction under its newest promise', async () => {
    await withFile(async (path) => {
      const first = new Outbox(path)
      const rows = await first.accept([acceptance('first', 'a', 'b', 'c'), acceptance('second', 'd')])
      const [a, b, c, d] = rows as [PendingRow, PendingRow, PendingRow, PendingRow]
      const signed = { statement: bytes('refused'), signature: bytes('by the node') }
      first.answer([{ row: b, kind: answerKinds.refused, signed }], 2_000)
      first.finish([d])
      first.close()
      const second = new Outbox(path)
      expect(second.pending(10)).toEqual([a, c])
      expect(second.storedAnswer(b.id)).toMatchObject({ kind: answerKinds.refused, ...signed })
      // The sender came again after the refusal: what was answered then does not count for the new promise.
      const [anew] = await second.accept([acceptance('third', 'b')])
      second.close()
      const third = new Outbox(path)
      expect(third.pending(10)).toEqual([a, c, anew])
      third.close()
    })
  })

  it('promises nothing while its file cannot be synced, and takes up at the next start what was stored all the same', async () => {
    await withFile(async (path) => {
      const first = new Outbox(path)
      rmSync(`${path}-wal`)
      await expect(first.accept([acceptance('first', 'a')])).rejects.toMatchObject({
        detail: { code: 'ERR_FILE_FAILED' },
      })
      await expect(first.accept([acceptance('second', 'b')])).rejects.toMatchObject({
        detail: { code: 'ERR_FILE_FAILED' },
      })
      first.close()
      const second = new Outbox(path)
      expect(second.pending(10).map(({ id }) => id)).toEqual([name('a'), name('b')])
      await expect(second.accept([acceptance('third', 'c')])).resolves.toHaveLength(1)
      second.close()
    })
  })

  it('takes over the rows of a file of the first format', async () => {
    await withFile((path) => {
      const database = new DatabaseSync(path)
      database.exec(firstFormat)
      database.prepare('INSERT INTO promise VALUES (7, ?, ?)').run(bytes('first'), bytes('signed'))
      for (const id of ['a', 'b']) {
        database
          .prepare('INSERT INTO pending (id, leaf, accepted, deadline, promise) VALUES (?, ?, 1000, 31000, 7)')
          .run(name(id), bytes(`leaf ${id}`))
      }
      database.close()
      const outbox = new Outbox(path)
      const rows = outbox.pending(10)
      expect(rows.map(({ id }) => id)).toEqual([name('a'), name('b')])
      expect(rows.map(({ number }) => outbox.leaf(number))).toEqual([bytes('leaf a'), bytes('leaf b')])
      expect(outbox.promise(rows[1]?.promise as number)).toEqual({
        statement: bytes('first'),
        signature: bytes('signed'),
      })
      outbox.close()
    })
  })
})

async function withFile(work: (path: string) => void | Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-outbox-'))
  try {
    await work(join(dir, 'outbox.db'))
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}

const firstFormat = `
  CREATE TABLE promise (number INTEGER PRIMARY KEY, statement BLOB NOT NULL, signature BLOB NOT NULL) STRICT;
  CREATE TABLE pending (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, leaf BLOB NOT NULL,
    accepted INTEGER NOT NULL, deadline INTEGER NOT NULL, promise INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE answer (
    id BLOB PRIMARY KEY, kind INTEGER NOT NULL, statement BLOB NOT NULL, signature BLOB NOT NULL, at INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  PRAGMA user_version = 1;
`
