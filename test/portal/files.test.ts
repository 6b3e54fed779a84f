/** What a portal's page consists of: sizes, policy, and that it needs nobody but its own node. */
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { createHttpApp, type HttpApp } from '@healthblock/runtime/http-app'
import { createLogger } from '@healthblock/runtime/logger'
import { servePortal } from '@healthblock/runtime/portal-files'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ensurePortals } from '../../cli/src/cluster/portals.ts'
import { projectRoot } from '../../cli/src/cluster/root.ts'

const dist = join(projectRoot, 'web', 'dist')
const scriptSizeBytesMax = 250 * 1024
const portals = ['patient', 'doctor', 'auditor'] as const
const apps: HttpApp[] = []

beforeAll(async () => {
  const said: string[] = []
  const stdin = (async function* () {})()
  await ensurePortals({ stdin, stdout: () => {}, stderr: (text) => void said.push(text), interactive: false })
  expect(said.join('')).not.toContain('were not built')
}, 300_000)
afterAll(async () => {
  for (const app of apps) await app.stop()
})

function asset(name: string): string {
  return readFileSync(join(dist, 'assets', name), 'utf8')
}

/** Scripts that these load, at the start (`static`) or ever. */
function closure(names: readonly string[], kind: 'static' | 'ever'): Set<string> {
  const found = new Set(names)
  for (const name of found) {
    const imports =
      kind === 'static'
        ? /(?:\bfrom|\bimport)\s*["'`]\.\/([\w.-]+\.js)["'`]/g
        : /["'`](?:\.\/|assets\/)([\w.-]+\.js)["'`]/g
    for (const [, other] of asset(name).matchAll(imports)) found.add(other as string)
  }
  return found
}

function compressedSize(names: Iterable<string>): number {
  let sum = 0
  for (const name of names) sum += statSync(join(dist, 'assets', `${name}.br`)).size
  return sum
}

test.each(portals)('the script of the %s portal is small', (portal) => {
  const html = readFileSync(join(dist, `${portal}.html`), 'utf8')
  const entries = [...html.matchAll(/(?:src|href)="\/assets\/([\w.-]+\.js)"/g)].map(([, name]) => name as string)
  expect(entries.length).toBeGreaterThan(0)
  const [start, ever] = [closure(entries, 'static'), closure(entries, 'ever')]
  for (const name of start) expect(ever).toContain(name)
  const sizes = { atStart: compressedSize(start), inTotal: compressedSize(ever) }
  console.info(`${portal}: ${sizes.atStart} bytes of compressed script at the start, ${sizes.inTotal} in total`)
  expect(sizes.inTotal).toBeLessThan(scriptSizeBytesMax)
})

test.each(portals)(
  'the page of the %s portal holds no script or style of its own, and its policy lets none in',
  async (portal) => {
    const app = await createHttpApp({
      name: 'portal',
      version: '0',
      logger: createLogger({ name: 'test', level: 'silent' }),
    })
    apps.push(app)
    servePortal(app.fastify, { dir: dist, portal })
    const page = await app.fastify.inject('/')
    const policy = String(page.headers['content-security-policy'])
    expect(policy).not.toMatch(/unsafe|https?:|\*/)
    expect(policy).toContain("default-src 'none'")
    expect(policy).toContain("script-src 'self'")
    expect(policy).toContain("require-trusted-types-for 'script'")
    const sources = policy.split('; ').flatMap((directive) => directive.split(' ').slice(1))
    for (const source of sources) expect(["'self'", "'none'", "'script'", 'data:', 'blob:']).toContain(source)
    expect(page.body).not.toMatch(/<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)/i)
    expect(page.body).not.toMatch(/(?:src|href)="(?!\/assets\/)/)
  },
)

test('no script builds code from text, and no file names a foreign host to be asked', () => {
  const names = readdirSync(join(dist, 'assets')).filter((name) => /\.(js|css)$/.test(name))
  expect(names.length).toBeGreaterThan(3)
  for (const name of names) {
    expect([name, /\beval\(|\bnew Function\(/.test(asset(name))]).toEqual([name, false])
    // Names of formats (namespaces, C2SP) are no addresses: what could be asked stands in a call or in url().
    expect([name, /(?:fetch|import|url)\(\s*["'`]?https?:/.test(asset(name))]).toEqual([name, false])
  }
  expect(existsSync(join(dist, 'auditor.html'))).toBe(true)
})
