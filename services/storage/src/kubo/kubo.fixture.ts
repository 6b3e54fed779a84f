/** Where tests find a real Kubo: KUBO_BINARY, or what deploy/kubo/build.sh has built. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const built = fileURLToPath(new URL('../../../../.cache/kubo/ipfs', import.meta.url))

/** Path of `ipfs`; undefined if there is none, and then the tests that need it are skipped by name. */
export const kuboBinary = process.env.KUBO_BINARY ?? (existsSync(built) ? built : undefined)
