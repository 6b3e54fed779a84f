/** The portals' files are built once, and again when their sources changed. */
import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Io } from '../io.ts'
import { projectRoot } from './root.ts'

const sources = ['web/*.{html,json,ts}', 'web/{src,texts}/**/*', 'packages/{verify,chain,crypto,encoding}/src/**/*.ts']

function stampOfSources(): string {
  const hash = createHash('sha256')
  const files = sources.flatMap((pattern) => globSync(pattern, { cwd: projectRoot, withFileTypes: true }))
  const paths = files.filter((file) => file.isFile()).map((file) => join(file.parentPath, file.name))
  for (const path of [...paths, join(projectRoot, 'package-lock.json')].sort()) {
    if (!path.endsWith('.test.ts')) hash.update(path.slice(projectRoot.length)).update(readFileSync(path))
  }
  return hash.digest('hex')
}

/** Builds `web/dist` if it is missing or older than its sources. A build that fails leaves the services without pages, and says so. */
export async function ensurePortals(io: Io): Promise<void> {
  const stampFile = join(projectRoot, 'web', 'dist', 'stamp')
  const stamp = stampOfSources()
  if (existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) return
  io.stderr('building the portals (once)\n')
  const said: Buffer[] = []
  const code = await new Promise<number>((resolve) => {
    const child = spawn(process.execPath, [join(projectRoot, 'web', 'build.ts'), stamp], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    child.stdout.on('data', (chunk: Buffer) => said.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => said.push(chunk))
    child.once('error', () => resolve(1))
    child.once('close', (status) => resolve(status ?? 1))
  })
  if (code !== 0)
    io.stderr(`the portals were not built; everything else goes on. Why:\n${Buffer.concat(said).toString('utf8')}\n`)
}
