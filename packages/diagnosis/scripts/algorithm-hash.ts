/** Prints the hash that belongs into `src/algorithm.ts`; with `--write` puts it there. */
import { createHash } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { algorithmFiles, hashAlgorithm } from '../src/algorithm.ts'

const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest())
const files = algorithmFiles.map((path) => ({ path, bytes: readFileSync(new URL(`../${path}`, import.meta.url)) }))
const hex = Buffer.from(hashAlgorithm(files, sha256)).toString('hex')
if (process.argv.includes('--write')) {
  const file = new URL('../src/algorithm.ts', import.meta.url)
  writeFileSync(file, readFileSync(file, 'utf8').replace(/(algorithmHashHex = ')[0-9a-f]{64}/, `$1${hex}`))
}
console.log(hex)
