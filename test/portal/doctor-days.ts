/** Bad days of a doctor, on the cluster that her story runs on: two tabs, a wrong clock, a node that ends while she signs, what is refused and what cannot be read. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fromHex } from '@healthblock/encoding/bytes'
import type { Page } from 'playwright-core'
import { expect, test } from 'vitest'
import { flipStoredBlock } from '../../cli/src/demo/tamper-step.ts'
import type { TestCluster } from '../support/cluster.ts'
import { PortalReader, pictureFolder } from './browser.ts'

/** What the tests share: the cluster, the doctor in front of her screen, and a record of calm ECG. */
export interface Ward {
  readonly cluster: TestCluster
  readonly reader: PortalReader
  readonly record: string
}

interface Diagnosis {
  readonly transactionId: string
  readonly status: string
  readonly text?: string
  readonly amendments: readonly { readonly act: string }[]
}

/** A name, a text, a correction as nobody means well. */
export const hostile = `<img src=x onerror="document.title='owned'"> Zoë مريم {count} \u202e`

const waitingMs = 60_000

/** Opens the page of the patient whose name or code this is. */
export async function openPatient(page: Page, name: string | RegExp): Promise<void> {
  await page.evaluate(`location.hash = '#/patients'`)
  await page.locator('tbody a', { hasText: name }).first().click()
  await page.waitForSelector('.state-line')
}

function diagnosesOf({ cluster }: Ward): Promise<Diagnosis[]> {
  return cluster.ok<Diagnosis[]>('doctor', 'diagnoses', 'doctor-a')
}

/** Two tabs of one doctor, the second on a computer whose clock is wrong by hours. */
export function twoTabs(ward: () => Ward): void {
  test('a second tab learns what the first did, counts by the node’s clock, and is told when it comes too late', async () => {
    const { reader, cluster } = ward()
    const { page, context } = reader
    await reader.goTo('#/')
    await page.waitForSelector('.worklist .alarm')
    const second = await context.newPage()
    await second.clock.setSystemTime(Date.now() - 3 * 3_600_000)
    await second.goto(cluster.url('doctor-a'))
    await second.waitForSelector('.worklist .alarm')
    for (const ago of await second.locator('.alarm-when time').allTextContents())
      expect(ago).toMatch(/^(now|\d+ (second|minute)s? ago)$/)
    await page.keyboard.press('j')
    await page.keyboard.press('e')
    await second.waitForSelector('.alarm.is-escalated')
    await page.waitForSelector('.alarm.is-escalated')
    await page.keyboard.press('u')
    await second.waitForSelector('.alarm.is-escalated', { state: 'detached' })
    await page.waitForSelector('.notice.good >> text=Taken back')
    await page.waitForSelector('.alarm.is-escalated', { state: 'detached' })
    // The first tab hears nothing for a while, and acts on what it still shows.
    await page.route('**/v1/alarms?open=true', (route) => route.abort())
    const last = await page.locator('.alarm.is-open [data-alarm]').last().getAttribute('data-alarm')
    const row = `.alarm:has([data-alarm="${last}"])`
    await second.locator(row).getByRole('button', { name: 'Acknowledge' }).click()
    await second.waitForSelector('.notice.good >> text=Acknowledged')
    await page.locator(row).getByRole('button', { name: 'Snooze' }).click()
    await page.getByRole('button', { name: '5 min', exact: true }).click()
    await page.waitForSelector('.notice.bad >> text=somebody else has it in hand')
    await page.unroute('**/v1/alarms?open=true')
    await second.locator('.notice.good button').click()
    await second.waitForSelector('.notice.good >> text=Taken back')
    // What she had chosen is taken by the other tab meanwhile: her key is done to no other row.
    const inHand = async (): Promise<number> => {
      const answer = await page.request.get(`${cluster.url('doctor-a')}/v1/alarms`)
      const alarms = (await answer.json()) as { acknowledgedBy: string | null }[]
      return alarms.filter(({ acknowledgedBy }) => acknowledgedBy !== null).length
    }
    const before = await inHand()
    await page.keyboard.press('j')
    const chosen = await page.evaluate<string>(`document.activeElement.dataset.alarm`)
    const open = `.alarm.is-open:has([data-alarm="${chosen}"])`
    await second.locator(open).getByRole('button', { name: 'Acknowledge' }).click()
    await page.waitForSelector(open, { state: 'detached' })
    await page.keyboard.press('a')
    await reader.until(`document.activeElement.closest('.alarm') !== null`)
    expect(await inHand()).toBe(before + 1)
    await second.waitForSelector('.notice.good >> text=Acknowledged')
    await second.locator('.notice.good button').click()
    await second.waitForSelector('.notice.good >> text=Taken back')
    await second.close()
  })
}

/** A diagnosis in the doctor's own words, on paper as well. */
export function byHand(ward: () => Ward): void {
  test('a diagnosis by hand goes on record as it was typed, and is printed on one page', async () => {
    const { reader } = ward()
    const { page } = reader
    await openPatient(page, 'Zoë')
    await page.waitForSelector('.ecg canvas')
    await page.getByRole('button', { name: 'Write a diagnosis' }).click()
    await page.locator('dialog button.primary').click()
    await page.waitForSelector('dialog >> text=Write something first')
    await page.locator('dialog textarea').fill(hostile)
    await page.locator('dialog button.primary').dblclick()
    await page.waitForSelector(`.diagnosis .written`)
    expect(await page.locator('.diagnosis .written').first().textContent()).toBe(hostile)
    const written = (await diagnosesOf(ward())).filter(({ text }) => text === hostile)
    expect(written).toHaveLength(1)
    await page.locator('.diagnosis:has(.written)').first().getByRole('link', { name: 'Print' }).click()
    await page.waitForSelector('.sheet .written')
    await page.waitForSelector('.sheet svg[role=img]')
    const pdf = await page.pdf({ path: `${pictureFolder}doctor-by-hand.pdf`, format: 'A4' })
    expect(pdf.toString('latin1').match(/\/Type\s*\/Page\b/g)).toHaveLength(1)
    expect(await page.title()).not.toBe('owned')
    await page.goBack()
  })
}

/** Presses Tab until the focus is on something that says so. */
async function tabTo(page: Page, words: string): Promise<void> {
  for (let step = 0; step < 60; step++) {
    const focused = await page.evaluate<string>(`document.activeElement?.textContent ?? ''`)
    if (focused === words) return
    await page.keyboard.press('Tab')
  }
  throw new Error(`"${words}" was not reached`)
}

/** A day without a mouse, in the dark, for who wants no motion. */
export function keysAlone(ward: () => Ward): void {
  test('with keys alone, in the dark and without motion: from the door to a signature, live, and out', async () => {
    const { cluster } = ward()
    const reader = await PortalReader.open(cluster.url('doctor-a'), { colours: 'dark', motion: 'reduce' })
    const { page } = reader
    const focusedTag = (): Promise<string> => page.evaluate<string>('document.activeElement.tagName')
    try {
      await page.waitForSelector('input[name=name]')
      await reader.until(`document.activeElement?.name === 'name'`)
      await page.keyboard.type('doctor-a')
      await page.keyboard.press('Tab')
      await page.keyboard.type(cluster.passphrase('doctor-a'))
      await page.keyboard.press('Enter')
      await page.waitForSelector('.worklist .alarm >> text=Zoë')
      const focused = (): Promise<string> =>
        page.evaluate<string>(`document.activeElement?.closest('.alarm')?.textContent ?? ''`)
      for (let row = 0; row < 10 && !(await focused()).includes('Zoë'); row++) await page.keyboard.press('j')
      await page.keyboard.press('Enter')
      await page.waitForSelector('.finding')
      await reader.until(`/[0-9]+ beats/.test(document.querySelector('.ecg canvas')?.getAttribute('aria-label') ?? '')`)
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.keyboard.press('n')
      await reader.until(`document.activeElement.tagName === 'CANVAS'`)
      const speed = page.locator('.ecg-choice select').first()
      await page.keyboard.press('+')
      expect(await speed.inputValue()).toBe('50')
      await page.keyboard.press('-')
      await page.keyboard.press('c')
      expect(await page.locator('.ecg-reading').textContent()).toContain('ms')
      await page.keyboard.press('Escape')
      await page.keyboard.press('Tab')
      expect(await focusedTag()).not.toBe('CANVAS')
      await page.keyboard.press('p')
      await reader.until(`document.activeElement.tagName === 'CANVAS'`)
      await page.keyboard.press('Shift+S')
      await page.waitForSelector('dialog[open]')
      await tabTo(page, 'Cancel')
      await page.keyboard.press('Enter')
      await page.waitForSelector('dialog[open]', { state: 'detached' })
      await page.keyboard.press('a')
      await page.waitForSelector('.notice.good >> text=Acknowledged')
      await page.keyboard.press('u')
      await page.waitForSelector('.notice.good >> text=Taken back')
      await page.evaluate('document.body.focus()')
      await tabTo(page, 'Live')
      await page.keyboard.press('Enter')
      await page.waitForSelector('.ecg-sweep canvas')
      await reader.until(`document.activeElement.className === 'ecg-live-toggle'`)
      await page.waitForSelector('.ecg-age >> text=/./')
      await reader.picture('doctor-live-dark')
      expect(
        await page.evaluate(`document.getAnimations().filter(({ playState }) => playState === 'running').length`),
      ).toBe(0)
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.keyboard.press('Enter')
      await page.waitForSelector('.ecg-place')
      await page.keyboard.press('w')
      await page.waitForSelector('h1:has-text("Worklist")')
      await tabTo(page, 'Lock')
      await page.keyboard.press('Enter')
      await page.waitForSelector('input[name=passphrase]')
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })
}

/** A record of a patient that reaches no doctor: its copies are damaged before anybody reads them. Called while the doctor's node is away. */
export async function loseRecord(ward: Ward, patient: string): Promise<void> {
  const { cluster, record } = ward
  const known = (await cluster.ok<{ cid: string }[]>('patient', 'readings', patient)).map(({ cid }) => cid)
  await cluster.ok('patient', 'stream', patient, '--record', record, '--to', '10', '--speed', 'max', '--wait')
  const readings = await cluster.ok<{ cid: string }[]>('patient', 'readings', patient)
  const lost = readings.map(({ cid }) => cid).filter((cid) => !known.includes(cid))
  expect(lost.length).toBeGreaterThan(0)
  for (const cid of lost)
    for (const node of ['storage-0', 'storage-1', 'storage-2']) flipStoredBlock(cluster.node(node), fromHex(cid))
}

/** A node that ends while something is signed; what was done about alarms is as it was; what no store has is told. */
export function restartWhileSigning(ward: () => Ward): void {
  test('a node that ends while a diagnosis is signed: it is signed once, and alarms are as they were left', async () => {
    const { reader, cluster } = ward()
    const { page } = reader
    await reader.goTo('#/')
    await page.waitForSelector('.worklist .alarm')
    await page.locator('.alarm').first().getByRole('button', { name: 'Escalate' }).click()
    await page.waitForSelector('.alarm.is-escalated')
    await page.locator('.alarm.is-open').last().getByRole('button', { name: 'Snooze' }).click()
    await page.getByRole('button', { name: '15 min' }).click()
    await page.waitForSelector('.alarm.is-snoozed')
    await page.locator('.alarm.is-escalated a').click()
    const card = page.locator('.diagnosis.is-preliminary:has(button.primary)').first()
    const id = (await card.locator('code').textContent()) ?? ''
    const chosen = page.locator('.diagnosis', { has: page.locator(`code:text-is("${id}")`) })
    await card.locator('button.primary').click()
    await page.locator('dialog button.primary').click()
    await cluster.kill('doctor-a')
    // The node ended before its answer, or just after it: then the dialog is closed, and nothing is asked until the node is back.
    await page.waitForSelector('dialog .notice.bad, input[name=passphrase], body:not(:has(dialog))')
    const database = new DatabaseSync(join(cluster.node('doctor-a'), 'node.db'))
    // A store is asked for a minute before its silence is believed: the minute is over.
    database.prepare(`UPDATE record SET failed = failed - ${waitingMs}, due = 0 WHERE state = 'waiting'`).run()
    database.close()
    await cluster.restart('doctor-a')
    await page.waitForSelector('input[name=passphrase]')
    await reader.logIn('doctor-a', cluster.passphrase('doctor-a'))
    // It was on its way, or it was not: signed or not, the page says which, and signing again makes no second signature.
    await cluster.judged('doctor-a')
    const told = async (): Promise<Diagnosis | undefined> =>
      (await diagnosesOf(ward())).find(({ transactionId }) => transactionId === id)
    if ((await told())?.status === 'preliminary') {
      await chosen.locator('button.primary').click()
      await page.locator('dialog button.primary').click()
    }
    await chosen.locator('.status-signed').waitFor()
    expect((await told())?.amendments.map(({ act }) => act)).toEqual(['sign'])
    await page.evaluate(`location.hash = '#/'`)
    await page.waitForSelector('.alarm.is-escalated')
    await page.waitForSelector('.alarm.is-snoozed')
    // No file of the node tells it: the node opened its own diagnoses for it.
    await page.locator('.alarm.is-escalated .alarm-says', { hasText: /\d/ }).waitFor()
    await page.locator('.alarm.is-escalated').getByRole('button', { name: 'Acknowledge' }).click()
    await page.waitForSelector('.notice.good')
    await page.evaluate(`location.hash = '#/unread'`)
    await page.waitForSelector('tbody tr >> text=no storage node has it')
    await reader.picture('doctor-unread')
    expect(await reader.accessibilityFindings()).toEqual([])
  })
}

/** What a doctor writes who has lost her access while she wrote it. */
export function refused(ward: () => Ward): void {
  test('what comes after the patient has ended the access is refused, says so, and is kept on a list', async () => {
    const { reader, cluster } = ward()
    const { page } = reader
    await openPatient(page, 'Zoë')
    await page.locator('.ecg canvas').waitFor()
    await page.getByRole('button', { name: 'Write a diagnosis' }).click()
    await page.locator('dialog textarea').fill('Begun in time, sent too late.')
    await cluster.ok('patient', 'revoke', 'ann', 'doctor-a', '--wait')
    await page.waitForSelector('main > .notice.late')
    expect(await page.locator('main > .notice.late').textContent()).toContain('no access')
    // What lasts is told of nobody who may not be read.
    expect(await page.locator('.state-line > div:nth-child(2)').textContent()).toMatch(/–$/)
    expect(await page.locator('.state-line > .bad').count()).toBe(0)
    await reader.picture('doctor-access-ended')
    await page.locator('dialog button.primary').click()
    await page.waitForSelector('dialog >> text=the patient has ended your access')
    expect(await page.locator('dialog textarea').inputValue()).toBe('Begun in time, sent too late.')
    await page.keyboard.press('Escape')
    await page.evaluate(`location.hash = '#/refused'`)
    await page.waitForSelector('.card >> text=Begun in time, sent too late.')
    expect(await page.locator('.card .notice.bad').first().textContent()).toContain('Access ended')
    await reader.picture('doctor-refused')
    expect(await reader.accessibilityFindings()).toEqual([])
    expect(reader.complaints).toEqual([])
  })
}
