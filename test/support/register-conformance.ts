/** What every head register must do. Each implementation's test calls `describeHeadRegister`. */
import type { ChainName } from '@healthblock/chain/chains'
import { expect, it } from 'vitest'
import type { HeadRegister } from '../../services/accounting-node/src/core/ports.ts'

/** A register under test. */
export interface RegisterUnderTest {
  /** Another client of the same register, as another node has it. */
  client(): HeadRegister
  /** Ends every client and begins again, as after a crash of all processes. */
  reopen(): Promise<void>
  /** Loses all values. */
  lose(): Promise<void>
  /** A client whose calls are carried out, but whose answers are lost; only where there is a wire to lose them on. */
  deafClient?(): HeadRegister
}

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text))
const chain: ChainName = 'userchain'

/** Sets the register to what it is plus one mark, however often others are faster; a lost answer is followed by reading. */
async function addMark(register: HeadRegister, mark: string): Promise<void> {
  for (;;) {
    const before = await register.read(chain)
    const marks = before === undefined ? '' : Buffer.from(before).toString()
    if (marks.split(' ').includes(mark)) return
    const done = await register.cas(chain, before, bytes(`${marks} ${mark}`)).catch(() => false)
    if (done) return
  }
}

/** Declares the tests; `open` is called for each with an empty register. `isRemote`: it has a deaf client. */
export function describeHeadRegister(open: () => RegisterUnderTest, options: { isRemote: boolean }): void {
  it('has no value at first', async () => {
    const register = open()
    expect(await register.client().read(chain)).toBeUndefined()
  })

  it('sets an absent value once', async () => {
    const register = open()
    const [a, b] = [register.client(), register.client()]
    expect(await a.cas(chain, undefined, bytes('one'))).toBe(true)
    expect(await b.cas(chain, undefined, bytes('two'))).toBe(false)
    expect(await b.read(chain)).toEqual(bytes('one'))
  })

  it('changes a value only if the whole of it is as expected', async () => {
    const { client } = open()
    const [a, b] = [client(), client()]
    await a.cas(chain, undefined, bytes('one'))
    expect(await b.cas(chain, bytes('on'), bytes('two'))).toBe(false)
    expect(await b.cas(chain, bytes('onex'), bytes('two'))).toBe(false)
    expect(await b.cas(chain, new Uint8Array(), bytes('two'))).toBe(false)
    expect(await b.cas(chain, bytes('one'), bytes('two'))).toBe(true)
    expect(await a.cas(chain, bytes('one'), bytes('three'))).toBe(false)
    expect(await a.read(chain)).toEqual(bytes('two'))
  })

  it('does not expect a value where there is none', async () => {
    const { client } = open()
    expect(await client().cas(chain, bytes('one'), bytes('two'))).toBe(false)
    expect(await client().read(chain)).toBeUndefined()
  })

  it('keeps the chains apart', async () => {
    const { client } = open()
    await client().cas('userchain', undefined, bytes('u'))
    expect(await client().read('docchain')).toBeUndefined()
    expect(await client().cas('docchain', undefined, bytes('d'))).toBe(true)
    expect(await client().read('userchain')).toEqual(bytes('u'))
  })

  it('lets exactly one of many at the same moment win, and all see it', async () => {
    const { client } = open()
    const clients = Array.from({ length: 8 }, client)
    let expected: Uint8Array | undefined
    for (let round = 0; round < 10; round++) {
      const before = expected
      const wins = await Promise.all(clients.map((each, i) => each.cas(chain, before, bytes(`${round}/${i}`))))
      expect(wins.filter((won) => won)).toHaveLength(1)
      expected = bytes(`${round}/${wins.indexOf(true)}`)
      for (const each of clients) expect(await each.read(chain)).toEqual(expected)
    }
  })

  it('keeps what it said it set', async () => {
    const register = open()
    await register.client().cas(chain, undefined, bytes('one'))
    await register.reopen()
    expect(await register.client().read(chain)).toEqual(bytes('one'))
    expect(await register.client().cas(chain, bytes('one'), bytes('two'))).toBe(true)
  })

  it('loses no change of many clients that change it at the same time', async () => {
    const { client } = open()
    const names = Array.from({ length: 6 }, (_, i) => [`${i}a`, `${i}b`, `${i}c`])
    await Promise.all(
      names.map(async (marks) => {
        const own = client()
        for (const mark of marks) await addMark(own, mark)
      }),
    )
    const marks = Buffer.from((await client().read(chain)) as Uint8Array)
      .toString()
      .trim()
      .split(' ')
    expect(marks.sort()).toEqual(names.flat().sort())
  })

  it.skipIf(!options.isRemote)('has done, or not done, what it did not answer: reading tells which', async () => {
    const register = open()
    const deaf = register.deafClient?.() as HeadRegister
    const client = register.client()
    await expect(deaf.cas(chain, undefined, bytes('one'))).rejects.toMatchObject({
      detail: { code: 'ERR_REGISTER_FAILED' },
    })
    expect(await client.read(chain)).toEqual(bytes('one'))
    await expect(deaf.cas(chain, bytes('other'), bytes('two'))).rejects.toBeDefined()
    expect(await client.read(chain)).toEqual(bytes('one'))
    await expect(deaf.read(chain)).rejects.toBeDefined()
    // The same change again is a change of something else by now: it must not happen twice.
    expect(await client.cas(chain, undefined, bytes('one'))).toBe(false)
  })

  it('goes on for clients that were there before all processes crashed', async () => {
    const register = open()
    const client = register.client()
    await client.cas(chain, undefined, bytes('one'))
    await register.reopen()
    expect(await register.client().cas(chain, bytes('one'), bytes('two'))).toBe(true)
    expect(await client.cas(chain, bytes('one'), bytes('three'))).toBe(false)
    expect(await client.read(chain)).toEqual(bytes('two'))
  })

  it('holds values of 100 kB', async () => {
    const { client } = open()
    const large = new Uint8Array(100_000).fill(7)
    await client().cas(chain, undefined, large)
    expect(await client().cas(chain, large, bytes('small'))).toBe(true)
  })

  it('answers as if empty after it was lost, and goes on', async () => {
    const register = open()
    const client = register.client()
    await client.cas(chain, undefined, bytes('one'))
    await register.lose()
    expect(await client.read(chain)).toBeUndefined()
    expect(await client.cas(chain, bytes('one'), bytes('two'))).toBe(false)
    expect(await client.cas(chain, undefined, bytes('two'))).toBe(true)
  })
}
