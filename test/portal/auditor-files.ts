/** Files that somebody hands to an auditor, in his browser: what holds, what was forged, what is no such file at all. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { TestCluster } from '../support/cluster.ts'
import { PortalReader } from './browser.ts'

interface Grant {
  readonly grant: string
}

/** The tests, against a cluster in which doctor A was let in by `ann`, before something else came on record. */
export function testAuditorFiles(running: () => { cluster: TestCluster; grant: string; grantedAt: string }): void {
  describe('a file is checked in the browser', () => {
    let reader: PortalReader
    let receipt: Buffer
    let bundle: Buffer

    beforeAll(async () => {
      const { cluster, grant, grantedAt } = running()
      const [path, out] = [join(cluster.root, 'receipt.json'), join(cluster.root, 'dispute.json')]
      await cluster.ok('patient', 'receipt', 'ann', grant, '--out', path)
      receipt = readFileSync(path)
      const [granted] = await cluster.ok<Grant[]>('patient', 'grants', 'ann')
      await cluster.ok(
        ...['dispute', '--out', out, '--transaction', grant, '--grant', `ann/${granted?.grant}`, '--at', grantedAt],
      )
      bundle = readFileSync(out)
      reader = await PortalReader.openAs(cluster, { node: 'accounting-0', name: 'auditor' })
      await reader.page.click('nav >> text=Check a file')
    }, 120_000)

    afterAll(() => reader?.close())

    async function answerAbout(name: string): Promise<string> {
      const answer = reader.page.locator('section.notice', { hasText: name })
      await answer.waitFor({ timeout: 60_000 })
      return (await answer.textContent()) ?? ''
    }

    /** Chooses a file and waits for the answer. */
    async function choose(name: string, buffer: Buffer): Promise<string> {
      await reader.page.setInputFiles('input[type=file]', { name, mimeType: 'application/json', buffer })
      return answerAbout(name)
    }

    /** Drops a file that the page makes of an expression, and waits for the answer. */
    async function drop(name: string, content: string): Promise<string> {
      const dataTransfer = await reader.page.evaluateHandle(`(() => {
        const transfer = new DataTransfer()
        transfer.items.add(new File([${content}], ${JSON.stringify(name)}))
        return transfer
      })()`)
      await reader.page.dispatchEvent('.drop', 'drop', { dataTransfer })
      return answerAbout(name)
    }

    const check = (name: string, bytes: Buffer): Promise<string> =>
      drop(name, `Uint8Array.fromBase64(${JSON.stringify(bytes.toString('base64'))})`)

    test('a receipt and a bundle hold, and say what they prove', async () => {
      expect(await choose('receipt.json', receipt)).toMatch(/^It holds.*A receipt: the entry is on record.*quorum/)
      const said = await choose('dispute.json', bundle)
      expect(said).toMatch(/^It holds.*A dispute bundle/)
      expect(said).toContain('the access was in force')
      await reader.picture('auditor-check-holds')
      expect(await reader.accessibilityFindings()).toEqual([])
    }, 120_000)

    test('thirty forgeries of each fail, and so does what is cut, huge, empty or something else', async () => {
      expect(await check('dropped', receipt)).toMatch(/^It holds/)
      for (const [kind, whole] of [
        ['receipt', receipt],
        ['bundle', bundle],
      ] as const) {
        for (let i = 0; i < 30; i++) {
          const forged = Buffer.from(whole)
          const at = Math.floor(((i + 0.5) * whole.length) / 30)
          forged[at] = whole[at] === 0x41 ? 0x42 : 0x41
          expect(await check(`${kind}-${i}`, forged), `${kind}, byte ${at}`).toMatch(/^It does not hold/)
        }
        for (const part of [0.1, 0.5, 0.99]) {
          const cut = whole.subarray(0, Math.floor(whole.length * part))
          expect(await check(`${kind}-cut-${part}`, cut)).toMatch(/^It does not hold/)
        }
      }
      const others: [string, Buffer][] = [
        ['empty', Buffer.alloc(0)],
        ['a-picture', readFileSync(new URL('../../docs/portal-auditor.png', import.meta.url))],
        ['another-json', Buffer.from('{"kind":"receipt","parts":[]}')],
        ['deep', Buffer.from('['.repeat(200_000))],
        ['hostile-<b>x</b>', Buffer.from('<script>alert(1)</script>')],
      ]
      for (const [name, bytes] of others) expect(await check(name, bytes), name).toMatch(/^It does not hold/)
      // What was not looked at is not called wrong.
      expect(await drop('huge', 'new Uint8Array(33 * 1024 * 1024)')).toMatch(/^Not checked[\s\S]*larger than 32 MiB/)
      await reader.picture('auditor-check-fails')
      expect(await reader.accessibilityFindings()).toEqual([])
      expect(reader.complaints).toEqual([])
    }, 240_000)
  })
}
