import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type Acceptance, Outbox } from './outbox.ts'

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))

function acceptance(name: string, ...ids: string[]): Acceptance {
  return {
    promise: { statement: bytes(name), signature: bytes(`signed ${name}`) },
    acceptedMs: 1_000,
    deadlineMs: 31_000,
    transactions: ids.map((id) => ({ id: bytes(id), leaf: bytes(`leaf ${id} of ${name}`) })),
  }
}

describe('the outbox of a gateway', () => {
  let outbox: Outbox
  beforeEach(() => {
    outbox = new Outbox(':memory:')
  })
  afterEach(() => outbox.close())

  it('takes a promise anew whose write was reported as failed, and yet was stored', () => {
    outbox.accept([acceptance('first', 'a')])
    // The gateway heard of a failure, so it knows nothing of it; the sender comes again, with others behind him.
    const rows = outbox.accept([acceptance('second', 'a', 'b')])
    expect(outbox.pending(10)).toEqual(rows)
    expect(rows.map(({ promise }) => outbox.promise(promise)?.statement)).toEqual([bytes('second'), bytes('second')])
    expect(outbox.leaf(rows[0]?.number as number)).toEqual(bytes('leaf a of second'))
  })

  it('forgets promises of which no row is left', () => {
    outbox.accept([acceptance('first', 'a')])
    const [row] = outbox.accept([acceptance('second', 'a')])
    const first = (row?.promise as number) - 1
    expect(outbox.promise(first)).toBeDefined()
    outbox.prune(2_000)
    expect(outbox.promise(first)).toBeUndefined()
    expect(outbox.promise(first + 1)).toBeDefined()
  })
})
