/** Bad days and long years of the patient's portal, and its figures: printed, not judged by a clock. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { formatDoors, portalDoors } from '../../cli/src/cluster/portal-doors.ts'
import { projectRoot } from '../../cli/src/cluster/root.ts'
import { hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { stealHousehold } from '../support/stolen.ts'
import { hasChromium, PortalReader, recoverAfterFailure, setClockAhead } from './browser.ts'

const entries = 10_000
const scriptBytesMax = 250_000
/** Rows that a screen of a usual height holds, several times over. */
const rowsMax = 120

describe.skipIf(!hasChromium || !hasRedis)(
  "bad days of the patient's portal (needs Chromium and Redis)",
  {
    timeout: storyMs,
  },
  () => {
    let cluster: TestCluster
    let reader: PortalReader
    const figures: Record<string, unknown> = {}

    beforeAll(async () => {
      cluster = await TestCluster.start({ doctors: 1, patients: ['ann'], periodMs: 2_000 })
      reader = await PortalReader.open(cluster.url('user'))
    }, storyMs)

    afterAll(async () => {
      console.log(JSON.stringify({ portal: 'patient', ...figures }))
      await reader?.close()
      await cluster?.remove()
    }, hangMs)

    recoverAfterFailure(() => reader.recover(cluster, { node: 'user', name: 'ann' }))

    const passphrase = (): string => readFileSync(clusterPaths.passphrase(cluster.dir, 'ann'), 'utf8').trim()
    async function go(place: string): Promise<void> {
      await reader.page.click(`nav a[href="#/${place}"]`)
      await reader.page.waitForSelector(`nav a[href="#/${place}"][aria-current=page]`)
    }
    async function count(selector: string, wanted: number): Promise<void> {
      await expect.poll(() => reader.page.locator(selector).count()).toBe(wanted)
    }

    test('its address and the passphrase are told', () => {
      const doors = portalDoors(cluster.dir, cluster.file)
      expect(doors.map(({ portal, names }) => [portal, names])).toEqual(
        [
          ['auditor', ['auditor', 'administrator']],
          ['patient', ['ann']],
          ['doctor', ['doctor-a']],
        ].sort(
          ([a], [b]) => doors.findIndex(({ portal }) => portal === a) - doors.findIndex(({ portal }) => portal === b),
        ),
      )
      const text = formatDoors(cluster.dir, doors)
      for (const { url } of doors) expect(text).toContain(url)
      expect(text).toContain(clusterPaths.passphrase(cluster.dir, 'NAME'))
    })

    test('its scripts are small, the first screen is there at once', async () => {
      const { page } = reader
      const assets = join(projectRoot, 'web', 'dist', 'assets')
      const scripts = readdirSync(assets).filter((name) => name.endsWith('.js.br'))
      const all = scripts.reduce((sum, name) => sum + statSync(join(assets, name)).size, 0)
      await reader.logIn('ann', passphrase())
      await page.waitForSelector('text=Nobody but you can read your data.')
      const loaded = new Set<string>()
      page.on('response', (response) => {
        const name = new URL(response.url()).pathname.split('/').at(-1) as string
        if (name.endsWith('.js')) loaded.add(`${name}.br`)
      })
      const startedAt = performance.now()
      await page.reload()
      await page.waitForSelector('text=Nobody but you can read your data.')
      figures.firstScreenMs = Math.round(performance.now() - startedAt)
      const first = [...loaded].reduce((sum, name) => sum + statSync(join(assets, name)).size, 0)
      Object.assign(figures, { firstScriptBytes: first, allScriptBytes: all })
      expect(first).toBeGreaterThan(5_000)
      expect(first).toBeLessThan(60_000)
      expect(all).toBeLessThan(3 * scriptBytesMax)
    })

    test('a lost connection in the middle of a grant loses nothing, and the grant is made once', async () => {
      const { page } = reader
      await page.click('a:has-text("Give access")')
      await page.click('.found button')
      await page.fill('input[name=petname]', 'Dr. Berger')
      await page.check('input[type=checkbox]')
      await page.click('button[type=submit]')
      await page.check('input[name=end][value=never]')
      await page.click('button[type=submit]')
      await page.waitForSelector('.exposure li')
      await page.context().setOffline(true)
      await page.click('button[type=submit]')
      await page.waitForSelector('text=The node cannot be reached. What you did not send is still here')
      await page.context().setOffline(false)
      // The answer of the node is lost; the act is done: the second press says so, and does nothing again.
      await page.route('**/grants', async (route) => {
        if (route.request().method() !== 'POST') return route.continue()
        await route.fetch()
        return route.abort()
      })
      const lost = page.waitForEvent('requestfailed', (request) => request.method() === 'POST')
      await page.click('button[type=submit]')
      await lost
      await page.waitForSelector('[role=alert]')
      await page.unroute('**/grants')
      await go('')
      await page.waitForSelector('text=One person can read you now')
      await count('.reader', 1)
    })

    test('a node that restarts in the middle of typing ends the session; what was typed is there, forth and back', async () => {
      const { page } = reader
      await page.click('a:has-text("Give access")')
      await page.click('.found button')
      await page.fill('input[name=petname]', 'Dr. Berger, whom I am typing')
      await cluster.kill('user')
      await page.waitForSelector('.banner.late')
      // Typed on while the node is away: once it is back, the page may find out at any moment.
      await page.fill('input[name=petname]', 'Dr. Berger, typed on')
      await cluster.restart('user')
      // Sessions are in the memory of a node: its restart closed the vault, and the page finds that out when it asks.
      await page.waitForSelector('input[name=passphrase]')
      await page.waitForSelector('text=The session has ended. Log in to go on where you were.')
      await reader.logIn('ann', passphrase())
      expect(await page.inputValue('input[name=petname]')).toBe('Dr. Berger, typed on')
      await page.click('button[type=submit]')
      await page.check('input[name=end][value=day]')
      await page.goBack()
      expect(await page.inputValue('input[name=petname]')).toBe('Dr. Berger, typed on')
      await page.goForward()
      expect(await page.isChecked('input[name=end][value=day]')).toBe(true)
      await go('')
      await page.waitForSelector('text=One person can read you now')
    })

    test('a reader whose clock is wrong is told so, and reads ages by the clock of the node', async () => {
      const wrong = await reader.context.newPage()
      await setClockAhead(wrong, 2 * 3_600_000)
      await wrong.goto(cluster.url('user'))
      await wrong.waitForSelector('text=The clock of this device is 2 h fast')
      await wrong.waitForSelector('text=/Asked (now|[0-9]+ seconds? ago|1 minute ago)/')
      await wrong.close()
    })

    test('a node that is down ends no access, and says so; one that restarts at once has ended it; other tabs see it', async () => {
      const { page } = reader
      const second = await reader.context.newPage()
      await second.goto(cluster.url('user'))
      await second.waitForSelector('.reader')
      await page.click('button:has-text("Revoke")')
      await page.waitForSelector('dialog .exposure li')
      await cluster.kill('user')
      await page.click('dialog button.danger')
      await page.waitForSelector('dialog >> text=The node cannot be reached')
      await cluster.restart('user')
      await page.waitForSelector('input[name=passphrase]')
      await reader.logIn('ann', passphrase())
      await page.waitForSelector('text=One person can read you now')
      await page.click('button:has-text("Revoke")')
      await page.waitForSelector('dialog .exposure li')
      // The line is lost after the node has heard it, before its answer: the page finds that it is done, and shows what it did.
      await page.route('**/revocations', async (route) => {
        await route.fetch()
        return route.abort()
      })
      // The same question stands in the other tab.
      await second.waitForSelector('.reader')
      await second.click('button:has-text("Revoke")')
      await second.waitForSelector('dialog .exposure li')
      await page.dblclick('dialog button.danger')
      await page.waitForSelector('.ticks')
      await page.unroute('**/revocations')
      await second.waitForSelector('dialog >> text=This access has ended meanwhile')
      await second.click('dialog button.primary')
      await second.waitForSelector('.ticks')
      await second.click('nav a[href="#/"]')
      // What was answered is durable: the node goes on with it after its restart.
      await cluster.kill('user')
      await cluster.restart('user')
      await page.waitForSelector('input[name=passphrase]')
      await reader.logIn('ann', passphrase())
      await count('.tick.true', 3)
      const grants = await cluster.ok<{ state: string }[]>('patient', 'grants', 'ann')
      expect(grants.map(({ state }) => state)).toEqual(['ended'])
      await reader.picture('patient-ticks')
      // The cookie is one for all tabs: this one is let in with the first, and can act.
      await second.waitForSelector('text=Nobody can read you now')
      await second.click('nav a[href="#/devices"]')
      for (const isOn of ['true', 'false']) {
        await second.locator('[role=switch]').first().click()
        await second.waitForSelector(`[role=switch][aria-checked=${isOn}] >> nth=0`)
      }
      await second.close()
      // Back leads to the list, and nothing is done twice.
      await page.goBack()
      await page.waitForSelector('text=Nobody can read you now')
    })

    test('a page that nobody uses locks itself, and the node closes the vault and goes on with its work', async () => {
      const { page } = reader
      await cluster.kill('user')
      await cluster.restart('user', { USER_IDLE_MS: '5000' })
      await page.waitForSelector('input[name=passphrase]')
      // However slow the machine: the page notes by itself that it was open, if only for those seconds.
      await page.evaluate(`new MutationObserver(() => {
        if (document.querySelector('header.head') !== null) globalThis.wasOpen = true
      }).observe(document.body, { childList: true, subtree: true })`)
      await page.fill('input[name=name]', 'ann')
      await page.fill('input[name=passphrase]', passphrase())
      await page.click('button[type=submit]')
      // Nobody does anything; what the page asks by itself does not keep it open.
      await reader.until(`globalThis.wasOpen === true && document.querySelector('input[name=name]') !== null`)
      expect((await page.request.get(`${cluster.url('user')}/portal/session`)).status()).toBe(401)
      const record = await writeRecord(cluster.root, { seconds: 8 })
      const streamed = await cluster.ok<{ batches: number }>(
        ...['patient', 'stream', 'ann', '--record', record, '--speed', 'max', '--wait'],
      )
      expect(streamed.batches).toBe(4)
    })

    test('ten years scroll like ten minutes: only what is seen is in the page', async () => {
      const { page } = reader
      await cluster.kill('user')
      const database = new DatabaseSync(join(cluster.node('user'), 'node.db'))
      const person = database.prepare('SELECT account FROM person').get() as { account: Uint8Array }
      const insert = database.prepare(
        'INSERT INTO alarm (account, ms, code, severity, about, acknowledged) VALUES (?, ?, ?, ?, ?, ?)',
      )
      database.exec('BEGIN')
      const about = new Uint8Array(16)
      const view = new DataView(about.buffer)
      for (let i = 0; i < entries; i++) {
        view.setUint32(8, i)
        // Several fall on one millisecond, also across the edges of pages.
        insert.run(person.account, Date.now() - Math.floor(i / 7) * 60_000, 'stream.gap', 'medium', about.slice(), 1)
      }
      database.exec('COMMIT')
      database.close()
      await cluster.restart('user')
      await page.goto(`${cluster.url('user')}/#/timeline`)
      await page.reload()
      await reader.logIn('ann', passphrase())
      await page.waitForSelector('.entry')
      await page.click('.filters button:has-text("Findings")')
      await page.waitForSelector('.entry.alarm')
      const cdp = await reader.context.newCDPSession(page)
      await cdp.send('Performance.enable')
      const cpu = async (): Promise<number> => {
        const { metrics } = await cdp.send('Performance.getMetrics')
        return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0
      }
      await page.evaluate(`{
        globalThis.longestMs = 0
        new PerformanceObserver((list) => {
          for (const { duration } of list.getEntries()) globalThis.longestMs = Math.max(globalThis.longestMs, duration)
        }).observe({ type: 'longtask' })
      }`)
      const before = await cpu()
      let mostRows = 0
      const isAtEnd = async (): Promise<boolean> => {
        await page.evaluate('window.scrollTo(0, document.documentElement.scrollHeight)')
        mostRows = Math.max(mostRows, await page.locator('.entry').count())
        return (await page.locator(`.entry[aria-posinset="${entries}"]`).count()) === 1
      }
      await expect.poll(isAtEnd, { interval: 20 }).toBe(true)
      figures.timelineEntries = entries
      figures.timelineRowsInPage = mostRows
      figures.timelineLongestTaskMs = await page.evaluate('globalThis.longestMs')
      figures.timelineScriptSeconds = Math.round(1000 * ((await cpu()) - before)) / 1000
      expect(mostRows).toBeLessThan(rowsMax)
      expect(await page.locator('.entry').last().getAttribute('aria-setsize')).toBe(String(entries))
      // On paper all of them follow one another; a browser prints what stands when its event has been told.
      await page.emulateMedia({ media: 'print' })
      const printed = `dispatchEvent(new Event('beforeprint')), document.querySelectorAll('.entry').length`
      expect(await page.evaluate(printed)).toBe(entries)
      const inOrder = `[...document.querySelectorAll('.entry')].every((row, i, rows) => i === 0 ||
        row.getBoundingClientRect().top >= rows[i - 1].getBoundingClientRect().bottom)`
      expect(await page.evaluate(inOrder)).toBe(true)
      await page.evaluate(`dispatchEvent(new Event('afterprint'))`)
      await page.emulateMedia({ media: null })
      await reader.until(`document.querySelectorAll('.entry').length < ${rowsMax}`)
      expect(await reader.accessibilityFindings()).toEqual([])
      expect(reader.complaints).toEqual([])
    })

    test('a device that somebody added with the stolen key of her node is told; she replaces the key, and removes it', async () => {
      const { page } = reader
      const copy = join(cluster.root, 'copy')
      cluster.copyFolder('user', copy)
      const stolen = stealHousehold(cluster, copy)
      expect(await stolen.addDevice()).toBeUndefined()
      await go('findings')
      await page.click('.alarm:has-text("A device was added from elsewhere") a')
      await page.waitForSelector('text=A device that your node did not add')
      expect(await reader.accessibilityFindings()).toEqual([])
      await reader.picture('patient-devices-foreign')
      await page.click('main a[href="#/safety"]')
      await page.click('button:has-text("Replace the key …")')
      await page.click('dialog button.danger')
      await page.waitForSelector('text=The key is replaced')
      expect(await reader.accessibilityFindings()).toEqual([])
      expect(await stolen.addDevice()).toBe('device.signature')
      await page.click('main a[href="#/devices"]')
      await page.click('button:text-is("Remove")')
      await page.click('dialog button.danger')
      await count('text=A device that your node did not add', 0)
      await page.waitForSelector('text=The device of your own node')
      const devices = await cluster.ok<{ isOwn: boolean }[]>('patient', 'device', 'list', 'ann')
      expect(devices.map(({ isOwn }) => isOwn)).toEqual([true])
      expect(reader.complaints).toEqual([])
    })
  },
)
