/**
 * Loads every entry point of every workspace with Node itself: a test runner's transform accepts syntax that Node's
 * type stripping refuses. Prints what failed and exits with 1.
 */
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const root = fileURLToPath(new URL('../../', import.meta.url))
const manifests = ['package.json', ...globSync('{packages,services}/*/package.json', { cwd: root }), 'cli/package.json']
let failed = 0
let loaded = 0

async function load(path: string): Promise<void> {
  try {
    await import(pathToFileURL(path).href)
    loaded++
  } catch (error) {
    failed++
    console.error(`${path}: ${error instanceof Error ? error.message : error}`)
  }
}

for (const manifest of manifests) {
  const folder = join(root, manifest, '..')
  const { exports = {} } = JSON.parse(readFileSync(join(root, manifest), 'utf8')) as {
    exports?: Record<string, string>
  }
  for (const entry of Object.values(exports)) await load(join(folder, entry))
}
for (const app of globSync('services/*/src/app.ts', { cwd: root })) await load(join(root, app))
for (const command of globSync('cli/src/commands/*.ts', { cwd: root })) {
  if (!command.endsWith('.test.ts')) await load(join(root, command))
}
console.error(`${loaded} entry points load, ${failed} fail`)
process.exitCode = failed === 0 ? 0 : 1
