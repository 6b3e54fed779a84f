/** What linters cannot see: layers, docstrings, sizes, dead files, and what packages must not touch. */
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('../', import.meta.url))
const functionLinesMax = 70
const fileLinesMax = 640

const files = globSync('{packages,services}/*/src/**/*.ts', { cwd: root })
  .concat(globSync('cli/src/**/*.ts', { cwd: root }))
  .concat(globSync('web/src/**/*.{ts,tsx}', { cwd: root, exclude: ['**/*.d.ts'] }))
  .map(normalize)
  .sort()
const sources = files.filter(
  (path) => !/\.test\.tsx?$/.test(path) && !/\/(testkit|[^/]*\.(fixture|test-support))\.ts$/.test(path),
)
const text = new Map(files.map((path) => [path, readFileSync(join(root, path), 'utf8')]))

function read(path: string): string {
  return text.get(path) as string
}

function importsOf(path: string): string[] {
  const specifiers: string[] = []
  for (const match of read(path).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)) specifiers.push(match[1] as string)
  return specifiers
}

/** What a file loads of its own room when it runs, at once or later: what `import type` names is left out, as it is when the file is loaded. */
function valueImportsOf(path: string): string[] {
  const loaded = read(path).replaceAll(/^(?:import|export)\s+type\s[^'"]*?\sfrom\s+'[^']+'/gm, '')
  return [...loaded.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map((match) => match[1] as string)
}

/** `packages/chain/src`, `cli/src`. */
function roomRootOf(path: string): string {
  const parts = path.split('/')
  return parts.slice(0, parts.indexOf('src') + 1).join('/')
}

/** The folder right below the room's root that a file lies in; undefined at the root itself. */
function folderOf(path: string): string | undefined {
  const [first, ...rest] = path.slice(roomRootOf(path).length + 1).split('/')
  return rest.length === 0 ? undefined : `${roomRootOf(path)}/${first}`
}

/** Which workspaces a workspace may import. */
const allowed: Record<string, readonly string[]> = {
  'packages/encoding': [],
  'packages/crypto': ['encoding'],
  'packages/chain': ['encoding', 'crypto'],
  'packages/verify': ['encoding', 'chain'],
  'packages/diagnosis': ['encoding'],
  'packages/fhir': ['diagnosis'],
  'packages/runtime': ['encoding', 'crypto', 'chain'],
  'packages/audit': ['encoding', 'crypto', 'chain', 'diagnosis', 'runtime'],
  services: ['encoding', 'crypto', 'chain', 'diagnosis', 'fhir', 'runtime', 'audit'],
  web: ['encoding', 'crypto', 'chain', 'verify'],
  cli: ['encoding', 'crypto', 'chain', 'verify', 'diagnosis', 'runtime', 'audit'],
}

function roomOf(path: string): string {
  const [top, name] = path.split('/')
  return top === 'packages' ? `packages/${name}` : (top as string)
}

describe('layers', () => {
  test('imports point one way, and no service imports a service', () => {
    const wrong: string[] = []
    for (const path of files) {
      const own = path.split('/')[1] as string
      for (const specifier of importsOf(path)) {
        if (!specifier.startsWith('@healthblock/')) continue
        const target = specifier.split('/')[1] as string
        const isTestHelp = path.endsWith('.test.ts') && target === own
        if (target !== own && !isTestHelp && !(allowed[roomOf(path)] ?? []).includes(target))
          wrong.push(`${path} imports ${specifier}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('within a room, too, imports run one way: no file reaches itself, not even by a type', () => {
    const reached = new Map<string, 'open' | 'done'>()
    const circles: string[] = []
    const walk = (path: string, way: readonly string[]): void => {
      if (reached.get(path) === 'open') circles.push([...way.slice(way.indexOf(path)), path].join(' -> '))
      if (reached.has(path)) return
      reached.set(path, 'open')
      for (const specifier of importsOf(path).filter((one) => one.startsWith('.'))) {
        const target = normalize(join(dirname(path), specifier))
        if (text.has(target)) walk(target, [...way, path])
      }
      reached.set(path, 'done')
    }
    for (const path of files) walk(path, [])
    expect(circles).toEqual([])
  })

  test('between the folders of a room, imports run one way, but for types', () => {
    const ways = new Map<string, Map<string, string>>()
    for (const path of sources) {
      const folder = dirname(path)
      for (const specifier of valueImportsOf(path)) {
        const target = normalize(join(folder, specifier))
        if (!text.has(target) || roomRootOf(target) !== roomRootOf(path)) continue
        const [own, other] = [folderOf(path), folderOf(target)]
        // What lies at a room's root is either above all folders (an entry) or below them (errors): the rule on files is enough.
        if (own === undefined || other === undefined || own === other) continue
        const found = ways.get(own) ?? new Map<string, string>()
        ways.set(own, found.set(other, `${path} imports ${target}`))
      }
    }
    const wrong: string[] = []
    const walk = (folder: string, way: readonly string[]): void => {
      for (const [next, why] of ways.get(folder) ?? []) {
        if (next === way[0]) wrong.push([...way, next].join(' -> ').concat(`: ${why}`))
        else if (!way.includes(next) && next > (way[0] as string)) walk(next, [...way, next])
      }
    }
    for (const folder of [...ways.keys()].sort()) walk(folder, [folder])
    expect(wrong).toEqual([])
  })

  test('a portal imports what all portals share, and no other portal; what they share imports no portal', () => {
    const portals = ['patient', 'doctor', 'auditor']
    const wrong: string[] = []
    for (const path of files.filter((one) => one.startsWith('web/src/'))) {
      const own = path.split('/')[2] as string
      for (const specifier of importsOf(path).filter((one) => one.startsWith('.'))) {
        const [, , target] = normalize(join(dirname(path), specifier)).split('/')
        const isForeign = target !== own && portals.includes(target as string)
        if (isForeign || (own === 'frame' && target !== 'frame' && !specifier.includes('/texts/'))) {
          wrong.push(`${path} imports ${specifier}`)
        }
      }
    }
    expect(wrong).toEqual([])
  })

  test('packages touch no clock, disk, network or environment, but for packages/runtime', () => {
    const wrong: string[] = []
    for (const path of sources) {
      if (!path.startsWith('packages/') || path.startsWith('packages/runtime/')) continue
      const forbidden =
        /node:(fs|net|http|https|dgram|child_process|os|worker_threads|sqlite|timers)|\bprocess\.env\b|\bDate\.now\(|\bMath\.random\(|\bfetch\(/
      const found = forbidden.exec(read(path).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, ''))
      if (found !== null) wrong.push(`${path}: ${found[0]}`)
    }
    expect(wrong).toEqual([])
  })

  test('only config.ts reads the environment of a service', () => {
    const wrong = sources.filter(
      (path) =>
        path.startsWith('services/') &&
        !path.endsWith('/config.ts') &&
        !path.endsWith('/main.ts') &&
        !path.endsWith('/run.ts') &&
        /\bprocess\.env\b/.test(read(path)),
    )
    expect(wrong).toEqual([])
  })
})

test('every export says what it is', () => {
  const wrong: string[] = []
  for (const path of sources) {
    const lines = read(path).split('\n')
    for (const [index, line] of lines.entries()) {
      if (!/^export (async )?(abstract )?(function|class|interface|type|const) [A-Za-z]/.test(line)) continue
      let above = index - 1
      while (lines[above]?.trim().startsWith('// ') === true) above--
      const before = lines[above]?.trim() ?? ''
      const isOverload = /^export (async )?function/.test(before)
      if (!before.endsWith('*/') && !isOverload) wrong.push(`${path}:${index + 1} ${line.slice(0, 80)}`)
    }
  }
  expect(wrong).toEqual([])
})

test(`functions have at most ${functionLinesMax} lines`, () => {
  const wrong: string[] = []
  const opening =
    /^(\s*)(?:export )?(?:static )?(?:private )?(?:override )?(?:async )?(?:function\*? \w+|#?\w+)(?:<[^>]*>)?\(.*\{$/
  for (const path of sources) {
    const lines = read(path).split('\n')
    for (const [index, line] of lines.entries()) {
      const match = opening.exec(line)
      if (match === null || /^\s*(if|for|while|switch|catch|test|describe|it)\b/.test(line)) continue
      const closing = `${match[1]}}`
      const end = lines.findIndex(
        (other, at) => at > index && other.startsWith(closing) && !other.startsWith(`${closing} `),
      )
      if (end - index + 1 > functionLinesMax) wrong.push(`${path}:${index + 1} has ${end - index + 1} lines`)
    }
  }
  expect(wrong).toEqual([])
})

test(`files have at most ${fileLinesMax} lines`, () => {
  const wrong = sources.filter((path) => read(path).split('\n').length > fileLinesMax)
  expect(wrong).toEqual([])
})

test('no export of everything, no default export', () => {
  const wrong = sources.filter((path) => /^export (\*|default)/m.test(read(path)))
  expect(wrong).toEqual([])
})

test('no file is dead', () => {
  const used = new Set<string>()
  for (const manifest of globSync('{packages,services}/*/package.json', { cwd: root })) {
    const { exports = {}, imports = {} } = JSON.parse(readFileSync(join(root, manifest), 'utf8')) as {
      exports?: Record<string, string>
      imports?: Record<string, Record<string, string>>
    }
    const targets = [
      ...Object.values(exports),
      ...Object.values(imports).flatMap((conditions) => Object.values(conditions)),
    ]
    for (const target of targets) used.add(normalize(join(dirname(manifest), target)))
  }
  for (const path of [...files, ...globSync('{test,bench}/**/*.ts', { cwd: root })]) {
    const content = text.get(path) ?? readFileSync(join(root, path), 'utf8')
    for (const match of content.matchAll(/'(\.{1,2}\/[^']+\.tsx?)'/g))
      used.add(normalize(join(dirname(path), match[1] as string)))
  }
  const isRoot = (path: string): boolean =>
    path.endsWith('/audit-process.ts') ||
    // Entry points of the pages, and what is drawn for whichever page wants it.
    /^web\/src\/([a-z]+\/main|ecg\/[a-z]+|trends\/[a-z]+)\.tsx$/.test(path) ||
    /^(services\/[^/]+|cli)\/src\/(main|create-keys|offline)\.ts$/.test(path)
  expect(sources.filter((path) => !used.has(path) && !isRoot(path))).toEqual([])
})

test('every language has the words of the English, in order, with the same places to fill', () => {
  const read = (language: string): Record<string, string> =>
    JSON.parse(readFileSync(join(root, `web/texts/${language}.json`), 'utf8')) as Record<string, string>
  const english = read('en')
  expect(Object.keys(english)).toEqual(Object.keys(english).toSorted())
  const placesOf = (words: string): string[] => [...new Set(words.match(/\{\w+\}/g) ?? [])].toSorted()
  for (const language of globSync('web/texts/*.json', { cwd: root }).map((path) => path.slice(-7, -5))) {
    const words = read(language)
    expect(Object.keys(words)).toEqual(Object.keys(english))
    for (const [key, text] of Object.entries(words)) {
      expect([language, key, placesOf(text)]).toEqual([language, key, placesOf(english[key] as string)])
    }
  }
})

test('the project speaks of itself alone', () => {
  const wrong: string[] = []
  const tracked = globSync('{packages,services,cli,test,bench,deploy,web}/**/*.{ts,tsx,css,html,md,json,sh,yaml}', {
    cwd: root,
    exclude: (name) => name.includes('node_modules'),
  })
  for (const path of [...tracked, 'README.md', 'ARCHITECTURE.md', 'package.json', 'package-lock.json']) {
    const content = readFileSync(join(root, path), 'utf8')
    const found = /\/work\/|\/root\/|registry\.npmjs|npmjs\.org/.exec(content)
    if (found !== null && !path.endsWith('tidy.test.ts')) wrong.push(`${path}: ${found[0]}`)
  }
  expect(wrong).toEqual([])
})
