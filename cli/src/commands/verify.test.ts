import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { canMount, mountSmallDisk } from '../../../test/support/small-disk.ts'
import { CommandError, type Io } from '../io.ts'
import { runVerify } from './verify.ts'

interface Vector {
  readonly kind: string
  readonly receipt: string
}

const path = new URL('../../../packages/chain/vectors/receipts.json', import.meta.url)
const { receipts } = JSON.parse(readFileSync(path, 'utf8')) as { receipts: Vector[] }

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-verify-'))
})
afterEach(() => rmSync(dir, { recursive: true, force: true }))

function write(name: string, content: string | Uint8Array): string {
  const file = join(dir, name)
  writeFileSync(file, content)
  return file
}

async function run(...args: string[]) {
  let output = ''
  const io: Io = {
    stdin: process.stdin,
    stdout: (text) => {
      output += text
    },
    stderr: () => {},
    interactive: false,
  }
  const code = await runVerify([...args, '--json'], io)
  return { code, value: JSON.parse(output) as { ok: boolean; kind: string; steps: string[]; trust: string } }
}

describe('verify', () => {
  it.each(receipts)('a receipt of kind $kind holds, by its own genesis and by a pinned one', async (vector) => {
    const text = vector.receipt
    const file = write('receipt.json', text)
    const genesis = write('genesis.cbor', Buffer.from((JSON.parse(text) as { genesis: string }).genesis, 'base64'))
    const embedded = await run(file)
    expect(embedded).toMatchObject({ code: 0, value: { ok: true, kind: vector.kind, trust: 'embedded' } })
    expect(embedded.value.steps.length).toBeGreaterThanOrEqual(3)
    expect(await run(file, '--genesis', genesis)).toMatchObject({ code: 0, value: { ok: true, trust: 'pinned' } })
  })

  it('by a checkpoint of the same ledger, not by one of another', async () => {
    const text = (receipts[0] as Vector).receipt
    const file = write('receipt.json', text)
    const { proof } = (JSON.parse(text) as { parts: { proof: string }[] }).parts[0] as { proof: string }
    const note = proof.slice(proof.indexOf('healthblock/'))
    const good = { trust: 'pinned', headCompared: true }
    expect(await run(file, '--trust', write('good', note))).toMatchObject({ code: 0, value: good })
    expect((await run(file)).value).not.toHaveProperty('headCompared')
    // The same ledger at another size says nothing of the history, and that is said.
    const [origin, size, ...rest] = note.split('\n')
    const later = write('later', [origin, String(Number(size) + 1), ...rest].join('\n'))
    expect(await run(file, '--trust', later)).toMatchObject({ code: 0, value: { ok: true, headCompared: false } })
    const other = note.replaceAll(/healthblock\/[0-9a-f]{64}/g, `healthblock/${'0'.repeat(64)}`)
    expect(await run(file, '--trust', write('other', other))).toMatchObject({ code: 1, value: { ok: false } })
  })

  it('--extract writes the texts inside, once, and nothing of a file that does not hold', async () => {
    const text = (receipts[0] as Vector).receipt
    const file = write('receipt.json', text)
    const to = join(dir, 'new', 'texts')
    const { value } = await run(file, '--extract', to)
    expect((value as { extracted?: string[] }).extracted?.sort()).toEqual(readdirSync(to).sort())
    const { proof } = (JSON.parse(text) as { parts: { proof: string }[] }).parts[0] as { proof: string }
    const name = readdirSync(to).find((one) => one.endsWith('.tlog-proof')) as string
    expect(readFileSync(join(to, name), 'utf8')).toBe(proof)
    await expect(run(file, '--extract', to)).rejects.toThrow(CommandError)
    const other = join(dir, 'other')
    expect(await run(write('forged', text.replace('index ', 'index 1')), '--extract', other)).toMatchObject({ code: 1 })
    expect(readdirSync(dir)).not.toContain('other')
  })

  it('--extract writes nothing beside a file that is there', async () => {
    const file = write('receipt.json', (receipts[0] as Vector).receipt)
    const to = join(dir, 'texts')
    await run(file, '--extract', to)
    const [first, ...others] = readdirSync(to) as [string, ...string[]]
    for (const name of others) rmSync(join(to, name))
    await expect(run(file, '--extract', to)).rejects.toThrow(`${first} is there already`)
    expect(readdirSync(to)).toEqual([first])
  })

  it.skipIf(!existsSync('/proc/self'))('--extract says where no folder can be made', async () => {
    const file = write('receipt.json', (receipts[0] as Vector).receipt)
    await expect(run(file, '--extract', '/proc/healthblock/texts')).rejects.toThrow('/proc/healthblock')
  })

  it('--extract removes no link of its name that leads nowhere, and leaves nothing beside it', async () => {
    const file = write('receipt.json', (receipts[0] as Vector).receipt)
    const to = join(dir, 'texts')
    await run(file, '--extract', to)
    const last = readdirSync(to).at(-1) as string
    for (const name of readdirSync(to)) rmSync(join(to, name))
    symlinkSync(join(dir, 'nowhere'), join(to, last))
    await expect(run(file, '--extract', to)).rejects.toThrow(/EEXIST/)
    expect(readdirSync(to)).toEqual([last])
  })

  it.skipIf(!canMount)('--extract leaves nothing of it on a disk that is full', async () => {
    const file = write('receipt.json', (receipts[0] as Vector).receipt)
    // A page for each of the first two files.
    const disk = mountSmallDisk(join(dir, 'disk'), 8_192)
    try {
      await expect(run(file, '--extract', disk.dir)).rejects.toThrow(/no room left/)
      expect(readdirSync(disk.dir)).toEqual([])
    } finally {
      disk.remove()
    }
  })

  it('a changed byte anywhere, and what is no receipt, end with 1', async () => {
    const bytes = Buffer.from((receipts[0] as Vector).receipt)
    for (let at = 7; at < bytes.length; at += Math.ceil(bytes.length / 25)) {
      const forged = Buffer.from(bytes)
      forged[at] = (forged[at] as number) ^ 1
      expect(await run(write('forged.json', forged))).toMatchObject({ code: 1, value: { ok: false } })
    }
    expect(await run(write('none', 'hello'))).toMatchObject({ code: 1, value: { ok: false } })
  })
})
