/** The patient's story in a browser: grant, stream, diagnosis, revocation with its proofs, refusal. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { verifyFile } from '@healthblock/verify/verify'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { projectRoot } from '../../cli/src/cluster/root.ts'
import { writeVitals } from '../../cli/src/demo/record.ts'
import { totpOf } from '../../packages/runtime/src/portal/totp.ts'
import { eventually, hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { writeRecord } from '../support/record.ts'
import { hasChromium, PortalReader, recoverAfterFailure } from './browser.ts'

const realRecord = join(projectRoot, '..', 'shared', 'data', 'mitdb', '203')
const isReal = existsSync(`${realRecord}.hea`)
/** A name in any script, with what would break out of markup and out of its line. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: that is the hostile part
const hostileName = 'Dr. <b onmouseover=alert(1)>Åse</b> \u202eنور "& ${x} 👩🏽‍⚕️'

function fromBase32(text: string): Uint8Array {
  const bits = [...text].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  return Uint8Array.from(bits.match(/.{8}/g) as string[], (byte) => Number.parseInt(byte, 2))
}

describe.skipIf(!hasChromium || !hasRedis)(
  "the patient's portal (needs Chromium and Redis)",
  { timeout: storyMs },
  () => {
    let cluster: TestCluster
    let reader: PortalReader
    let secret: Uint8Array
    let vitals = ''
    let isWhole = false

    beforeAll(async () => {
      cluster = await TestCluster.start({ doctors: 1, patients: ['ann', 'bob'], periodMs: 2_000 })
      reader = await PortalReader.open(cluster.url('user'))
    }, storyMs)

    afterAll(async () => {
      await reader?.close(isWhole ? undefined : 'patient')
      await cluster?.remove()
    }, hangMs)

    recoverAfterFailure(() => reader.recover(cluster, { node: 'user', name: 'ann' }))

    const passphraseOf = (name: string): string =>
      readFileSync(clusterPaths.passphrase(cluster.dir, name), 'utf8').trim()
    const shownText = (): Promise<string> => reader.page.innerText('main')

    async function go(place: string): Promise<void> {
      await reader.page.click(`nav a[href="#/${place}"]`)
      await reader.page.waitForSelector(`nav a[href="#/${place}"][aria-current=page]`)
    }

    /** Waits until so many of a kind are shown. */
    async function count(selector: string, wanted: number): Promise<void> {
      await expect.poll(() => reader.page.locator(selector).count()).toBe(wanted)
    }

    async function look(name: string): Promise<void> {
      await reader.picture(name)
      expect(await reader.accessibilityFindings()).toEqual([])
    }

    test('begins with nobody, and the recovery phrase to be written down and rehearsed', async () => {
      const { page } = reader
      await reader.logIn('ann', passphraseOf('ann'))
      await page.waitForSelector('text=Nobody but you can read your data.')
      await look('patient-empty')
      await page.click('text=Do it now')
      await page.fill('input[name=passphrase]', 'not the passphrase')
      await page.click('text=Show the 24 words')
      await page.waitForSelector('text=The passphrase is wrong.')
      await page.fill('input[name=passphrase]', passphraseOf('ann'))
      await page.click('text=Show the 24 words')
      await page.waitForSelector('.phrase li')
      const words = (await page.locator('.phrase li').allInnerTexts()).map((text) => text.trim())
      expect(words).toHaveLength(24)
      await look('patient-phrase')
      await page.click('text=I have written them down')
      const answer = async (wordOf: (position: number) => string): Promise<void> => {
        await page.waitForSelector('input[name^=word-]')
        for (const input of await page.locator('input[name^=word-]').all()) {
          const position = Number((await input.getAttribute('name'))?.slice('word-'.length))
          await input.fill(wordOf(position))
        }
        await page.click('text=Check')
      }
      await answer(() => 'zebra')
      await page.waitForSelector('text=Those are not the words.')
      expect(await page.locator('.phrase').count()).toBe(0)
      await answer((position) => words[position - 1] as string)
      await page.waitForSelector('text=It is shown no more.')
    })

    test('sets up a second factor with a QR code', async () => {
      const { page } = reader
      await page.click('text=Set up an app')
      await page.click('text=Type it in by hand instead')
      secret = fromBase32((await page.innerText('.secret')).replaceAll(' ', ''))
      await look('patient-factor')
      await page.fill('input[name=code]', totpOf(secret, Math.floor(Date.now() / 30_000)))
      await page.click('button:text-is("Turn it on")')
      await page.waitForSelector('text=giving access needs your key or your phone as well')
    })

    test('gives a doctor access in four steps', async () => {
      const { page } = reader
      await go('')
      await page.click('a:has-text("Give access")')
      await page.fill('input[type=search]', 'nobody of this name')
      await page.waitForSelector('text=Nobody of that name is in the directory.')
      await page.fill('input[type=search]', 'DOCTOR')
      await page.waitForSelector('.found')
      await look('patient-give-1-who')
      await page.click('.found button')
      await count('.six li', 6)
      expect(await page.isDisabled('button[type=submit]')).toBe(true)
      await page.fill('input[name=petname]', hostileName)
      await page.check('input[type=checkbox]')
      await look('patient-give-2-words')
      await page.click('button[type=submit]')
      await page.check('input[name=end][value=year]')
      await page.uncheck('input[name=records]')
      await look('patient-give-3-what')
      // Back and forth loses nothing, and neither does a session that ends in the middle.
      await page.goBack()
      expect(await page.inputValue('input[name=petname]')).toBe(hostileName)
      await page.goForward()
      await page.click('button:text-is("Lock")')
      await reader.logIn('ann', passphraseOf('ann'))
      expect(await page.isChecked('input[name=end][value=year]')).toBe(true)
      await page.click('button[type=submit]')
      await page.waitForSelector('.exposure li')
      expect(await shownText()).toContain(
        'Heart (ECG): nothing that was measured so far, and everything that is measured until',
      )
      await look('patient-give-4-sure')
      await page.fill('input[name=code]', '000000')
      await page.click('button[type=submit]')
      await page.waitForSelector('text=A code is good once')
      await page.fill('input[name=code]', totpOf(secret, Math.floor(Date.now() / 30_000) + 1))
      await page.dblclick('button[type=submit]')
      await page.waitForSelector('text=One person can read you now')
      // Pressed twice, given once.
      expect(await cluster.ok('patient', 'grants', 'ann')).toHaveLength(1)
      expect(await page.innerText('.reader h2')).toBe(`\u2068${hostileName.replace('\u202e', '')}\u2069`)
    })

    test('her readings travel, and what was found in them comes back', async () => {
      const { page } = reader
      const record = isReal ? realRecord : await writeRecord(cluster.root, { seconds: 120, rhythm: 'irregular' })
      const stream = (path: string, to: string): Promise<unknown> =>
        cluster.ok(...['patient', 'stream', 'ann', '--record', path, '--to', to, '--speed', 'max', '--wait'])
      await stream(record, '90')
      vitals = (await writeVitals(join(cluster.root, 'vitals'))).path
      await stream(vitals, '60')
      // What comes later would be counted below, and stand where something else stood.
      await cluster.judged('doctor-a')
      await eventually('every diagnosis at the patient', async () => {
        const said = await cluster.ok<unknown[]>('doctor', 'diagnoses', 'doctor-a')
        const heard = await cluster.ok<unknown[]>('patient', 'diagnoses', 'ann')
        return said.length === heard.length ? true : undefined
      })
      await go('findings')
      await page.waitForSelector('.finding')
      await go('')
    })

    test.skipIf(!isReal)(
      'sees her heart and what the doctor found, with the stretch that it rests on (needs MIT-BIH record 203)',
      async () => {
        const { page } = reader
        await go('findings')
        await page.waitForSelector('.alarm')
        const before = await page.locator('.alarm').count()
        await page.locator('.alarm button').first().click()
        await count('.alarm', before - 1)
        await page
          .locator('.finding:has-text("Show the heart trace") details')
          .first()
          .locator('summary')
          .first()
          .click()
        await page.waitForSelector('.finding canvas')
        await count('[aria-busy=true]', 0)
        await page.locator('.finding').first().locator('text=Show the proof').click()
        await page.waitForSelector('.finding .proof-steps li')
        await look('patient-findings')
        await page.locator('text=For printing').first().click()
        await page.waitForSelector('.paper')
        await look('patient-finding-paper')
        // What is older than two minutes is not shown as live: on a slow machine the first stretch is.
        await cluster.ok(
          ...['patient', 'stream', 'ann', '--record', realRecord, '--from', '90', '--to', '100'],
          ...['--speed', 'max', '--wait'],
        )
        await go('heart')
        await page.waitForSelector('.ecg canvas')
        await page.waitForSelector('text=This picture is')
        await page.waitForSelector('.tiles li')
        await page.waitForSelector('.trend canvas')
        await look('patient-heart')
        await go('')
        await page.waitForSelector('text=/Last looked at: (Heart .ECG.|Vital signs)/')
        await look('patient-access')
      },
    )

    test('her findings come page by page, each once', async () => {
      interface Page {
        readonly diagnoses: readonly { readonly transactionId: string }[]
        readonly next: string | null
      }
      const ask = async (query: string): Promise<Page> => {
        const answer = await reader.page.request.get(`${cluster.url('user')}/v1/people/ann/diagnoses?${query}`)
        return (await answer.json()) as Page
      }
      const readPaged = async (): Promise<Page['diagnoses']> => {
        const paged: Page['diagnoses'][number][] = []
        let before = ''
        for (;;) {
          const { diagnoses, next } = await ask(`limit=2${before}`)
          paged.unshift(...diagnoses)
          if (next === null) return paged
          before = `&before=${next}`
        }
      }
      // The doctor still works: what came while the pages were read is in one reading and not in the other.
      const read = await eventually('two diagnoses or more, and no new one', async () => {
        const { diagnoses } = await ask('limit=1000')
        const paged = await readPaged()
        const { diagnoses: after } = await ask('limit=1000')
        return diagnoses.length > 1 && after.length === diagnoses.length ? { diagnoses, paged } : undefined
      })
      expect(read.paged).toEqual(read.diagnoses)
    })

    test('revokes: three ticks become true with their proofs checked here, and then all is refused', async () => {
      const { page } = reader
      await page.click('button:has-text("Revoke")')
      await page.waitForSelector('dialog .exposure li')
      await look('patient-revoke')
      await page.dblclick('dialog button.danger')
      await page.waitForSelector('.ticks')
      await count('.tick.true', 3)
      for (const proof of await page.locator('.tick details summary:not(.proof summary)').all()) await proof.click()
      await count('.tick .proof-steps', 2)
      expect(await shownText()).toMatch(/The ledger of findings counts with it from block \d+ on: [34] of 4 nodes/)
      expect(await shownText()).toContain('A copy may have been kept: nobody can take that back.')
      await look('patient-revoked')
      const [download] = await Promise.all([page.waitForEvent('download'), page.click('text=Download the receipt')])
      const genesis = new Uint8Array(readFileSync(clusterPaths.genesis(cluster.dir)))
      const receipt = new Uint8Array(readFileSync(await download.path()))
      expect(verifyFile(receipt, { genesis })).toMatchObject({ kind: 'revocation', trust: 'pinned' })
      await page.click('text=Receipt for printing')
      await page.waitForSelector('svg.qr')
      await page.waitForSelector('.paper >> text=/^The access of .+ is ended$/')
      await look('patient-receipt')
      const readings = await cluster.ok<{ stream: string; sequence: number }[]>('patient', 'readings', 'ann')
      const input = `${readings.at(-1)?.stream}:${readings.at(-1)?.sequence}`
      const text = join(cluster.root, 'text')
      writeFileSync(text, 'late')
      const post = await cluster.run('doctor', 'post', 'doctor-a', 'ann', '--in', input, '--text', text)
      expect(post).toMatchObject({ code: 1, value: { refused: expect.anything() } })
      await cluster.ok('patient', 'stream', 'ann', '--record', vitals, '--to', '20', '--speed', 'max', '--wait')
      await goAndSeeTheStranger()
      await go('')
      await page.waitForSelector('text=Nobody can read you now')
      await page.click('text=Access that has ended (1)')
      await page.click('text=What happened')
      await count('.tick.true', 3)
    })

    /** The ex-doctor fetches what is no longer hers: the storage nodes tell, and the patient is alarmed. */
    async function goAndSeeTheStranger(): Promise<void> {
      const { page } = reader
      const apiSecret = readFileSync(join(cluster.node('doctor-a'), 'secrets', 'api.secret'), 'utf8').trim()
      const account = cluster.file.patients.find(({ name }) => name === 'ann')?.account
      await expect
        .poll(async () => {
          const answer = await fetch(`${cluster.url('doctor-a')}/v1/experiments/decrypt`, {
            method: 'POST',
            headers: { authorization: `Bearer ${apiSecret}`, 'content-type': 'application/json' },
            body: JSON.stringify({ patient: account }),
          })
          return (await answer.json()) as unknown
        }, {})
        .toMatchObject({ refused: true, evidence: { fetched: true } })
      await go('')
      await page.waitForSelector('.alarms >> text=fetched data of yours without access to it')
      await look('patient-stranger')
      await page.click('.alarms >> text=What exactly')
      await page.waitForSelector('.entry-look.none')
      await page.waitForSelector('.entry-look.granted')
      await look('patient-looks')
      await go('')
      await page.click('.alarms button')
      await count('.alarms', 0)
    }

    test('every screen says since when the node hears nothing of the ledger, or cannot store what it records', async () => {
      const { page } = reader
      const calm = { ledgerAt: '2026-05-01T08:00:00Z', isLedgerLate: false, unstoredSince: null }
      let standing: object = calm
      await page.route('**/standing', (route) => route.fulfill({ json: standing }))
      const banner = page.locator('.banner.bad')
      for (const [what, words] of [
        [{ ...calm, isLedgerLate: true }, 'Your node has not heard from the ledger since 1 May 2026, 10:00 CEST'],
        [{ ...calm, unstoredSince: '2026-05-01T08:00:00Z' }, 'your readings cannot be handed to the stores'],
      ] as const) {
        standing = what
        await page.reload()
        await banner.locator(`text=${words}`).waitFor()
        await look('patient-cut-off')
      }
      standing = calm
      await banner.waitFor({ state: 'detached' })
      await page.unroute('**/standing')
    })

    test('a forged receipt makes no tick true', async () => {
      const { page } = reader
      await page.route('**/receipts/*', async (route) => {
        const answer = await route.fetch()
        const body = (await answer.text()).replace(/(index )(\d)/, (_, word, digit) => `${word}${9 - Number(digit)}`)
        await route.fulfill({ response: answer, body })
      })
      await page.reload()
      await count('.tick.false', 2)
      await count('.tick.true', 1)
      await page.unroute('**/receipts/*')
    })

    test('shows everything that happened, and the devices; in German, dark, and on a small phone', async () => {
      const { page } = reader
      await go('timeline')
      await page.waitForSelector('.entry')
      await page.click('.filters button:has-text("Access")')
      await page.waitForSelector('.entry.ended')
      expect(await shownText()).toContain('Access given to ')
      await page.locator('.entry button').first().click()
      await page.waitForSelector('dialog .proof-steps')
      await look('patient-timeline')
      await page.keyboard.press('Escape')
      await go('devices')
      await page.locator('[role=switch]').first().click()
      await page.waitForSelector('text=Watched since')
      await look('patient-devices')
      await page.locator('[role=switch]').first().click()
      await count('[aria-checked=true]', 0)
      await page.setViewportSize({ width: 360, height: 740 })
      await page.emulateMedia({ colorScheme: 'dark' })
      await page.click('button:text-is("View")')
      await page.selectOption('.preferences select', 'de')
      for (const place of ['', 'heart', 'findings', 'devices', 'timeline', 'safety']) {
        await go(place)
        await page.waitForSelector('main h1')
        await count('.waiting', 0)
        await look(`patient-small-${place === '' ? 'access' : place}`)
        expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(360)
        expect(await shownText()).not.toMatch(/patient\.[a-z]/)
      }
      await page.setViewportSize({ width: 2560, height: 1440 })
      for (const place of ['', 'heart']) {
        await go(place)
        await page.waitForSelector('main h1')
        await count('.waiting', 0)
        await look(`patient-wall-${place === '' ? 'access' : place}`)
        expect(await page.evaluate<number>('document.documentElement.scrollWidth')).toBeLessThanOrEqual(2560)
      }
      await page.setViewportSize({ width: 360, height: 740 })
    })

    test('another member of the house sees nothing of it', async () => {
      const { page } = reader
      await page.selectOption('.preferences select', 'en')
      await page.click('button:text-is("Lock")')
      await reader.logIn('bob', passphraseOf('bob'))
      await go('')
      await page.waitForSelector('text=Nobody but you can read your data.')
      await go('findings')
      await page.waitForSelector('text=Nothing was found yet.')
      await page.goto(`${cluster.url('user')}/#/give/sure`)
      await page.waitForSelector('text=Who is to be able to read you?')
      expect(await page.content()).not.toContain('نور')
      // Nor by asking for her by name, or for one of her entries, with his own session.
      const origin = cluster.url('user')
      const ids = await cluster.ok<{ transactionId: string }[]>('patient', 'diagnoses', 'ann')
      for (const path of ['ann/grants', 'ann/looks', 'ann/second-factor', `ann/receipts/${ids[0]?.transactionId}`])
        expect((await page.request.get(`${origin}/v1/people/${path}`)).status(), path).toBe(403)
      for (const path of [`bob/diagnoses/${ids[0]?.transactionId}`, `bob/receipts/${ids[0]?.transactionId}`])
        expect((await page.request.get(`${origin}/v1/people/${path}`)).status(), path).toBe(404)
      expect(reader.complaints).toEqual([])
      isWhole = true
    })
  },
)
