/** What is hers to take and to erase, in a browser: a download of any size, and a period that is erased once, followed store by store. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeVitals } from '../../cli/src/demo/record.ts'
import { hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { hasChromium, PortalReader, recoverAfterFailure } from './browser.ts'

describe.skipIf(!hasChromium || !hasRedis)(
  'her data, in her portal (needs Chromium and Redis)',
  { timeout: storyMs },
  () => {
    let cluster: TestCluster
    let reader: PortalReader
    let stores: string[] = []

    beforeAll(async () => {
      cluster = await TestCluster.start({ doctors: 1, patients: ['ann'], periodMs: 2_000 })
      stores = cluster.file.nodes.filter(({ role }) => role === 'storage').map(({ name }) => name)
      await cluster.ok('patient', 'grant', 'ann', 'doctor-a')
      const record = await writeRecord(cluster.root, { seconds: 30 })
      await cluster.ok('patient', 'stream', 'ann', '--record', record, '--speed', 'max', '--wait')
      const vitals = (await writeVitals(join(cluster.root, 'vitals'))).path
      await cluster.ok('patient', 'stream', 'ann', '--record', vitals, '--to', '20', '--speed', 'max', '--wait')
      await cluster.judged('doctor-a')
      reader = await PortalReader.openAs(cluster, { node: 'user', name: 'ann' })
    }, storyMs)

    afterAll(async () => {
      await reader?.close()
      await cluster?.remove()
    }, hangMs)

    recoverAfterFailure(() => reader.recover(cluster, { node: 'user', name: 'ann' }))

    async function look(name: string): Promise<void> {
      await reader.picture(name)
      expect(await reader.accessibilityFindings()).toEqual([])
    }

    /** A small screen in German shows the same, whole, and every word of it. */
    async function lookSmall(name: string): Promise<void> {
      const { page } = reader
      await page.setViewportSize({ width: 360, height: 740 })
      await page.click('button:text-is("View")')
      await page.selectOption('.preferences select', 'de')
      await page.click('button:text-is("Ansicht")')
      await look(name)
      expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360)
      expect(await page.innerText('main')).not.toMatch(/patient\.[a-z]/)
      await page.click('button:text-is("Ansicht")')
      await page.selectOption('.preferences select', 'en')
      await page.click('button:text-is("View")')
      await page.setViewportSize({ width: 1280, height: 800 })
    }

    test('she takes a period with her: the file is whole, and says how far it is', async () => {
      const { page } = reader
      await reader.goTo('#/data')
      await page.waitForSelector('text=whoever has it can read it')
      await page.check('input[name=length][value=own]')
      await page.click('button:text-is("Download")')
      // Neither time was typed: the browser asks for it, and nothing begins.
      expect(await page.locator('.download progress').count()).toBe(0)
      await page.check('input[name=length][value=all]')
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('button:text-is("Download")')])
      expect(download.suggestedFilename()).toMatch(/^healthblock-begin-\d{4}-\d\d-\d\d\.fhir\.json$/)
      const bundle = JSON.parse(readFileSync(await download.path(), 'utf8')) as {
        entry: { resource: { resourceType: string } }[]
      }
      const types = new Set(bundle.entry.map(({ resource }) => resource.resourceType))
      for (const type of ['Observation', 'DiagnosticReport', 'Consent']) expect([...types]).toContain(type)
      await page.waitForSelector('.download .good >> text=/Your node has handed out all of it: [0-9]+ records/')
      await look('patient-data')
      await lookSmall('patient-data-small')
    })

    test('a download that breaks off is said to be no use', async () => {
      const { page } = reader
      // Held back by the browser before a byte of it is taken, and then given up: what the node has begun it ends as broken.
      await page.route('**/exports/*', async (route) => {
        const json = { state: 'broken', records: 3, recordsTotal: 25, sizeBytes: 4_000 }
        await route.fulfill({ json })
      })
      await page.click('button:text-is("Download")')
      await page.waitForSelector('.download .bad >> text=The download broke off')
      await page.unroute('**/exports/*')
    })

    test('before anything is erased she reads what goes, who may have a copy, and what stays', async () => {
      const { page } = reader
      await page.click('a:has-text("Erase readings …")')
      await page.waitForSelector('text=Step 1 of 2')
      await page.check('input[name=length][value=day]')
      await page.uncheck('input[name=vitals]')
      await look('patient-erase-1-which')
      await page.click('button[type=submit]')
      await page.waitForSelector('text=Step 2 of 2')
      const text = await page.innerText('main')
      expect(text).toMatch(/Heart \(ECG\): 15 readings, measured/)
      expect(text).toContain('has fetched 15 readings of this period: no one can take back a copy.')
      expect(text).toContain('has access and can fetch them until the storage nodes remove them.')
      expect(text).toContain('stays on the ledger for ever')
      expect(await page.isDisabled('button.danger')).toBe(true)
      await look('patient-erase-2-sure')
      await lookSmall('patient-erase-2-sure-small')
      expect(await cluster.ok('patient', 'readings', 'ann')).not.toHaveLength(0)
    })

    test('it is erased while a store is away: it says so, and goes on when that is back', async () => {
      const { page } = reader
      await cluster.kill(stores[2] as string)
      await page.check('input[name=known]')
      await page.dblclick('button.danger')
      await page.waitForSelector('text=Your readings are erased')
      await page.waitForSelector('.tick.true:has-text("Keys destroyed")')
      await page.waitForSelector('.tick.true:has-text("On record")')
      await expect.poll(() => page.locator('.store.serving').count()).toBe(2)
      expect(await page.innerText('.store.away')).toContain('does not answer. It learns of it when it comes back.')
      expect(await page.innerText('.store.serving >> nth=0')).toContain('It removes them in 3 days')
      await page.click('.tick:has-text("On record") summary')
      await page.waitForSelector('.proof-steps li')
      await look('patient-erased')
      await lookSmall('patient-erased-small')
      const readings = await cluster.ok<{ kind: string }[]>('patient', 'readings', 'ann')
      expect(new Set(readings.map(({ kind }) => kind))).toEqual(new Set(['vitals']))
      await cluster.restart(stores[2] as string)
      await expect.poll(() => page.locator('.store.serving').count()).toBe(3)
    })

    test('a store that takes the question and never answers is shown as away: the page does not wait for it for ever', async () => {
      const { page } = reader
      await cluster.whileStopped(stores[2] as string, async () => {
        await page.reload()
        await page.waitForSelector('.store.away')
      })
      await page.waitForSelector('.store.serving >> nth=2')
    })

    test('the same period once more is not posted again, whether she goes back, or it is asked for meanwhile', async () => {
      const { page } = reader
      const address = await page.evaluate<string>('location.hash')
      const posted = async (): Promise<number> => {
        const timeline = await cluster.ok<{ kind: string }[]>('patient', 'timeline', 'ann', '--limit', '1000')
        return timeline.filter(({ kind }) => kind === 'erased').length
      }
      expect(await posted()).toBe(1)
      await reader.goTo('#/data')
      await page.click('a:has-text("Erase readings …")')
      await page.check('input[name=length][value=day]')
      await page.uncheck('input[name=vitals]')
      await page.click('button[type=submit]')
      await page.waitForSelector('text=You have erased all of this already. It is not done twice.')
      await page.click('main a:has-text("How it stands")')
      await page.waitForSelector('.ticks')
      expect(await page.evaluate<string>('location.hash')).toBe(address)
      // A page that was opened before it was erased elsewhere asks all the same, and is told.
      await page.route('**/erasures/preview?*', async (route) => {
        const seen = (await (await route.fetch()).json()) as { streams: object[] }
        await route.fulfill({ json: { ...seen, erasedBy: null, streams: [{ ...seen.streams[0], records: 1 }] } })
      })
      await page.goBack()
      await page.check('input[name=known]')
      await page.click('button.danger')
      await page.waitForSelector('text=You had erased this before. Nothing was done twice')
      await page.unroute('**/erasures/preview?*')
      expect(await posted()).toBe(1)
    })

    test('stores whose time has come have none of it any more', async () => {
      const { page } = reader
      for (const name of stores) {
        await cluster.kill(name)
        await cluster.restart(name, { STORAGE_ERASE_DELAY_SECONDS: '1' })
      }
      await reader.goTo('#/data')
      await page.click('a:has-text("Erase readings …")')
      await page.check('input[name=length][value=all]')
      await page.click('button[type=submit]')
      await page.check('input[name=known]')
      await page.click('button.danger')
      await page.waitForSelector('.tick.true:has-text("Removed by every storage node")')
      await expect.poll(() => page.locator('.store.gone').count()).toBe(3)
      await reader.goTo('#/data')
      await expect.poll(() => page.locator('.found').count()).toBe(2)
      await look('patient-data-erased')
      expect(await cluster.ok('patient', 'readings', 'ann')).toEqual([])
      expect(reader.complaints).toEqual([])
    })
  },
)
