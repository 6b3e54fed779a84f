/** Starts one storage node. Prints nothing on stdout; what stops it from starting goes to stderr, with exit code 2. */
import { setFlagsFromString } from 'node:v8'

// A node holds little in memory: a young generation that never grows saves some 25 MiB. It must be set before the
// other modules are loaded, which fill it.
setFlagsFromString('--max-semi-space-size=4')
setFlagsFromString('--semi-space-growth-factor=1')
const [{ run }, { StorageError }] = await Promise.all([import('./run.ts'), import('./errors.ts')])

try {
  await run(process.env)
} catch (error) {
  const text = error instanceof StorageError ? error.message : String((error as Error).stack)
  process.stderr.write(`storage: ${text}\n`)
  process.exit(2)
}
