/**
 * What a day of work costs the doctor's browser: live ECG (frames, share of a core, memory) and a worklist of a thousand alarms. It prints
 * figures and judges none of them by the clock. `PORTAL_LIVE_SECONDS=600` makes the long run.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import type { CDPSession } from 'playwright-core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { eventually, hasRedis, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { hasChromium, PortalReader } from './browser.ts'

const liveSeconds = Number(process.env.PORTAL_LIVE_SECONDS ?? 8)
const real = fileURLToPath(new URL('../../../shared/data/mitdb/208', import.meta.url))
const alarmCount = 1_000
const frameSeconds = 2

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

async function mainThreadSeconds(session: CDPSession): Promise<number> {
  const { metrics } = await session.send('Performance.getMetrics')
  return metrics.find(({ name }) => name === 'TaskDuration')?.value ?? 0
}

/** How often a second the page's picture is put together anew, whether by its script or by the browser alone. */
async function framesPerSecond(session: CDPSession): Promise<number> {
  const times: number[] = []
  session.on('Tracing.dataCollected', ({ value }) => {
    const drawn = (value as { name?: string; ts?: number }[]).filter(
      ({ name }) => name === 'ProxyImpl::ScheduledActionDraw',
    )
    times.push(...drawn.flatMap(({ ts }) => (ts === undefined ? [] : [ts])))
  })
  const isOver = new Promise((resolve) => session.once('Tracing.tracingComplete', resolve))
  const includedCategories = ['cc']
  await session.send('Tracing.start', { transferMode: 'ReportEvents', traceConfig: { includedCategories } })
  await new Promise((resolve) => setTimeout(resolve, frameSeconds * 1_000))
  await session.send('Tracing.end')
  await isOver
  const [first, last] = [Math.min(...times), Math.max(...times)]
  return ((times.length - 1) * 1e6) / (last - first)
}

describe.skipIf(!hasChromium || !hasRedis)(
  'the speed of the doctor’s portal (needs Chromium and Redis)',
  { timeout: 180_000 + 1_000 * liveSeconds },
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
    }, 180_000)

    afterAll(() => cluster?.remove())

    async function open(): Promise<PortalReader> {
      const reader = await PortalReader.openAs(cluster, { node: 'doctor-a', name: 'doctor-a' })
      // A trace takes a picture of each frame: here it would be what is measured.
      await reader.context.tracing.stop()
      return reader
    }

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
        await session.send('Performance.enable')
        const heapBefore = await heapBytes(session)
        const [cpuBefore, mainBefore, beganMs] = [
          await processorSeconds(browserSession),
          await mainThreadSeconds(session),
          Date.now(),
        ]
        await new Promise((resolve) => setTimeout(resolve, liveSeconds * 1_000))
        const [cpuAfter, mainAfter] = [await processorSeconds(browserSession), await mainThreadSeconds(session)]
        const seconds = (Date.now() - beganMs) / 1_000
        const heapAfter = await heapBytes(session)
        const frames = await framesPerSecond(session)
        const share = (kind: string): string =>
          `${((100 * ((cpuAfter[kind] ?? 0) - (cpuBefore[kind] ?? 0))) / seconds).toFixed(1)} %`
        console.log(
          `live ECG, ${seconds.toFixed(0)} s: ${frames.toFixed(1)} frames/s; main thread ${((100 * (mainAfter - mainBefore)) / seconds).toFixed(1)} % of a core; ` +
            `renderer ${share('renderer')}, drawing (software) ${share('GPU')}; heap ${(heapBefore / 2 ** 20).toFixed(2)} to ${(heapAfter / 2 ** 20).toFixed(2)} MiB`,
        )
        await reader.picture('doctor-live')
        // Something was drawn on the trace, and it is not the paper: the sweep runs.
        const inked = await page.evaluate(`[...document.querySelectorAll('.ecg-sweep canvas')].slice(1).some((canvas) =>
          canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0))`)
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
      database.close()
      await cluster.restart('doctor-a')
      const reader = await open()
      try {
        const { page } = reader
        await page.waitForSelector('.worklist .alarm')
        await page.evaluate(
          `globalThis.long = []; new PerformanceObserver((list) => { for (const entry of list.getEntries()) globalThis.long.push(entry.duration) }).observe({ type: 'longtask' })`,
        )
        await page.getByRole('button', { name: /Show \d+ more/ }).click()
        await eventually('all rows', 30_000, async () =>
          (await page.locator('.worklist .alarm').count()) >= alarmCount ? true : undefined,
        )
        const beganMs = Date.now()
        for (let step = 0; step < 60; step++) await page.keyboard.press('j')
        const walkMs = Date.now() - beganMs
        const long = (await page.evaluate(`globalThis.long`)) as number[]
        console.log(
          `${alarmCount} alarms: 60 steps with j in ${walkMs} ms; tasks above 50 ms: ${long.map((ms) => Math.round(ms)).join(', ') || 'none'}`,
        )
        const place = await page.evaluate(
          `[...document.querySelectorAll('.alarm')].indexOf(document.activeElement.closest('.alarm'))`,
        )
        expect(place).toBe(59)
        const order = (await page.locator('.alarm .severity').allTextContents()).map((text) =>
          text.replace(/[^a-z]/g, ''),
        )
        expect(order.slice(0, 300).every((severity) => severity === 'critical')).toBe(true)
        expect(reader.complaints).toEqual([])
      } finally {
        await reader.close()
      }
    })
  },
)
