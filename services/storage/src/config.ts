/**
 * The settings of a storage node, from the environment and from secret files; read once, checked as a whole, frozen.
 * Every fault is reported, not only the first.
 */
import { readFileSync } from 'node:fs'
import { fromHex } from '@healthblock/encoding/bytes'
import { type LogLevel, logLevels } from '@healthblock/runtime/logger'
import { StorageError } from './errors.ts'
import { parseSwarmKey } from './swarm/swarm-key.ts'

/** What may be shown. */
export interface Config {
  /** STORAGE_DIR: folder of the node's data; made if missing. No default. */
  dir: string
  /** STORAGE_RPC_HOST: address of the RPC; default 127.0.0.1. */
  rpcHost: string
  /** STORAGE_RPC_PORT: its port; 0 takes a free one, which address.json tells; default 5001. */
  rpcPort: number
  /** STORAGE_SWARM_HOST: address of the swarm's port; default 127.0.0.1. */
  swarmHost: string
  /** STORAGE_SWARM_PORT: 0 takes a free one; default 4001. */
  swarmPort: number
  /** STORAGE_MEMBERS_FILE: the member list; this node must be on it. No default. */
  membersFile: string
  /** STORAGE_TOKENS_FILE: hashes of tenants' tokens; none without. */
  tokensFile: string | undefined
  /** STORAGE_LEDGER_FILE: JSON `{genesis: path, accounting: [url]}`; tokens and members are then Userchain's. Without it the node stands alone. */
  ledger: { genesis: Uint8Array; accounting: string[] } | undefined
  /** STORAGE_REPLICAS: R, equal on every node; 1 keeps each block where it was put; default 3. */
  replicas: number
  /** STORAGE_WRITE_QUORUM: W, durable copies before a put is acknowledged; at most R; default 2 (1 if R is 1). */
  writeQuorum: number
  /** STORAGE_BYTES_MAX: bytes of all blocks of this node; default 100 GiB. */
  bytesMax: number
  /** STORAGE_TENANT_BYTES_MAX: bytes that one account may reference on this node, 256 more for each block; default 10 GiB. */
  tenantBytesMax: number
  /** STORAGE_REPAIR_SECONDS: time between sampled repairs; default 900. */
  repairSeconds: number
  /** STORAGE_SCRUB_BYTES_PER_SECOND: budget of the weekly check of every block; default 4 MiB. */
  scrubBytesPerSecond: number
  /** STORAGE_ERASE_DELAY_SECONDS: from a tombstone to the removal, equal on every node; default 259,200 (72 h). */
  eraseDelaySeconds: number
  /** STORAGE_FETCH_LOG_DAYS: how long the log of fetches is kept; default 2,192 (six years, as 45 CFR 164.528 asks for). */
  fetchLogDays: number
  /** STORAGE_BACKEND: `embedded` keeps blocks in SQLite and speaks Bitswap itself, `kubo` drives a Kubo daemon; default embedded. */
  backend: 'embedded' | 'kubo'
  /** KUBO_BINARY: path of `ipfs`, for a daemon that this node starts and watches over. */
  kuboBinary: string | undefined
  /** STORAGE_KUBO_URL: RPC of a daemon that runs already, such as `http://127.0.0.1:5001`; then none is started. */
  kuboUrl: string | undefined
  /** STORAGE_LOG_LEVEL: fatal, error, warn, info, debug, trace or silent; default info. */
  logLevel: LogLevel
}

/** What may not. Each is 32 bytes from a file. */
export interface Secrets {
  /** STORAGE_STORE_KEY_FILE: hex Ed25519 seed that signs receipts and tokens. */
  storeSeed: Uint8Array
  /** STORAGE_PEER_KEY_FILE: hex Ed25519 seed of the peer id. */
  peerSeed: Uint8Array
  /** STORAGE_REST_KEY_FILE: hex key of the blocks at rest. Without it the blocks are lost. */
  restKey: Uint8Array
  /** STORAGE_SWARM_KEY_FILE: the swarm's pre-shared key in Kubo's `swarm.key` form. */
  swarmKey: Uint8Array
  /** STORAGE_KUBO_TOKEN_FILE: what to send as bearer token to the daemon of STORAGE_KUBO_URL; nothing without. */
  kuboToken: string | undefined
}

type Environment = Record<string, string | undefined>

const gibibyte = 1024 ** 3
const eraseDelay = { fallback: 259_200, min: 0, max: 31_536_000 }

class Faults {
  readonly list: string[] = []

  text(environment: Environment, name: string, fallback?: string): string {
    const value = environment[name] ?? fallback
    if (value === undefined || value === '') this.list.push(`${name} is missing`)
    return value ?? ''
  }

  integer(environment: Environment, name: string, range: { fallback: number; min: number; max: number }): number {
    const text = environment[name]
    if (text === undefined || text === '') return range.fallback
    const value = Number(text)
    if (!Number.isSafeInteger(value) || value < range.min || value > range.max) {
      this.list.push(`${name} is not a whole number from ${range.min} to ${range.max}`)
    }
    return value
  }

  secret(environment: Environment, name: string, parse: (text: string) => Uint8Array): Uint8Array {
    const path = this.text(environment, name)
    if (path === '') return new Uint8Array(32)
    try {
      const bytes = parse(readFileSync(path, 'utf8'))
      if (bytes.length === 32) return bytes
      this.list.push(`${name}: the file does not hold 32 bytes`)
    } catch {
      this.list.push(`${name}: the file cannot be read or is malformed`)
    }
    return new Uint8Array(32)
  }

  optionalText(environment: Environment, name: string): string | undefined {
    const path = environment[name]
    if (path === undefined || path === '') return undefined
    try {
      return readFileSync(path, 'utf8').trim()
    } catch {
      this.list.push(`${name}: the file cannot be read`)
      return undefined
    }
  }

  backend(environment: Environment): Pick<Config, 'backend' | 'kuboBinary' | 'kuboUrl'> {
    const backend = environment.STORAGE_BACKEND || 'embedded'
    const kuboBinary = environment.KUBO_BINARY || undefined
    const kuboUrl = environment.STORAGE_KUBO_URL?.replace(/\/$/, '') || undefined
    if (backend !== 'embedded' && backend !== 'kubo') this.list.push('STORAGE_BACKEND is neither embedded nor kubo')
    if (backend === 'kubo' && kuboBinary === undefined && kuboUrl === undefined) {
      this.list.push('STORAGE_BACKEND is kubo, and neither KUBO_BINARY nor STORAGE_KUBO_URL says where it is')
    }
    if (kuboUrl !== undefined && !URL.canParse(kuboUrl)) this.list.push('STORAGE_KUBO_URL is not a URL')
    return { backend: backend as Config['backend'], kuboBinary, kuboUrl }
  }

  ledger(environment: Environment, name: string): Config['ledger'] {
    const path = environment[name]
    if (path === undefined || path === '') return undefined
    try {
      const { genesis, accounting } = JSON.parse(readFileSync(path, 'utf8')) as {
        genesis: string
        accounting: string[]
      }
      for (const url of accounting) new URL(url)
      return { genesis: new Uint8Array(readFileSync(genesis)), accounting }
    } catch {
      this.list.push(`${name}: the file, or the genesis that it names, cannot be read or is malformed`)
      return undefined
    }
  }
}

function parseHexFile(text: string): Uint8Array {
  return fromHex(text.trim())
}

/**
 * Reads and checks all settings.
 *
 * @throws {StorageError} `ERR_CONFIG_INVALID` with every fault.
 */
export function readConfig(environment: Environment): { config: Config; secrets: Secrets } {
  const faults = new Faults()
  const port = (name: string, fallback: number): number =>
    faults.integer(environment, name, { fallback, min: 0, max: 65_535 })
  const bytes = (name: string, fallback: number): number =>
    faults.integer(environment, name, { fallback, min: 1, max: Number.MAX_SAFE_INTEGER })
  const replicas = faults.integer(environment, 'STORAGE_REPLICAS', { fallback: 3, min: 1, max: 16 })
  const quorum = { fallback: Math.min(2, replicas), min: 1, max: replicas }
  const logLevel = faults.text(environment, 'STORAGE_LOG_LEVEL', 'info')
  if (!logLevels.includes(logLevel as LogLevel))
    faults.list.push(`STORAGE_LOG_LEVEL is none of ${logLevels.join(', ')}`)
  const config: Config = {
    dir: faults.text(environment, 'STORAGE_DIR'),
    rpcHost: faults.text(environment, 'STORAGE_RPC_HOST', '127.0.0.1'),
    rpcPort: port('STORAGE_RPC_PORT', 5001),
    swarmHost: faults.text(environment, 'STORAGE_SWARM_HOST', '127.0.0.1'),
    swarmPort: port('STORAGE_SWARM_PORT', 4001),
    membersFile: faults.text(environment, 'STORAGE_MEMBERS_FILE'),
    tokensFile: environment.STORAGE_TOKENS_FILE || undefined,
    ledger: faults.ledger(environment, 'STORAGE_LEDGER_FILE'),
    replicas,
    writeQuorum: faults.integer(environment, 'STORAGE_WRITE_QUORUM', quorum),
    bytesMax: bytes('STORAGE_BYTES_MAX', 100 * gibibyte),
    tenantBytesMax: bytes('STORAGE_TENANT_BYTES_MAX', 10 * gibibyte),
    repairSeconds: faults.integer(environment, 'STORAGE_REPAIR_SECONDS', { fallback: 900, min: 1, max: 86_400 }),
    scrubBytesPerSecond: bytes('STORAGE_SCRUB_BYTES_PER_SECOND', 4 * 1024 ** 2),
    eraseDelaySeconds: faults.integer(environment, 'STORAGE_ERASE_DELAY_SECONDS', eraseDelay),
    fetchLogDays: faults.integer(environment, 'STORAGE_FETCH_LOG_DAYS', { fallback: 2192, min: 1, max: 36_525 }),
    ...faults.backend(environment),
    logLevel: logLevel as LogLevel,
  }
  const secrets: Secrets = {
    storeSeed: faults.secret(environment, 'STORAGE_STORE_KEY_FILE', parseHexFile),
    peerSeed: faults.secret(environment, 'STORAGE_PEER_KEY_FILE', parseHexFile),
    restKey: faults.secret(environment, 'STORAGE_REST_KEY_FILE', parseHexFile),
    swarmKey: faults.secret(environment, 'STORAGE_SWARM_KEY_FILE', parseSwarmKey),
    kuboToken: faults.optionalText(environment, 'STORAGE_KUBO_TOKEN_FILE'),
  }
  if (faults.list.length > 0) {
    const detail = { code: 'ERR_CONFIG_INVALID', faults: faults.list } as const
    throw new StorageError(`the configuration is not valid: ${faults.list.join('; ')}`, detail)
  }
  return { config: Object.freeze(config), secrets: Object.freeze(secrets) }
}
