/** The door of each portal, in a real browser against real nodes. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { hangMs, hasRedis, storyMs, TestCluster } from '../support/cluster.ts'
import { hasChromium, PortalReader } from './browser.ts'

const people = [
  { node: 'user', name: 'ann' },
  { node: 'doctor-a', name: 'doctor-a' },
  { node: 'accounting-0', name: 'auditor' },
] as const

vi.setConfig({ testTimeout: storyMs, hookTimeout: storyMs })

describe.skipIf(!hasChromium || !hasRedis)('the door of the portals (needs Chromium and Redis)', () => {
  let cluster: TestCluster

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['ann'] })
  }, storyMs)

  afterAll(() => cluster?.remove(), hangMs)

  function secretOf(name: string): string {
    return readFileSync(clusterPaths.passphrase(cluster.dir, name), 'utf8').trim()
  }

  test.each(people)('$name logs in at $node, stays over a reload, and locks', async ({ node, name }) => {
    const reader = await PortalReader.open(cluster.url(node))
    try {
      const { page } = reader
      await page.fill('input[name=name]', name)
      await page.fill('input[name=passphrase]', 'not the passphrase')
      await page.click('button[type=submit]')
      await page.waitForSelector('[role=alert]')
      expect(await reader.accessibilityFindings()).toEqual([])
      await reader.logIn(name, secretOf(name))
      await page.reload()
      await page.waitForSelector('header.head')
      expect(await page.textContent('.who span')).toBe(name)
      await reader.picture(`door-${name}`)
      await page.evaluate(`location.hash = '#/no such place'`)
      await page.waitForSelector('h1:text-is("There is nothing at this address.")')
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.click('.who button')
      await page.waitForSelector('input[name=passphrase]')
      expect((await page.request.get(`${cluster.url(node)}/portal/session`)).status()).toBe(401)
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })

  const places = { user: '#/safety', 'doctor-a': '#/security', 'accounting-0': '#/login' } as const
  test.each(people)('$name changes the passphrase at $node, on a phone and in German', async ({ node, name }) => {
    const reader = await PortalReader.open(cluster.url(node), { language: 'de-DE', width: 390 })
    try {
      const { page } = reader
      const newPassphrase = ' größer als 🫀🫀 '
      await reader.logIn(name, secretOf(name))
      await reader.goTo(places[node])
      const form = page.locator('form:has(input[name=newPassphrase])')
      const change = async (old: string, next: string, again: string): Promise<void> => {
        await form.locator('input[name=passphrase]').fill(old)
        await form.locator('input[name=newPassphrase]').fill(next)
        await form.locator('input[name=again]').fill(again)
        await form.locator('button[type=submit]').click()
      }
      const refused = (words: string) => page.waitForSelector(`[role=alert]:text-is("${words}")`)
      await change(secretOf(name), '🫀🫀🫀🫀', '🫀🫀🫀🫀')
      await refused('Eine Passphrase hat mindestens 8 Zeichen.')
      await change(secretOf(name), newPassphrase, newPassphrase.trim())
      await refused('Die beiden neuen Passphrasen sind nicht gleich.')
      await change('not the passphrase', newPassphrase, newPassphrase)
      await refused('Die Passphrase ist falsch.')
      await change(secretOf(name), newPassphrase, newPassphrase)
      await page.waitForSelector('[role=status] >> text=Die Passphrase ist geändert.')
      expect(await form.locator('input[name=passphrase]').inputValue()).toBe('')
      expect(await reader.accessibilityFindings()).toEqual([])
      await reader.picture(`passphrase-${name}`)
      await page.reload()
      await page.waitForSelector('header.head')
      await page.click('.who button')
      await page.fill('input[name=name]', name)
      await page.fill('input[name=passphrase]', secretOf(name))
      await page.click('button[type=submit]')
      await page.waitForSelector('[role=alert]')
      await reader.logIn(name, newPassphrase)
      await reader.goTo(places[node])
      await change(newPassphrase, secretOf(name), secretOf(name))
      await page.waitForSelector('[role=status] >> text=Die Passphrase ist geändert.')
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })

  test('what the page itself finds wrong with a file is not called the node’s word, in German either', async () => {
    const reader = await PortalReader.openAs(cluster, people[2], { language: 'de-DE', width: 390 })
    try {
      const { page } = reader
      await reader.goTo('#/check')
      const file = { name: 'größer 🫀.json', mimeType: 'application/json', buffer: Buffer.from('{"🫀":1}') }
      await page.setInputFiles('input[type=file]', file)
      const outcome = page.locator('section[role=alert]')
      await page.waitForSelector('section[role=alert] >> text=Das Programm meldet: not a receipt')
      expect(await outcome.innerText()).toMatch(/^Sie hält nicht\s+größer 🫀\.json/)
      await page.setInputFiles('input[type=file]', { ...file, buffer: Buffer.alloc(32 * 1024 * 1024 + 1) })
      await page.waitForSelector('section[role=alert] p:text-matches("^Die Datei ist größer als 32 MiB")')
      expect(await reader.accessibilityFindings()).toEqual([])
    } finally {
      await reader.close()
    }
  })

  test('two tabs: who works in one is thrown out of none; who locks one has locked both, also while the node is out of reach', async () => {
    const reader = await PortalReader.openAs(cluster, people[0])
    try {
      const { page, context } = reader
      const url = cluster.url('user')
      const second = await context.newPage()
      await second.clock.install()
      await second.goto(url)
      await second.waitForSelector('header.head')
      await second.clock.runFor(14 * 60_000 + 30_000)
      await second.waitForSelector('.banner[role=alert]')
      await page.keyboard.press('Shift')
      await second.clock.runFor(2_000)
      await second.waitForSelector('.banner[role=alert]', { state: 'detached' })
      // A clock that is set back makes nobody's time longer, and one that is wrong is noticed by the node's next answer.
      await second.clock.setSystemTime(Date.now() - 5 * 3_600_000)
      await second.evaluate(`location.hash = '#/timeline'`)
      await second.clock.runFor(2_000)
      await second.waitForSelector('.banner >> text=/is (4 h 5|5 h).*slow/')
      await second.clock.runFor(14 * 60_000 + 30_000)
      await second.waitForSelector('.banner[role=alert]')
      await context.setOffline(true)
      await page.click('.who button')
      await page.waitForSelector('input[name=passphrase]')
      await second.waitForSelector('input[name=passphrase]')
      await context.setOffline(false)
      expect((await context.request.get(`${url}/portal/session`)).status()).toBe(200)
      await page.reload()
      await page.waitForSelector('input[name=passphrase]')
      await expect.poll(async () => (await context.request.get(`${url}/portal/session`)).status()).toBe(401)
      // A browser has one session: the next login ends the one before it.
      await reader.logIn('ann', secretOf('ann'))
      const [cookie] = await context.cookies()
      await second.goto(url)
      await second.waitForSelector('header.head')
      const data = { name: 'ann', passphrase: secretOf('ann') }
      expect((await context.request.post(`${url}/portal/login`, { data })).status()).toBe(200)
      const old = await fetch(`${url}/portal/session`, { headers: { cookie: `${cookie?.name}=${cookie?.value}` } })
      expect(old.status).toBe(401)
      expect((await context.request.get(`${url}/portal/session`)).status()).toBe(200)
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })

  test('ten tabs share one line to the node, and the next one takes it over', async () => {
    const reader = await PortalReader.openAs(cluster, people[1])
    const url = cluster.url('doctor-a')
    try {
      const { page: first, context } = reader
      await first.evaluate(`location.hash = '#/patients'`)
      const tabs = [first]
      while (tabs.length < 10) {
        const page = await context.newPage()
        await page.goto(`${url}/#/patients`)
        // A browser opens six connections to a node: one tab more than that would wait for ever.
        await page.waitForSelector('text=No patient has given you access')
        tabs.push(page)
      }
      await cluster.ok('patient', 'grant', 'ann', 'doctor-a')
      for (const page of tabs) await page.waitForSelector('tbody a')
      await first.close()
      await cluster.ok('patient', 'revoke', 'ann', 'doctor-a', '--wait')
      for (const page of tabs.slice(1)) await page.waitForSelector('tbody >> text=/ended/i')
      for (const page of tabs.slice(1)) expect(await page.locator('.banner').count()).toBe(0)
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })

  test.each(people)(
    'an act at $node without the token of the page, or from the page of another site, is refused',
    async ({ node, name }) => {
      const login = await fetch(`${cluster.url(node)}/portal/login`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name, passphrase: secretOf(name) }),
      })
      const cookie = (login.headers.get('set-cookie') ?? '').split(';')[0] as string
      expect(login.headers.get('set-cookie')).toMatch(/HttpOnly; SameSite=Strict/)
      const { csrf } = (await login.json()) as { csrf: string }
      const act = (headers: Record<string, string>): Promise<Response> =>
        fetch(`${cluster.url(node)}/portal/logout`, { method: 'POST', headers: { cookie, ...headers } })
      expect((await act({})).status).toBe(403)
      expect((await act({ 'x-csrf-token': 'A'.repeat(csrf.length) })).status).toBe(403)
      expect((await act({ 'x-csrf-token': csrf, 'sec-fetch-site': 'cross-site' })).status).toBe(403)
      expect((await act({ 'x-csrf-token': csrf })).status).toBe(204)
    },
  )

  /** Opens a portal at this machine's name, with a security key that this browser has and nobody needs to touch. */
  async function openWithKey(
    node: string,
  ): Promise<{ reader: PortalReader; setPresent: (is: boolean) => Promise<unknown> }> {
    const reader = await PortalReader.open(cluster.url(node).replace('127.0.0.1', 'localhost'))
    const cdp = await reader.context.newCDPSession(reader.page)
    await cdp.send('WebAuthn.enable')
    const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
      options: {
        ...{ protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true },
        ...{ isUserVerified: true, automaticPresenceSimulation: true },
      },
    })
    const setPresent = (isUserVerified: boolean): Promise<unknown> =>
      cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified })
    return { reader, setPresent }
  }

  async function addKey({ page }: PortalReader, name: string): Promise<void> {
    await page.click('summary:text-is("Add a key")')
    await page.fill('details[open] input[name=name]', name)
    await page.click('button:text-is("Register it")')
    await page.waitForSelector(`.key strong:has-text("${name}")`)
  }

  test('a doctor logs in with a security key in place of a code, names it anew, and removes it', async () => {
    const { reader, setPresent } = await openWithKey('doctor-a')
    const { page } = reader
    try {
      await reader.logIn('doctor-a', secretOf('doctor-a'))
      await page.click('nav >> text=Login')
      await addKey(reader, 'Blue key')
      await reader.picture('factor-doctor-key')
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.click('.who button')
      // Whoever has the key in the hand and is not its owner does not come in; the passphrase alone neither.
      await setPresent(false)
      await page.fill('input[name=name]', 'doctor-a')
      await page.fill('input[name=passphrase]', secretOf('doctor-a'))
      await page.click('button[type=submit]')
      await page.waitForSelector('text=No key answered.')
      await setPresent(true)
      await page.click('button[type=submit]')
      await page.waitForSelector('.key')
      await page.click('.key summary')
      await page.fill('.key input[name=name]', 'Red key')
      await page.click('button:text-is("Change the name")')
      await page.waitForSelector('.key strong:has-text("Red key")')
      await page.click('button:text-is("Remove this key")')
      await page.waitForSelector('text=whoever has your passphrase can open this page')
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })

  test('a patient gives access with a passkey, which signs that one grant', async () => {
    const { reader } = await openWithKey('user')
    const { page } = reader
    try {
      await reader.logIn('ann', secretOf('ann'))
      const { origin } = new URL(page.url())
      const { csrf } = (await (await page.request.get(`${origin}/portal/session`)).json()) as { csrf: string }
      const post = async <T>(path: string, data: object): Promise<T> => {
        const answer = await page.request.post(`${origin}/v1/people/ann/${path}`, {
          data,
          headers: { 'x-csrf-token': csrf },
        })
        expect(answer.ok()).toBe(true)
        return (answer.status() === 204 ? undefined : await answer.json()) as T
      }
      // The way back comes first, as everywhere.
      const { words } = await post<{ words: string[] }>('recovery/phrase', { passphrase: secretOf('ann') })
      const { positions } = await post<{ positions: number[] }>('recovery/questions', {})
      const given = positions.map((position) => ({ position, word: words[position - 1] }))
      await post('recovery/rehearsal', { words: given })
      await page.reload()
      await page.click('nav >> text=Safety')
      await addKey(reader, 'My laptop')
      await reader.picture('factor-patient-key')
      expect(await reader.accessibilityFindings()).toEqual([])
      await page.click('nav >> text=Access')
      await page.click('a:has-text("Give access")')
      await page.click('.found button')
      await page.check('input[type=checkbox]')
      await page.click('button[type=submit]')
      await page.click('button[type=submit]')
      await page.waitForSelector('text=Your browser will ask for your security key')
      await reader.picture('factor-patient-grant')
      // Somebody between the page and the node makes it a grant of everything, for ever.
      await page.route('**/grants', async (route) => {
        const { until: _, ...body } = route.request().postDataJSON() as Record<string, unknown>
        await route.continue({ postData: JSON.stringify({ ...body, streams: ['ecg', 'vitals', 'records'] }) })
      })
      await page.click('button:text-is("Give access")')
      await page.waitForSelector('text=it was for something else')
      await page.unroute('**/grants')
      await page.click('button:text-is("Give access")')
      await page.waitForSelector('text=One person can read you now')
      expect(reader.complaints).toEqual([])
    } finally {
      await reader.close()
    }
  })

  test('at an address that is a number, keys are not offered, and the name is told', async () => {
    const reader = await PortalReader.open(cluster.url('doctor-a'))
    try {
      await reader.logIn('doctor-a', secretOf('doctor-a'))
      await reader.page.click('nav >> text=Login')
      const href = await reader.page.getAttribute('main a', 'href')
      expect(href).toBe(`${cluster.url('doctor-a').replace('127.0.0.1', 'localhost')}/`)
    } finally {
      await reader.close()
    }
  })
})
