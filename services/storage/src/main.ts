/** Starts one storage node. Prints nothing on stdout; what stops it from starting goes to stderr, with exit code 2. */
import { setFlagsFromString } from 'node:v8'

// Loading the modules fills the young generation, which would stay at its full size ever after. It is kept from growing
// until the node stands; under load it grows as usual.
setFlagsFromString('--semi-space-growth-factor=1')
const [{ run }, { StorageError }] = await Promise.all([import('./run.ts'), import('./errors.ts')])

try {
  await run(process.env)
  setFlagsFromString('--semi-space-growth-factor=2')
} catch (error) {
  const text = error instanceof StorageError ? error.message : String((error as Error).stack)
  process.stderr.write(`storage: ${text}\n`)
  process.exit(2)
}
