/**
 * What a day of work costs the doctor's browser: live ECG (frames, share of a core, memory), a worklist of a thousand alarms, and a patient with a thousand findings. It prints
 * figures and judges none of them by the clock. `./healthblock test live` makes the long run (`PORTAL_LIVE_SECONDS`).
 */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import type { CDPSession, Page } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { hasChromium, PortalReader } from './browser.ts'

const liveSeconds = Number(process.env.PORTAL_LIVE_SECONDS ?? 8)
const real = fileURLToPath(new URL('../../../shared/data/mitdb/208', import.meta.url))
const alarmCount = 1_000
const diagnosisCount = 400
const frameSeconds = 2
/** Of a long run, memory is looked at this often. */
const heapEverySeconds = 60

/** Seconds of processor time by kind of process, all of the browser's processes. */
async function processorSeconds(session: CDPSession): Promise<Record<string, number>> {
  const { processInfo } = await session.send('SystemInfo.getProcessInfo')
  const byKind: Record<string, number> = {}
  for (const { type, cpuTime } of processInfo) byKind[type] = (byKind[type] ?? 0) + cpuTime
  return byKind
}

/** Bytes of script memory after all garbage is gone. */
async function heapBytes(session: CDPSession): Promise<number> {
  await session.send('HeapProfiler.collectGarbage')
  return (await session.send('Runtime.getHeapUsage')).usedSize
}

/** How often a second the page's picture is put together anew, whether by its script or by the browser alone; of less than two pictures nobody knows. */
async function framesPerSecond(session: CDPSession): Promise<number> {
  for (;;) {
    const times = await drawnWithin(session, frameSeconds)
    const [first, last] = [Math.min(...times), Math.max(...times)]
    if (last > first) return ((times.length - 1) * 1e6) / (last - first)
  }
}

/** When the page's picture was put together, in microseconds, during some seconds. */
async function drawnWithin(session: CDPSession, seconds: number): Promise<number[]> {
  const times: number[] = []
  const onData = ({ value }: { value: object[] }): void => {
    const drawn = (value as { name?: string; ts?: number }[]).filter(
      ({ name }) => name === 'ProxyImpl::ScheduledActionDraw',
    )
    times.push(...drawn.flatMap(({ ts }) => (ts === undefined ? [] : [ts])))
  }
  session.on('Tracing.dataCollected', onData)
  const isOver = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve))
  const includedCategories = ['cc']
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories } })
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000))
  await session.send('Tracing.end')
  await isOver
  session.off('Tracing.dataCollected', onData)
  return times
}

/** Alarms of one patient, a minute apart. */
function addAlarms(database: DatabaseSync): void {
  const { patient } = database.prepare('SELECT patient FROM grants').get() as { patient: Uint8Array }
  const insert = database.prepare(
    'INSERT INTO alarm (patient, code, about, severity, started, told, ended) VALUES (?, ?, ?, ?, ?, ?, ?)',
  )
  const severities = ['medium', 'high', 'critical']
  database.exec('BEGIN')
  for (let index = 0; index < alarmCount; index++) {
    const at = Date.now() - index * 60_000
    insert.run(patient, 'ecg.tachycardia', `made:${index}`, severities[index % 3] as string, at, at, at + 1_000)
  }
  database.exec('COMMIT')
}

/** The newest diagnosis many times over, a quarter of an hour apart: each opens as the first does. */
function addDiagnoses(database: DatabaseSync): number {
  const columns = database.prepare('PRAGMA table_info(posting)').all() as { name: string }[]
  const kept = columns.map(({ name }) => name).filter((name) => name !== 'tx' && name !== 'at')
  const insert = database.prepare(
    `INSERT INTO posting (tx, at, ${kept}) SELECT ?, at - ?, ${kept} FROM posting WHERE what = 'diagnosis' AND state = 'committed' ORDER BY at DESC LIMIT 1`,
  )
  let copies = 0
  database.exec('BEGIN')
  for (let index = 1; index <= diagnosisCount; index++)
    copies += Number(insert.run(randomBytes(32), index * 900_000).changes)
  database.exec('COMMIT')
  return copies
}

/**
 * Does something, and tells which tasks of the page took more than 50 ms of their thread's processor time meanwhile: on a busy machine a task
 * that waits for its turn is not a long one.
 */
async function longTasks(page: Page, work: () => Promise<void>): Promise<string> {
  const session = await page.context().newCDPSession(page)
  const long: number[] = []
  session.on('Tracing.dataCollected', ({ value }) => {
    for (const { name, tdur } of value as { name?: string; tdur?: number }[])
      if (name?.endsWith('RunTask') === true && (tdur ?? 0) > 50_000) long.push(Math.round((tdur ?? 0) / 1_000))
  })
  const isOver = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve))
  const includedCategories = ['toplevel']
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories } })
  await work()
  await session.send('Tracing.end')
  await isOver
  await session.detach()
  return long.map((ms) => `${ms} ms`).join(', ') || 'none'
}

/** Presses a button below a section's list and waits until more is drawn, and as a rule all that it asked for; false if there is none. */
async function showMore(page: Page, list: string, item: string): Promise<boolean> {
  // Looked for by the page itself: the names of a thousand rows are dear to a tool that asks for a role.
  const press = `(() => { const button = document.querySelector('${list}'); button?.click(); return button !== null })()`
  const count = (): Promise<number> => page.evaluate<number>(`document.querySelectorAll('${item}').length`)
  const before = await count()
  if (!(await page.evaluate<boolean>(press))) return false
  await eventually('more of a list', async () => ((await count()) > before ? true : undefined))
  await eventually('all that was asked for', async () => {
    const now = await count()
    await page.evaluate(`new Promise((done) => setTimeout(done, 500))`)
    return now === (await count()) ? true : undefined
  })
  return true
}

/** A patient of ten years: page after page of her findings, and from one to the next with keys. */
async function leafThrough({ page }: PortalReader, copies: number): Promise<void> {
  const loaded = await longTasks(page, async () => {
    await page.keyboard.press('Enter')
    await page.waitForSelector('.diagnosis')
    await page.waitForSelector('.ecg canvas')
  })
  const leafed = await longTasks(page, async () => {
    while (await showMore(page, 'section[aria-labelledby="findings-title"] > button', '.diagnosis'));
    await expect.poll(() => page.locator('.diagnosis').count()).toBeGreaterThanOrEqual(copies)
  })
  const cards = await page.locator('.diagnosis').count()
  const walked = await longTasks(page, async () => {
    for (let step = 0; step < 40; step++) await page.keyboard.press('p')
  })
  console.log(
    `${cards} diagnoses with ${await page.locator('.finding').count()} findings: tasks above 50 ms of processor time until it stands: ${loaded}; while leafing through: ${leafed}; 40 steps with p: ${walked}`,
  )
}

describe.skipIf(!hasChromium || !hasRedis)(
  'the speed of the doctor’s portal (needs Chromium and Redis)',
  { timeout: storyMs + 1_000 * liveSeconds },
  () => {
    let cluster: TestCluster

    beforeAll(async () => {
      cluster = await TestCluster.start({
        doctors: 1,
        patients: ['ann'],
        accounting: 1,
        storage: 1,
        replicas: 1,
        periodMs: 1_000,
      })
      await cluster.ok('patient', 'grant', 'ann', 'doctor-a')
    }, storyMs)

    afterAll(() => cluster?.remove(), hangMs)

    async function open(): Promise<PortalReader> {
      const reader = await PortalReader.openAs(cluster, { node: 'doctor-a', name: 'doctor-a' })
      // A trace takes a picture of each frame: here it would be what is measured.
      await reader.context.tracing.stop()
      return reader
    }

    test('a patient with nothing yet says so; Back leads to the list, and forth again', async () => {
      const reader = await open()
      const { page } = reader
      try {
        await page.waitForSelector('.quiet')
        await page.waitForSelector('text=1 patient is being watched.')
        // While they are on their way, it is not said that there are none.
        const { promise: isAnswered, resolve: answer } = Promise.withResolvers<void>()
        await page.route('**/v1/patients/summary', async (route) => {
          await isAnswered
          await route.continue()
        })
        await page.reload()
        await page.waitForSelector('.quiet')
        expect(await page.textContent('main')).not.toContain('No patient has given you access')
        answer()
        await page.unrouteAll({ behavior: 'wait' })
        await page.waitForSelector('text=1 patient is being watched.')
        await page.click('nav a[href="#/patients"]')
        await page.locator('tbody a').first().click()
        await page.waitForSelector('.state-line')
        await page.waitForSelector('.waiting', { state: 'detached' })
        await reader.picture('doctor-nothing-yet')
        expect(await page.textContent('main')).toContain('Nothing was found yet')
        expect(await reader.accessibilityFindings()).toEqual([])
        await page.goBack()
        await page.waitForSelector('tbody a')
        await page.goBack()
        await page.waitForSelector('.quiet')
        await page.goForward()
        await page.goForward()
        await page.waitForSelector('.state-line')
        expect(reader.complaints).toEqual([])
      } finally {
        await reader.close()
      }
    })

    test('live ECG runs on with flat memory', async () => {
      const record = existsSync(`${real}.dat`) ? real : await writeRecord(cluster.root, { seconds: liveSeconds + 40 })
      await cluster.ok('patient', 'stream', 'ann', '--record', record, '--to', '10', '--speed', 'max', '--wait')
      const to = String(10 + liveSeconds + 30)
      const streaming = cluster.run(
        'patient',
        'stream',
        'ann',
        '--record',
        record,
        '--from',
        '10',
        '--to',
        to,
        '--speed',
        '1',
      )
      const reader = await open()
      try {
        const { page } = reader
        await page.evaluate(`location.hash = '#/patients'`)
        await page.locator('tbody a').first().click()
        await page.waitForSelector('.ecg canvas')
        await reader.until(`!document.querySelector('.ecg-live-toggle')?.disabled`)
        await page.getByRole('button', { name: 'Live', exact: true }).click()
        await page.waitForSelector('.ecg-sweep')
        await reader.until(`/This picture is/.test(document.querySelector('.ecg-age')?.textContent ?? '')`)
        const session = await reader.context.newCDPSession(page)
        const browserSession = await (
          reader.context.browser() as NonNullable<ReturnType<typeof reader.context.browser>>
        ).newBrowserCDPSession()
        const findings = (): Promise<number> => page.locator('.finding').count()
        const heapBefore = await heapBytes(session)
        const findingsBefore = await findings()
        const [cpuBefore, beganMs] = [await processorSeconds(browserSession), Date.now()]
        const heaps: number[] = []
        for (let left = liveSeconds; left > 0; left -= heapEverySeconds) {
          await new Promise((resolve) => setTimeout(resolve, Math.min(left, heapEverySeconds) * 1_000))
          if (left > heapEverySeconds) heaps.push(await heapBytes(session))
        }
        const cpuAfter = await processorSeconds(browserSession)
        const seconds = (Date.now() - beganMs) / 1_000
        const heapAfter = await heapBytes(session)
        const frames = await framesPerSecond(session)
        const share = (kind: string): string =>
          `${((100 * ((cpuAfter[kind] ?? 0) - (cpuBefore[kind] ?? 0))) / seconds).toFixed(1)} %`
        console.log(
          `live ECG, ${seconds.toFixed(0)} s: ${frames.toFixed(1)} frames/s; page ${share('renderer')} and drawing without a graphics card ${share('GPU')} of a core; ` +
            `heap ${[heapBefore, ...heaps, heapAfter].map((bytes) => (bytes / 2 ** 20).toFixed(2)).join(', ')} MiB, findings on the page ${findingsBefore} to ${await findings()}`,
        )
        await reader.picture('doctor-live')
        // Something dark was drawn right of the leads' names: the sweep runs.
        const inked = await page.evaluate(`(() => {
          const canvas = document.querySelector('.ecg-sweep canvas')
          const { data } = canvas.getContext('2d').getImageData(100, 0, canvas.width - 100, canvas.height)
          return data.some((value, at) => at % 4 === 0 && value < 60)
        })()`)
        expect(inked).toBe(true)
        expect(frames).toBeGreaterThan(0)
        expect(heapAfter - heapBefore).toBeLessThan(8 * 2 ** 20)
        expect(reader.complaints).toEqual([])
      } finally {
        await reader.close()
        await streaming
      }
    })

    test('a thousand alarms are listed, and walked through with the keyboard', async () => {
      await cluster.kill('doctor-a')
      const database = new DatabaseSync(join(cluster.node('doctor-a'), 'node.db'))
      addAlarms(database)
      const copies = addDiagnoses(database)
      database.close()
      await cluster.restart('doctor-a')
      // An alarm that comes meanwhile would take a place in the list.
      await cluster.judged('doctor-a')
      const reader = await open()
      try {
        const { page } = reader
        await page.waitForSelector('.worklist .alarm')
        let walkMs = 0
        const long = await longTasks(page, async () => {
          expect(await showMore(page, '.worklist + button', '.worklist .alarm')).toBe(true)
          await expect.poll(() => page.locator('.worklist .alarm').count()).toBeGreaterThanOrEqual(alarmCount)
          const beganMs = Date.now()
          for (let step = 0; step < 60; step++) await page.keyboard.press('j')
          walkMs = Date.now() - beganMs
        })
        console.log(
          `${alarmCount} alarms: 60 steps with j in ${walkMs} ms; tasks above 50 ms of processor time: ${long}`,
        )
        const place = await page.evaluate(
          `[...document.querySelectorAll('.alarm')].indexOf(document.activeElement.closest('.alarm'))`,
        )
        expect(place).toBe(59)
        const order = (await page.locator('.alarm .severity').allTextContents()).map((text) =>
          text.replace(/[^a-z]/g, ''),
        )
        expect(order.slice(0, 300).every((severity) => severity === 'critical')).toBe(true)
        await leafThrough(reader, copies)
        expect(reader.complaints).toEqual([])
      } finally {
        await reader.close()
      }
    })
  },
)
