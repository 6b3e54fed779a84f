/** The door of each portal, in a real browser against real nodes. */
import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { hasRedis, TestCluster } from '../support/cluster.ts'
import { hasChromium, PortalReader } from './browser.ts'

const people = [
  { node: 'user', name: 'ann' },
  { node: 'doctor-a', name: 'doctor-a' },
  { node: 'accounting-0', name: 'auditor' },
] as const

describe.skipIf(!hasChromium || !hasRedis)('the door of the portals (needs Chromium and Redis)', () => {
  let cluster: TestCluster

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['ann'] })
  })

  afterAll(() => cluster.remove())

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
      await page.click('.who button')
      await page.waitForSelector('input[name=passphrase]')
      expect((await page.request.get(`${cluster.url(node)}/portal/session`)).status()).toBe(401)
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
})
