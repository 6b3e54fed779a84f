/** Builds the three portals into `web/dist`: one page each, shared parts in shared files, everything compressed once. */
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { brotliCompressSync, constants } from 'node:zlib'
import { build } from 'vite'

const root = fileURLToPath(new URL('./', import.meta.url))
const portals = ['patient', 'doctor', 'auditor']

function compress(folder: string): void {
  for (const name of readdirSync(folder)) {
    if (!/\.(js|css|svg|json|html)$/.test(name)) continue
    const bytes = readFileSync(join(folder, name))
    const params = { [constants.BROTLI_PARAM_QUALITY]: 11, [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
    writeFileSync(join(folder, `${name}.br`), brotliCompressSync(bytes, { params }))
  }
}

/** Moves a finished folder to its place; whoever builds at the same time makes the same bytes. */
function replaceFolder(made: string, place: string): void {
  const old = `${place}-old-${process.pid}`
  try {
    renameSync(place, old)
  } catch {
    // There was none.
  }
  try {
    renameSync(made, place)
  } catch {
    // Another build was quicker: its files are these files.
    rmSync(made, { recursive: true, force: true })
  }
  rmSync(old, { recursive: true, force: true })
}

const made = mkdtempSync(join(root, '.dist-'))
try {
  await build({
    root,
    configFile: false,
    logLevel: 'warn',
    publicDir: false,
    build: {
      outDir: made,
      emptyOutDir: true,
      target: 'es2022',
      modulePreload: { polyfill: false },
      assetsInlineLimit: 0,
      reportCompressedSize: false,
      rolldownOptions: { input: Object.fromEntries(portals.map((name) => [name, join(root, `${name}.html`)])) },
    },
  })
  compress(made)
  compress(join(made, 'assets'))
  writeFileSync(join(made, 'stamp'), process.argv[2] ?? '')
  chmodSync(made, 0o755)
  replaceFolder(made, join(root, 'dist'))
} finally {
  rmSync(made, { recursive: true, force: true })
}
