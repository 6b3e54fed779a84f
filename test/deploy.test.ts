/** The files of `deploy/` against the services: nothing there can be run here, so all that can drift is compared. */
import { createHash } from 'node:crypto'
import { existsSync, globSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { main } from '../cli/src/main.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
/** How compose.yaml names the ledger's folder. */
const folderVariable = /\$\{HEALTHBLOCK_DIR:\?\}/
const read = (path: string): string => readFileSync(join(root, path), 'utf8')

/** Variables that a service reads, by its folder's name. */
const variables = Object.fromEntries(
  globSync('services/*/src/config.ts', { cwd: root }).map((path) => {
    const found = [...read(path).matchAll(/'([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'|\benvironment\.([A-Z][A-Z0-9_]+)/g)]
    const names = found.map(([, quoted, dotted]) => (quoted ?? dotted) as string)
    return [path.split('/')[1] as string, new Set(names.filter((name) => !name.startsWith('ERR_')))]
  }),
)
// Every service's logger reads the first, every service with a portal the others, by one function each.
const known = new Set([
  ...Object.values(variables).flatMap((names) => [...names]),
  'STDERR_FILE',
  'WEB_DIR',
  'TRUSTED_PROXIES',
  'PORTAL_NAMES',
])

interface Service {
  readonly image: string
  readonly build?: { readonly context: string; readonly dockerfile: string; readonly target: string }
  readonly environment?: Readonly<Record<string, string>>
  readonly env_file?: string
  readonly networks?: readonly string[]
  readonly ports?: readonly string[]
  readonly volumes?: readonly string[]
  readonly depends_on?: readonly string[]
}
const compose = parse(read('deploy/compose.yaml'), { merge: true }) as {
  services: Record<string, Service>
  networks: Record<string, unknown>
  volumes: Record<string, unknown>
}
const services = Object.entries(compose.services)
const ours = services.filter(([, { build }]) => build !== undefined)

test('every variable that a service reads is documented, and nothing else is', () => {
  const lines = read('deploy/example.env').split('\n')
  const documented = lines.flatMap((line) => /^#?([A-Z][A-Z0-9_]+)=/.exec(line)?.[1] ?? [])
  expect(new Set(documented).size).toBe(documented.length)
  expect([...documented].sort()).toEqual([...known].sort())
  // Each has a text above it.
  const bare = lines.filter((line, i) => /^#?[A-Z][A-Z0-9_]+=/.test(line) && (lines[i - 1] ?? '').trim() === '')
  expect(bare).toEqual([])
})

describe('compose.yaml', () => {
  let dir: string
  beforeAll(async () => {
    dir = join(mkdtempSync(join(tmpdir(), 'healthblock-deploy-')), 'ledger')
    const silent = { stdin: (async function* () {})(), stdout: () => {}, stderr: () => {}, interactive: false }
    expect(await main(['ledger', 'init', '--hosts', 'compose', '--dir', dir], silent)).toBe(0)
  })
  afterAll(() => rmSync(join(dir, '..'), { recursive: true, force: true }))

  test('has four accounting nodes, three storage nodes, Redis, etcd, Prometheus and Grafana', () => {
    expect(Object.keys(compose.services)).toEqual([
      ...['accounting-0', 'accounting-1', 'accounting-2', 'accounting-3', 'storage-0', 'storage-1', 'storage-2'],
      ...['redis', 'etcd', 'prometheus', 'grafana'],
    ])
  })

  test('sets only variables that the service reads, and all that it must be given', () => {
    for (const [name, { build, environment = {} }] of ours) {
      const own = variables[build?.target ?? ''] ?? new Set()
      const set = Object.keys(environment).filter((variable) => variable !== 'HEALTH_PORT')
      expect([name, set.filter((variable) => !own.has(variable))]).toEqual([name, []])
      const required = read('deploy/example.env')
        .split('\n')
        .flatMap((line) => /^([A-Z][A-Z0-9_]+)=/.exec(line)?.[1] ?? [])
      const missing = required.filter((variable) => own.has(variable) && !set.includes(variable))
      expect([name, missing]).toEqual([name, []])
      expect(environment[build?.target === 'storage' ? 'STORAGE_RPC_PORT' : 'ACCOUNTING_PORT']).toBe(
        environment.HEALTH_PORT,
      )
    }
  })

  test('mounts and reads files that ledger init makes, and names networks and volumes that it declares', () => {
    for (const [name, service] of services) {
      for (const volume of service.volumes ?? []) {
        const [source = '', target = ''] = volume.replace(folderVariable, dir).split(':')
        const exists = source.startsWith(dir)
          ? existsSync(source)
          : source.startsWith('./')
            ? existsSync(join(root, 'deploy', source))
            : source in compose.volumes
        expect([name, source, exists]).toEqual([name, source, true])
        expect(target.startsWith('/')).toBe(true)
      }
      for (const network of service.networks ?? []) expect(Object.keys(compose.networks)).toContain(network)
      for (const other of service.depends_on ?? []) expect(Object.keys(compose.services)).toContain(other)
      for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:/)
      // Whatever a variable names below /etc/healthblock is mounted there.
      const targets = (service.volumes ?? []).map((volume) => volume.split(':').at(-2) as string)
      for (const path of Object.values(service.environment ?? {}).filter((value) =>
        value.startsWith('/etc/healthblock/'),
      )) {
        expect([name, path, targets.some((target) => path === target || path.startsWith(`${target}/`))]).toEqual([
          name,
          path,
          true,
        ])
      }
      if (service.env_file === undefined) continue
      const env = readFileSync(service.env_file.replace(folderVariable, dir), 'utf8')
      for (const line of env.trim().split('\n')) expect(variables['accounting-node']).toContain(line.split('=')[0])
      expect(env).toContain(`redis://${name}:`)
    }
  })

  test('what an image with a user of its own reads is readable for it, and no secret', () => {
    const acl = join(dir, 'redis', 'users.acl')
    expect(compose.services.redis?.volumes?.join()).toContain('/redis/users.acl:/etc/redis/users.acl:ro')
    expect(statSync(acl).mode & 0o777).toBe(0o644)
    const users = readFileSync(acl, 'utf8')
    expect(users).toContain('user default off')
    for (const [name] of ours.filter(([, { build }]) => build?.target === 'accounting-node')) {
      const password = readFileSync(join(dir, 'redis', `${name}.password`), 'utf8')
      expect(statSync(join(dir, 'redis', `${name}.password`)).mode & 0o777).toBe(0o600)
      expect(users).toContain(`user ${name} on #${createHash('sha256').update(password).digest('hex')} `)
      expect(users).not.toContain(password)
    }
  })

  test('nobody logs in to Grafana: its administrator would have a known password', () => {
    expect(compose.services.grafana?.environment).toMatchObject({
      GF_AUTH_DISABLE_LOGIN_FORM: 'true',
      GF_AUTH_BASIC_ENABLED: 'false',
    })
  })

  test("the nodes' files name containers and their ports", () => {
    const peers = JSON.parse(readFileSync(join(dir, 'peers.json'), 'utf8')) as { rank: number; url: string }[]
    for (const { rank, url } of peers) {
      const { environment } = compose.services[`accounting-${rank}`] as Service
      expect(url).toBe(`http://accounting-${rank}:${environment?.ACCOUNTING_PORT}`)
    }
    const { members } = JSON.parse(readFileSync(join(dir, 'members.json'), 'utf8')) as {
      members: { name: string; url: string; addresses: string[] }[]
    }
    for (const { name, url, addresses } of members) {
      const { environment } = compose.services[name] as Service
      expect([url, addresses]).toEqual([
        `http://${name}:${environment?.STORAGE_RPC_PORT}`,
        [`/dns4/${name}/tcp/${environment?.STORAGE_SWARM_PORT}`],
      ])
    }
    const scraped = parse(read('deploy/prometheus/prometheus.yaml')) as {
      scrape_configs: { static_configs: { targets: string[] }[] }[]
    }
    const targets = scraped.scrape_configs.flatMap(({ static_configs }) => static_configs.flatMap((one) => one.targets))
    expect(targets).toEqual(ours.map(([name, { environment }]) => `${name}:${environment?.HEALTH_PORT}`))
  })
})

test('the Dockerfile has a target for each service, whose entry point exists', () => {
  const text = read('deploy/Dockerfile')
  const targets = [...text.matchAll(/^FROM base AS (\S+)$/gm)].map(([, target]) => target as string)
  expect([...targets].sort()).toEqual(Object.keys(variables).sort())
  const scripts = [...text.matchAll(/"(services\/[^"]+\.ts)"/g)].map(([, script]) => script as string)
  expect(scripts).toEqual(targets.map((target) => `services/${target}/src/main.ts`))
  // The portals are built in a stage of their own, whose tools do not come along.
  expect(text).toMatch(/^COPY --from=portals \/opt\/healthblock\/web\/dist web\/dist$/m)
  expect(text).toMatch(/^RUN .*node web\/build\.ts$/m)
  for (const path of [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, list]) =>
    (list as string).split(' '),
  )) {
    expect([path, existsSync(join(root, path))]).toEqual([path, true])
  }
  for (const [, { build }] of ours) expect(targets).toContain(build?.target)
})

test('systemd units start what exists, with a file of variables, and stop in time', () => {
  const units = globSync('deploy/systemd/*.service', { cwd: root })
  expect(units).toHaveLength(5)
  for (const path of units) {
    const text = read(path)
    const script = /ExecStart=.* \/opt\/healthblock\/(\S+)/.exec(text)?.[1] as string
    expect([path, existsSync(join(root, script))]).toEqual([path, true])
    expect(text).toMatch(/^EnvironmentFile=\/etc\/healthblock\/[a-z]+\.env$/m)
    expect(text).toMatch(/^(Restart=always|Type=oneshot)$/m)
    expect(text).toMatch(/^User=healthblock$/m)
    expect(text).toMatch(/^LimitCORE=0$/m)
  }
})

test('dashboard and alerts ask for metrics that a node has', () => {
  const sources = globSync('services/{accounting-node,storage}/src/{metrics,events,node}.ts', { cwd: root })
  const metrics = new Set(
    sources.flatMap((path) =>
      [...read(path).matchAll(/'((?:accounting|storage)_\w+)'/g)].map(([, name]) => name as string),
    ),
  )
  const dashboard = JSON.parse(read('deploy/grafana/dashboards/healthblock.json')) as {
    panels: { targets: { expr: string }[] }[]
  }
  const alerts = parse(read('deploy/prometheus/alerts.yaml')) as {
    groups: { rules: { alert: string; expr: string }[] }[]
  }
  const asked = [
    ...dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr)),
    ...alerts.groups.flatMap(({ rules }) => rules.map(({ expr }) => expr)),
  ].flatMap((expr) => expr.match(/\b(?:accounting|storage)_\w+/g) ?? [])
  expect(asked.filter((name) => name.startsWith('accounting_')).length).toBeGreaterThan(20)
  expect(asked.filter((name) => name.startsWith('storage_')).length).toBeGreaterThan(5)
  expect(asked.filter((name) => !metrics.has(name.replace(/_(bucket|sum|count)$/, '')))).toEqual([])
})
