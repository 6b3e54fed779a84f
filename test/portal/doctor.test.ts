/** A doctor's day in the browser, with a real heart that flutters: worklist, patient, ECG, signature; keyboard, dark, small, hostile names. */
import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { writeVitals } from '../../cli/src/demo/record.ts'
import { totpOf } from '../../packages/runtime/src/portal/totp.ts'
import { eventually, hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { confirmCode, hasChromium, PortalReader, pictureFolder, recoverAfterFailure } from './browser.ts'
import { byHand, keysAlone, loseRecord, openPatient, refused, restartWhileSigning, twoTabs } from './doctor-days.ts'

/** MIT-BIH record 207: ventricular flutter from 41 s on, several times. */
const flutter = fileURLToPath(new URL('../../../shared/data/mitdb/207', import.meta.url))
const doctor = { node: 'doctor-a', name: 'doctor-a' } as const
const hasFlutter = existsSync(`${flutter}.dat`)
/** What a generated heart does not show: an alarm that is over when the stream ends. */
const withFlutter = test.skipIf(!hasFlutter)
const needed = '(needs MIT-BIH record 207)'

interface Alarm {
  readonly id: number
  readonly acknowledgedBy: string | null
  readonly escalatedBy: string | null
  readonly snoozedBy: string | null
}

interface Diagnosis {
  readonly transactionId: string
  readonly status: string
  readonly findings: { code: string }[]
}

describe.skipIf(!hasChromium || !hasRedis)(
  'the doctor’s portal (needs Chromium and Redis)',
  { timeout: storyMs },
  () => {
    let cluster: TestCluster
    let reader: PortalReader
    let record: string
    const ward = () => ({ cluster, reader, record })

    beforeAll(async () => {
      cluster = await TestCluster.start({ doctors: 1, patients: ['ann', 'bob'], periodMs: 5_000 })
      const made = hasFlutter ? flutter : await writeRecord(cluster.root, { seconds: 110, rhythm: 'fast' })
      const vitals = await writeVitals(cluster.root)
      await cluster.ok('patient', 'grant', 'ann', 'doctor-a')
      await cluster.ok('patient', 'grant', 'bob', 'doctor-a')
      await cluster.ok('patient', 'stream', 'ann', '--record', made, '--to', '110', '--speed', 'max', '--wait')
      await cluster.ok('patient', 'stream', 'ann', '--record', vitals.path, '--to', '110', '--speed', 'max', '--wait')
      record = await writeRecord(cluster.root, { seconds: 30, rhythm: 'fast' })
      await cluster.ok('patient', 'stream', 'bob', '--record', record, '--speed', 'max', '--wait')
      // Whoever counts alarms counts what does not grow meanwhile.
      await cluster.judged('doctor-a')
      reader = await PortalReader.openAs(cluster, doctor)
    }, storyMs)

    afterAll(async () => {
      await reader?.close('doctor')
      await cluster?.remove()
    }, hangMs)

    async function alarms(): Promise<Alarm[]> {
      return (await (await reader.page.request.get(`${cluster.url('doctor-a')}/v1/alarms`)).json()) as Alarm[]
    }

    recoverAfterFailure(async () => {
      await reader.recover(cluster, doctor)
      for (const { id, acknowledgedBy, escalatedBy, snoozedBy } of await alarms())
        if ([acknowledgedBy, escalatedBy, snoozedBy].some((who) => who !== null))
          await cluster.ok('doctor', 'reopen', 'doctor-a', String(id))
    })

    /** The page of the patient with the most urgent alarm, opened at it. */
    async function openFirstAlarm(): Promise<void> {
      const { page } = reader
      await reader.goTo('#/')
      await page.locator('.worklist .alarm').first().locator('a').focus()
      await page.keyboard.press('Enter')
      await page.waitForSelector('.state-line')
    }

    /** Of an ECG that is not here yet no beats are told. */
    const isEcgHere = `/[0-9]+ beats?\\b/.test(document.querySelector('.ecg canvas')?.getAttribute('aria-label') ?? '')`

    async function diagnoses(): Promise<Diagnosis[]> {
      return cluster.ok<Diagnosis[]>('doctor', 'diagnoses', 'doctor-a')
    }

    withFlutter(`the most urgent alarm is on top, and is acknowledged with one key ${needed}`, async () => {
      const { page } = reader
      await reader.goTo('#/')
      const first = page.locator('.worklist .alarm').first()
      await first.waitFor()
      await page.locator('.alarm.critical').first().waitFor()
      expect(await first.locator('.severity').textContent()).toContain('critical')
      expect(await first.locator('.alarm-what').textContent()).toMatch(/Ventricular (fibrillation|tachycardia)/)
      // What was found, with its figures: who needs her first is seen here.
      expect(await first.locator('.alarm-says').textContent()).toMatch(/\d/)
      await reader.picture('doctor-worklist')
      expect(await reader.accessibilityFindings()).toEqual([])
      const what = await first.locator('.alarm-what').textContent()
      const id = await first.locator('[data-alarm]').getAttribute('data-alarm')
      const row = `.worklist .alarm:has([data-alarm="${id}"])`
      await page.keyboard.press('j')
      await page.keyboard.press('a')
      await page.waitForSelector('.notice.good')
      expect(await page.locator('.notice.good').textContent()).toContain(what)
      // It is over and in somebody's hands: it leaves the list, and one key brings it back.
      await page.waitForSelector(row, { state: 'detached' })
      expect((await alarms()).filter(({ acknowledgedBy }) => acknowledgedBy === 'doctor-a')).toHaveLength(1)
      await page.keyboard.press('u')
      await page.waitForSelector(row)
      expect((await alarms()).every(({ acknowledgedBy }) => acknowledgedBy === null)).toBe(true)
      await page.keyboard.press('j')
      await page.keyboard.press('s')
      await page.waitForSelector('dialog[open]')
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.keyboard.press('Escape')
      await reader.until(`document.querySelector('dialog[open]') === null`)
    })

    test('with nothing chosen a key only chooses; a button keeps its Enter; the keys can be turned off', async () => {
      const { page } = reader
      await reader.goTo('#/patients')
      await page.waitForSelector('tbody a')
      await reader.goTo('#/')
      await page.waitForSelector('.worklist .alarm')
      await page.evaluate('document.activeElement?.blur()')
      await page.keyboard.press('a')
      expect(await page.evaluate<string>(`document.activeElement?.className`)).toBe('alarm-main')
      expect(await page.locator('.notice.good').count()).toBe(0)
      await page.getByRole('button', { name: 'Escalate' }).first().focus()
      await page.keyboard.press('Enter')
      await page.waitForSelector('.alarm.is-escalated')
      await page.waitForSelector('.notice.good >> text=Escalated')
      expect(await page.evaluate('location.hash')).toBe('#/')
      await page.keyboard.press('u')
      await reader.until(`document.querySelector('.alarm.is-escalated') === null`)
      await page.getByRole('button', { name: 'Turn these keys off' }).click()
      await page.evaluate('document.activeElement?.blur()')
      await page.keyboard.press('j')
      expect(await page.evaluate<string>(`document.activeElement?.className`)).not.toBe('alarm-main')
      await page.getByRole('button', { name: 'Turn them on' }).click()
    })

    test('what is taken back is the act before, also while the node has not answered it', async () => {
      const { page } = reader
      await reader.goTo('#/patients')
      await reader.goTo('#/')
      await page.waitForSelector('.worklist .alarm')
      await page.keyboard.press('j')
      await page.keyboard.press('e')
      await page.waitForSelector('.notice.good >> text=Escalated')
      const { promise: isAnswered, resolve: answer } = Promise.withResolvers<void>()
      await page.route(/\/acknowledge$/, async (route) => {
        await isAnswered
        await route.continue()
      })
      await page.locator('.alarm.is-open .alarm-main').first().focus()
      await page.keyboard.press('a')
      await page.keyboard.press('u')
      answer()
      await page.waitForSelector('.notice.good >> text=Taken back')
      await page.unrouteAll({ behavior: 'wait' })
      const after = await alarms()
      expect(after.filter(({ acknowledgedBy }) => acknowledgedBy !== null)).toEqual([])
      const escalated = after.filter(({ escalatedBy }) => escalatedBy !== null)
      expect(escalated).toHaveLength(1)
      await cluster.ok('doctor', 'reopen', 'doctor-a', String(escalated[0]?.id))
      await page.waitForSelector('.alarm.is-escalated', { state: 'detached' })
    })

    test('an alarm leads to the patient’s page; what is on its way is not told as nothing, and what does not come is told', async () => {
      const { page } = reader
      const label = page.locator('.ecg canvas')
      const { promise: isAnswered, resolve: answer } = Promise.withResolvers<void>()
      await page.route(/\/marks\?|\/diagnoses\?patient=/, async (route) => {
        await isAnswered
        await route.abort()
      })
      await openFirstAlarm()
      await page.waitForSelector('.state-line >> text=not known yet')
      await label.waitFor()
      expect(await label.getAttribute('aria-label')).toMatch(/^ECG, .*Loading/)
      expect(await label.getAttribute('aria-label')).not.toMatch(/beat/)
      answer()
      await page.waitForSelector('.ecg-panel .notice.bad')
      expect(await label.getAttribute('aria-label')).toMatch(/^ECG, .*Could not be loaded/)
      await page.unrouteAll({ behavior: 'wait' })
      await page.click('.ecg-panel .notice.bad button')
      await reader.until(isEcgHere)
      expect(await page.locator('.ecg-panel .notice.bad').count()).toBe(0)
      await openFirstAlarm()
      await reader.until(isEcgHere)
      expect(await label.getAttribute('aria-label')).not.toMatch(/Loading|Could not/)
      await page.waitForSelector('.state-line >> text=not known yet', { state: 'detached' })
    })

    withFlutter(`the patient’s page shows the flutter on the ECG, and the finding is signed ${needed}`, async () => {
      const { page } = reader
      await openFirstAlarm()
      await reader.until(isEcgHere)
      // The ECG and the findings in it come one by one.
      await page.waitForSelector('.ecg canvas[aria-label*="Ventricular"], .ecg canvas[aria-label*="flutter"]')
      await page.waitForSelector('.news2-total')
      await page.waitForSelector('.trend canvas')
      await reader.picture('doctor-patient')
      await page.screenshot({ path: `${pictureFolder}doctor-readme.png` })
      expect(await reader.accessibilityFindings()).toEqual([])
      // Her alarm is taken in hand where it was looked at, and given back.
      await page.keyboard.press('a')
      await page.waitForSelector('main > .notice.good')
      expect((await alarms()).filter(({ acknowledgedBy }) => acknowledgedBy === 'doctor-a')).toHaveLength(1)
      await page.keyboard.press('u')
      await eventually('the alarm given back', async () =>
        (await alarms()).every(({ acknowledgedBy }) => acknowledgedBy === null) ? true : undefined,
      )
      // From a finding further down, the ECG is brought into sight and takes the keyboard.
      await page.keyboard.press('End')
      await page.locator('.finding button.link').last().click()
      await reader.until(`document.activeElement?.tagName === 'CANVAS'`)
      const box = await page.locator('.ecg canvas').boundingBox()
      expect(box?.y).toBeGreaterThanOrEqual(0)
      expect(box?.y).toBeLessThan(800)
      const before = (await diagnoses()).filter(({ status }) => status === 'signed').length
      await page.locator('.diagnosis button.primary').first().click()
      await page.waitForSelector('dialog[open]')
      await reader.picture('doctor-sign')
      // Twice, as a nervous hand does: it is signed once.
      await page.locator('dialog button.primary').dblclick()
      await page.waitForSelector('.status-signed')
      await page.waitForSelector('dialog', { state: 'detached' })
      const after = await diagnoses()
      expect(after.filter(({ status }) => status === 'signed')).toHaveLength(before + 1)
      await page.waitForSelector('.card .notice.good >> text=on record')
    })

    test('the viewer is moved with the keyboard alone, and measures', async () => {
      const { page } = reader
      await openFirstAlarm()
      await reader.until(isEcgHere)
      const canvas = page.locator('.ecg canvas')
      await canvas.focus()
      const label = (): Promise<string | null> => canvas.getAttribute('aria-label')
      const began = await label()
      await page.keyboard.press('Home')
      await reader.until(
        `document.querySelector('.ecg canvas')?.getAttribute('aria-label') !== ${JSON.stringify(began)}`,
      )
      await page.keyboard.press('-')
      expect(await page.locator('.ecg-choice select').first().inputValue()).toBe('12.5')
      await page.keyboard.press('+')
      await page.keyboard.press('c')
      await page.keyboard.press('ArrowRight')
      expect(await page.locator('.ecg-reading').textContent()).toMatch(/810 ms · 74\/min/)
      await page.keyboard.press('Escape')
      expect(await page.locator('.ecg-reading').textContent()).toBe('')
      // Where no finding was asked for, the first one is the next.
      await page.evaluate(`location.hash = location.hash.split('?')[0]`)
      await reader.until(`!location.hash.includes('at=')`)
      await canvas.focus()
      await page.keyboard.press('n')
      await reader.until(`location.hash.includes('at=')`)
    })

    test('a name of any script is the doctor’s own, and is never more than a name', async () => {
      const { page } = reader
      const hostile = `<img src=x onerror="document.title='owned'"> Zoë مريم`
      await openFirstAlarm()
      // A first try may have given it.
      await page.getByRole('button', { name: /^(Give a|Change the) name$/ }).click()
      await page.locator('dialog input').fill(hostile)
      await page.locator('dialog button.primary').click()
      await reader.until(`document.querySelector('h1')?.textContent === ${JSON.stringify(hostile)}`)
      expect(await page.locator('main img').count()).toBe(0)
      await page.keyboard.press('w')
      await page.waitForSelector('.worklist')
      await page.locator('.alarm .patient', { hasText: hostile }).first().waitFor()
      expect(await page.title()).not.toBe('owned')
      expect(reader.complaints).toEqual([])
    })

    test('the chart is printed whole, with the names of its signs, on one sheet', async () => {
      const { page } = reader
      await openPatient(page, 'Zoë')
      await page.waitForSelector('.news2-total')
      await page.emulateMedia({ media: 'print' })
      await page.setViewportSize({ width: 702, height: 1_000 })
      const box = await page.locator('.news2').boundingBox()
      if (box === null) throw new Error('there is no chart')
      expect(box.x).toBeGreaterThanOrEqual(0)
      expect(box.x + box.width).toBeLessThanOrEqual(702)
      expect(box.height).toBeLessThan(1_000)
      await page.setViewportSize({ width: 1_280, height: 800 })
      await page.emulateMedia({ media: null })
    })

    test('the ECG that is seen is printed whole, in true millimetres, on light paper by night too', async () => {
      const { page } = reader
      await openPatient(page, 'Zoë')
      await reader.until(isEcgHere)
      await page.waitForSelector('.trend canvas')
      await page.emulateMedia({ media: 'screen', colorScheme: 'dark' })
      // A browser prints what stands when its event has been told: the page is still that of a dark screen then.
      await page.evaluate(`dispatchEvent(new Event('beforeprint'))`)
      await page.emulateMedia({ media: 'print', colorScheme: 'dark' })
      await page.setViewportSize({ width: 702, height: 1_000 })
      const printed = await page.evaluate<{ lines: { right: number; mm: number; corner: number }[]; seen: string[] }>(`
        ({
          lines: [...document.querySelectorAll('.ecg-printed canvas')].map((canvas) => ({
            right: canvas.getBoundingClientRect().right,
            mm: (canvas.getBoundingClientRect().width * 25.4) / 96,
            corner: canvas.getContext('2d').getImageData(1, 1, 1, 1).data[0],
          })),
          seen: [...document.querySelectorAll('.ecg-box, .ecg-printed, .ecg-tools')]
            .filter((element) => element.checkVisibility())
            .map(({ className }) => className),
        })
      `)
      expect(printed.seen).toEqual(['ecg-printed'])
      expect(printed.lines.length).toBeGreaterThan(0)
      for (const { right, mm, corner } of printed.lines) {
        expect(right).toBeLessThanOrEqual(702)
        expect(mm).toBeCloseTo(175, 1)
        expect(corner).toBeGreaterThan(200)
      }
      const charts = `[...document.querySelectorAll('.trend-box canvas')].map((canvas) => canvas.getBoundingClientRect().right)`
      for (const right of await page.evaluate<number[]>(charts)) expect(right).toBeLessThanOrEqual(702)
      await page.evaluate(`dispatchEvent(new Event('afterprint'))`)
      await page.emulateMedia({ media: null, colorScheme: 'light' })
      await page.setViewportSize({ width: 1_280, height: 800 })
      await page.waitForSelector('.ecg-box canvas')
      await page.waitForSelector('.ecg-printed', { state: 'detached' })
    })

    test('a diagnosis is printed with its strip, and handed on as FHIR', async () => {
      const { page } = reader
      await openPatient(page, 'Zoë')
      await page.waitForSelector('.diagnosis')
      const download = page.waitForEvent('download')
      await page.getByRole('button', { name: 'Download as FHIR' }).first().click()
      const path = await (await download).path()
      expect(JSON.parse(readFileSync(path, 'utf8'))).toMatchObject({ resourceType: 'Bundle' })
      await page.getByRole('link', { name: 'Print' }).last().click()
      await page.waitForSelector('.sheet')
      if (hasFlutter) await page.waitForSelector('.ecg-strip')
      await page.emulateMedia({ media: 'print' })
      await reader.picture('doctor-print')
      // As wide as A4 between its margins: the strip is whole, and all of it lies on one page.
      await page.setViewportSize({ width: 702, height: 1_000 })
      const hidden = `[...document.querySelectorAll('.ecg-strip-box')].map((box) => box.scrollWidth - box.clientWidth)`
      for (const px of await page.evaluate<number[]>(hidden)) expect(px).toBe(0)
      const pdf = await page.pdf({ path: `${pictureFolder}doctor-print.pdf`, preferCSSPageSize: true, format: 'A4' })
      expect(pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)).toHaveLength(1)
      await page.setViewportSize({ width: 1_280, height: 800 })
      await page.emulateMedia({ media: null })
      expect(await reader.accessibilityFindings()).toEqual([])
    })

    byHand(ward)
    describe.skipIf(!hasFlutter)(needed, () => {
      twoTabs(ward)
      keysAlone(ward)
    })

    test('every screen reads well in the dark, on a phone, and in German', async () => {
      const narrow = await PortalReader.openAs(cluster, doctor, {
        width: 360,
        height: 740,
        colours: 'dark',
        language: 'de-DE',
      })
      try {
        await narrow.page.waitForSelector('.worklist .alarm')
        for (const [place, name, selector] of [
          ['#/', 'worklist', '.worklist'],
          ['#/patients', 'patients', 'table'],
          ['#/refused', 'refused', 'h1'],
          ['#/unread', 'unread', 'h1'],
          ['#/security', 'security', '.narrow'],
        ] as const) {
          await narrow.goTo(place)
          await narrow.page.waitForSelector(selector)
          await narrow.until(`document.querySelector('.waiting') === null`)
          await narrow.picture(`doctor-${name}-dark-360`)
          expect(await narrow.accessibilityFindings()).toEqual([])
          const overflow = await narrow.page.evaluate(`document.documentElement.scrollWidth - innerWidth`)
          expect(overflow, `${name} is wider than the screen`).toBeLessThanOrEqual(0)
        }
        await narrow.page.evaluate(`location.hash = '#/patients'`)
        await narrow.page.locator('tbody a').first().click()
        await narrow.page.waitForSelector('.news2-total, .diagnosis')
        await narrow.page.waitForSelector('.finding')
        // What the program found is said in the reader's language; what is on record is one step away.
        expect(await narrow.page.locator('.finding p').first().textContent()).toMatch(/während|bis|von|in \d/)
        await narrow.page.locator('.as-written summary').first().click()
        expect(await narrow.page.locator('.as-written [lang=en]').first().textContent()).toMatch(
          / for | within | in one |NEWS2 up to/,
        )
        await narrow.picture('doctor-patient-dark-360')
        expect(await narrow.accessibilityFindings()).toEqual([])
        // The same page on the wall of a ward.
        await narrow.page.setViewportSize({ width: 2560, height: 1440 })
        await narrow.until(`document.documentElement.scrollWidth <= innerWidth`)
        await narrow.page.evaluate(`location.hash = '#/'`)
        await narrow.page.waitForSelector('.worklist .alarm')
        await narrow.until(`document.documentElement.scrollWidth <= innerWidth`)
        await narrow.picture('doctor-worklist-wall')
        expect(await narrow.accessibilityFindings()).toEqual([])
        expect(narrow.complaints).toEqual([])
      } finally {
        await narrow.close()
      }
    })

    test('a draft outlives the session, and a lost line is said', async () => {
      const { page } = reader
      await openPatient(page, 'Zoë')
      const before = await page.locator('.status-corrected').count()
      const correct = page.getByRole('button', { name: 'Correct' }).first()
      await correct.click()
      await page.locator('dialog textarea').fill('Looks like artefact in lead II.')
      // The session ends elsewhere, for example after a restart of the node.
      await cluster.kill('doctor-a')
      await page.waitForSelector('.banner.late')
      await reader.picture('doctor-line-lost')
      await loseRecord(ward(), 'bob')
      await cluster.restart('doctor-a')
      // The page may have learnt of it by itself: then there is nothing left to press.
      await page
        .locator('dialog button.primary')
        .click({ timeout: 1_000 })
        .catch(() => {})
      await page.waitForSelector('input[name=passphrase]')
      // The node is there, and hears nothing itself: every screen says since when, until it does.
      const banner = page.locator('.banner.bad >> text=not heard from the ledger since 1 May 2026, 10:00 CEST')
      await page.route('**/v1/standing', (route) =>
        route.fulfill({ json: { ledgerAt: '2026-05-01T08:00:00Z', isLedgerLate: true, unreadSince: null } }),
      )
      await reader.logIn('doctor-a', cluster.passphrase('doctor-a'))
      await banner.waitFor()
      await reader.picture('doctor-cut-off')
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.unroute('**/v1/standing')
      await banner.waitFor({ state: 'detached' })
      await correct.click()
      expect(await page.locator('dialog textarea').inputValue()).toBe('Looks like artefact in lead II.')
      await page.locator('dialog button.primary').click()
      await reader.until(`document.querySelectorAll('.status-corrected').length > ${before}`)
    })

    restartWhileSigning(ward)

    test('a second factor is turned on with its QR code, and asked for at the next login', async () => {
      const { page } = reader
      await page.evaluate(`location.hash = '#/security'`)
      await page.getByRole('button', { name: 'Set up an app' }).click()
      await page.waitForSelector('svg[role=img]')
      await reader.picture('doctor-second-factor')
      expect(await reader.accessibilityFindings()).toEqual([])
      const text = ((await page.locator('code.secret').textContent()) ?? '').replaceAll(' ', '')
      const bits = [...text]
        .map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0'))
        .join('')
      const secret = Uint8Array.from(bits.match(/.{8}/g) as string[], (byte) => Number.parseInt(byte, 2))
      const codeOf = (step: number): string => totpOf(secret, Math.floor(Date.now() / 30_000) + step)
      await page.fill('input[name=code]', '000000')
      await page.locator('.narrow button.primary').first().click()
      await page.waitForSelector('.narrow [role=alert]')
      // A code is good once, also the one that showed that the phone has the secret.
      await confirmCode(page, '.narrow button.primary', () => codeOf(-1))
      await page.getByText('Turn the app off').waitFor()
      await page.click('.who button')
      await page.fill('input[name=name]', 'doctor-a')
      await page.fill('input[name=passphrase]', cluster.passphrase('doctor-a'))
      await page.click('button[type=submit]')
      await page.waitForSelector('input[name=code]')
      await page.fill('input[name=code]', codeOf(0))
      await page.click('button[type=submit]')
      await page.getByText('Turn the app off').click()
      // A code is good once: the next step's is within the drift.
      await page.fill('input[name=code]', codeOf(1))
      await page.locator('.narrow button.danger').click()
      await page.getByRole('button', { name: 'Set up an app' }).waitFor()
    })

    describe.skipIf(!hasFlutter)(needed, () => refused(ward))
  },
)
