/** Bad days of the auditor's portal, and long ledgers: one real node, thousands of blocks, small and large screens, keys alone. */
import { readdirSync, readFileSync } from 'node:fs'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { ensurePortals } from '../../cli/src/cluster/portals.ts'
import { Client } from '../../services/accounting-node/test/client.ts'
import { adminSecret, ProcessCluster } from '../../services/accounting-node/test/processes.ts'
import { eventually, hangMs, storyMs } from '../support/cluster.ts'
import { redisInstalled } from '../support/redis.ts'
import { algorithmTransaction } from '../support/sample-ledger.ts'
import { hasChromium, PortalReader, setClockAhead } from './browser.ts'

/** Blocks of the long ledger; 10,000 for a figure by hand. */
const blocks = Number(process.env.PORTAL_TEST_BLOCKS ?? 400)
const fillMs = 600_000 + 100 * blocks
const passphrase = 'a passphrase of the tests'
const screens = [
  '',
  'nodes',
  'explorer',
  'explorer/userchain/block/1',
  'explorer/userchain/entry/2',
  'incidents',
  'people',
  'login',
]

/** Run in the page: from the newest block to the oldest in 240 steps, one a frame; how many rows were drawn, and how long frames took. */
const scrollThrough = `(async () => {
  const box = document.querySelector('.block-box')
  const frames = []
  let [rows, last] = [0, performance.now()]
  const end = box.scrollHeight - box.clientHeight
  for (let at = 0; at <= 240; at++) {
    box.scrollTop = (end * at) / 240
    await new Promise((resolve) => requestAnimationFrame(resolve))
    const now = performance.now()
    frames.push(now - last)
    last = now
    rows = Math.max(rows, box.children.length)
  }
  frames.sort((a, b) => a - b)
  const of = (share) => Math.round(frames[Math.floor(share * (frames.length - 1))])
  return { rows, medianMs: of(0.5), p95Ms: of(0.95), longestMs: of(1) }
})()`

/** Run in the page: what the link or button that has the focus says. */
const focusedWords = "document.activeElement.matches('a, button, summary') ? document.activeElement.textContent : ''"

/** Processes of audits that this one began. One that was not replaced by its program yet holds up its parent: it is not stopped. */
function auditsOf(parent: number): number[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  return pids.map(Number).filter((pid) => {
    try {
      if (Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]) !== parent) return false
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('audit-process')
    } catch {
      return false
    }
  })
}

vi.setConfig({ testTimeout: storyMs, hookTimeout: storyMs })

describe.skipIf(!hasChromium || !redisInstalled)("bad days of the auditor's portal (needs Chromium and Redis)", () => {
  let cluster: ProcessCluster
  let url: string
  const readers: PortalReader[] = []
  const halted: number[] = []

  beforeAll(async () => {
    const stdin = (async function* () {})()
    await ensurePortals({ stdin, stdout: () => {}, stderr: () => {}, interactive: false })
    cluster = await ProcessCluster.start({ n: 1, q: 1 })
    url = cluster.nodes[0]?.url as string
    for (const role of ['auditor', 'administrator']) {
      await fetch(`${url}/v1/portal/people/${role}`, {
        method: 'PUT',
        headers: { authorization: `Bearer ${adminSecret}`, 'content-type': 'application/json' },
        body: JSON.stringify({ role, passphrase }),
      })
    }
    const client = new Client(url, cluster.ledger)
    for (let n = 0; n < blocks; n++) await client.commit(algorithmTransaction(cluster.ledger, `algorithm-${n}`))
  }, fillMs)
  afterAll(() => cluster?.stop(), hangMs)
  afterEach(async () => {
    for (const reader of readers.splice(0)) if (reader.isOpen) await reader.close()
    goOn()
    if (cluster.nodes[0]?.child?.exitCode === null && cluster.nodes[0].child.signalCode === null) return
    cluster.launch(0)
    await cluster.ready(0)
  })

  async function open(name: string, options: Parameters<typeof PortalReader.open>[1] = {}): Promise<PortalReader> {
    const reader = await PortalReader.open(url, options)
    readers.push(reader)
    await reader.logIn(name, passphrase)
    return reader
  }

  function halt(pid: number): void {
    process.kill(pid, 'SIGSTOP')
    halted.push(pid)
  }

  /** Lets those go on that were halted; without their node they end. */
  function goOn(): void {
    for (const pid of halted.splice(0)) {
      try {
        process.kill(pid, 'SIGCONT')
      } catch {
        // Its node ended it.
      }
    }
  }

  /** Begins an audit whose process stands still as soon as it is there: however small the ledger and busy the machine, it does not end. */
  async function beginHaltedAudit(page: Page): Promise<void> {
    const node = cluster.nodes[0]?.child?.pid as number
    const before = auditsOf(node)
    await Promise.all([
      eventually('the process of the audit', () => {
        const [begun] = auditsOf(node).filter((pid) => !before.includes(pid))
        if (begun !== undefined) halt(begun)
        return begun
      }),
      page.click('button:has-text("Run an audit")'),
    ])
    await page.waitForSelector('text=An audit is running')
  }

  test('a long ledger is leafed through: few rows are drawn, each is there when it is looked at, and nothing stutters', async () => {
    const reader = await open('auditor')
    const { page } = reader
    await page.goto(`${url}/#/explorer`)
    await page.waitForSelector('.block-row')
    const run = (await page.evaluate(scrollThrough)) as { rows: number }
    console.info(`${blocks} blocks scrolled through: ${JSON.stringify(run)}`)
    expect(run.rows).toBeLessThan(60)
    await page.waitForSelector('a[data-height="0"]')
    await page.waitForSelector('.block-row:has(a[data-height="0"]) >> text=Beginning of the ledger')
    await page.focus('a[data-height="0"]')
    await page.keyboard.press('Home')
    await page.waitForSelector(`a[data-height="${blocks}"]:focus`)
    await page.keyboard.press('End')
    await page.waitForSelector('a[data-height="0"]:focus')
    // What comes meanwhile waits for the reader, and does not move what is read.
    const client = new Client(url, cluster.ledger)
    await client.commit(algorithmTransaction(cluster.ledger, 'meanwhile'))
    await page.click('button:has-text("new block")')
    await page.waitForSelector(`a[data-height="${blocks + 1}"]`)
    expect(reader.complaints).toEqual([])
    await reader.close()
  })

  test('a node that ends in the middle of an audit says so afterwards; the audit goes on from there', async () => {
    const reader = await open('auditor')
    const { page, context } = reader
    const second = await context.newPage()
    await second.goto(url)
    await beginHaltedAudit(page)
    await reader.picture('auditor-15-running')
    // The other tab shows it too, and so does a page that is loaded again.
    await second.waitForSelector('text=An audit is running')
    await page.reload()
    await page.waitForSelector('text=An audit is running')
    expect(await reader.accessibilityFindings()).toEqual([])
    await cluster.end(0, 'SIGKILL')
    goOn()
    await page.waitForSelector('.banner >> text=the node does not answer')
    await reader.picture('auditor-16-stale')
    expect(await reader.accessibilityFindings()).toEqual([])
    cluster.launch(0)
    await cluster.ready(0)
    // Sessions live in the process: who was logged in logs in again, and is where she was.
    await page.waitForSelector('text=The session has ended')
    await reader.logIn('auditor', passphrase)
    await page.waitForSelector('text=The last audit was interrupted')
    await page.check('input[type=radio] >> nth=1')
    await page.dblclick('button:has-text("Run an audit")')
    await page.waitForSelector('text=Last audit: nothing found')
    // The one that was interrupted had executed nothing yet; what this one has executed the next one says it took over.
    expect(await page.textContent('.not-checked')).not.toContain('an earlier audit executed')
    await page.check('input[type=radio] >> nth=1')
    await page.dblclick('button:has-text("Run an audit")')
    await page.waitForSelector('.not-checked:has-text("an earlier audit executed")')
    expect(reader.complaints).toEqual([])
    await reader.close()
  })

  test('an audit is stopped by whoever sees it, in one question', async () => {
    const reader = await open('administrator')
    const { page } = reader
    await beginHaltedAudit(page)
    await page.click('button:has-text("Stop the audit")')
    await page.waitForSelector('dialog >> text=It ends without a verdict')
    await page.click('dialog button.danger')
    await page.waitForSelector('text=The last audit was stopped before its end')
    expect(await reader.accessibilityFindings()).toEqual([])
    await reader.close()
  })

  test('without a connection the page says how old it is and keeps what was typed; a session that ended elsewhere shows the door', async () => {
    const reader = await open('auditor')
    const { page, context } = reader
    await page.goto(`${url}/#/explorer`)
    await page.waitForSelector('.block-row')
    await page.fill('input[name=wanted]', 'block 7')
    await context.setOffline(true)
    await page.click('button:has-text("Find")')
    await page.waitForSelector('text=The node cannot be reached')
    expect(await page.inputValue('input[name=wanted]')).toBe('block 7')
    await context.setOffline(false)
    await page.click('button:has-text("Find")')
    await page.waitForSelector('h1:has-text("Block 7 of Userchain")')
    await page.goBack()
    await page.waitForSelector('.block-row')
    await page.goForward()
    await page.waitForSelector('h1:has-text("Block 7 of Userchain")')
    const other = await context.newPage()
    await other.goto(url)
    await other.click('.who button')
    await other.waitForSelector('input[name=passphrase]')
    await page.waitForSelector('text=The session has ended')
    await reader.logIn('auditor', passphrase)
    await page.waitForSelector('h1:has-text("Block 7 of Userchain")')
    expect(reader.complaints).toEqual([])
    await reader.close()
  })

  test('what an administrator typed outlives the session; a clock that is wrong is told', async () => {
    const reader = await open('administrator')
    const { page, context } = reader
    await page.goto(`${url}/#/people`)
    await page.fill('textarea', 'half of a registra')
    await page.fill('form input[name=name]', 'Zoë مريم 李')
    const other = await context.newPage()
    await setClockAhead(other, 3 * 3_600_000)
    await other.goto(url)
    await other.waitForSelector('text=/The clock of this device is .* fast/')
    await other.click('.who button')
    await page.waitForSelector('text=The session has ended')
    await other.close()
    await reader.logIn('administrator', passphrase)
    await page.waitForSelector('textarea')
    expect(await page.inputValue('textarea')).toBe('half of a registra')
    expect(await page.inputValue('form input[name=name]')).toBe('Zoë مريم 李')
    expect(reader.complaints).toEqual([])
    await reader.close()
  })

  test('addresses made by hand lead nowhere, in words', async () => {
    const reader = await open('auditor')
    const { page } = reader
    for (const place of [
      'nonsense',
      'audits/1e9',
      'explorer/userchain/entry/-1',
      'explorer/userchain/<b>/1',
      'explorer/account/xyz',
      '%E0%A4%A',
    ]) {
      await page.goto(`${url}/#/${place}`)
      await page.waitForSelector('text=There is nothing at this address')
    }
    await page.goto(`${url}/#/explorer/userchain/block/99999999`)
    await page.waitForSelector('.notice.bad')
    expect(reader.complaints).toEqual([])
    await reader.close()
  })

  test('with keys alone: past the navigation, to an audit and its report', async () => {
    const reader = await open('auditor')
    const { page } = reader
    await page.waitForSelector('button:has-text("Run an audit")')
    const pressUntil = async (words: string): Promise<void> => {
      for (let n = 0; n < 40; n++) {
        await page.keyboard.press('Tab')
        const focused = await page.evaluate<string>(focusedWords)
        if (focused.includes(words)) return
      }
      throw new Error(`"${words}" was not reached`)
    }
    await page.evaluate('document.activeElement?.blur()')
    await pressUntil('To the content')
    await page.keyboard.press('Enter')
    await pressUntil('Run an audit')
    await page.keyboard.press('Enter')
    await page.waitForSelector('text=Last audit: nothing found')
    await pressUntil('Audit ')
    await page.keyboard.press('Enter')
    await page.waitForSelector('text=← All audits')
    await reader.close()
  })

  test.each([
    { name: 'phone', width: 360, height: 740, colours: 'light' },
    { name: 'phone-dark', width: 360, height: 740, colours: 'dark' },
    { name: 'dark', width: 1280, height: 800, colours: 'dark' },
    { name: 'wall', width: 2560, height: 1440, colours: 'dark' },
  ] as const)('every screen on $name fits, and axe-core finds nothing', async ({ name, width, height, colours }) => {
    const language = name === 'phone-dark' ? 'de-DE' : 'en-GB'
    const reader = await open('administrator', { width, height, colours, language })
    const { page } = reader
    for (const screen of screens) {
      await page.goto(`${url}/#/${screen}`)
      await page.waitForSelector('main h1')
      await page.waitForSelector('.waiting', { state: 'detached' })
      const overflow = await page.evaluate(
        'document.documentElement.scrollWidth - document.documentElement.clientWidth',
      )
      expect([screen, overflow]).toEqual([screen, 0])
      expect([screen, await reader.accessibilityFindings()]).toEqual([screen, []])
      // What was not checked is told in the reader's language: none of the sentences is left as the engine wrote it.
      if (screen === '') {
        await expect.poll(() => page.locator('.not-checked li').count()).toBeGreaterThan(5)
        expect(await page.locator('.not-checked li[lang]').allTextContents()).toEqual([])
      }
      await reader.picture(`auditor-${name}-${screen === '' ? 'audit' : screen.replaceAll('/', '-')}`)
    }
    expect(reader.complaints).toEqual([])
    await reader.close()
  })
})
