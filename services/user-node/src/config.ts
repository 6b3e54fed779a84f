import {
  choice,
  type Environment,
  integer,
  type LedgerFile,
  ledgerFile,
  path,
  portalNames,
  readConfig,
  secretText,
  text,
  trustedProxies,
  webDir,
} from '@healthblock/runtime/config'
import { type LogLevel, logLevels } from '@healthblock/runtime/logger'

/** Settings of a user node. */
export interface UserNodeConfig {
  /** Folder of everything that the node keeps. */
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly ledger: LedgerFile
  /** Publication period in milliseconds: how much of a stream one batch holds. */
  readonly periodMs: number
  /** A session ends after so many milliseconds without a person's act, and the vault closes; sealing goes on. */
  readonly idleMs: number
  /** Folder of the built portals (`web/dist`). */
  readonly webDir: string
  /** Addresses and networks of proxies whose word is taken for where a request comes from; nobody's by default. */
  readonly trustedProxies?: readonly string[] | undefined
  /** Names that the portal is reached by, besides numbers and `localhost`. */
  readonly portalNames?: readonly string[] | undefined
  readonly logLevel: LogLevel
}

/** Secrets, kept apart from the settings so that nobody logs them together. */
export interface UserNodeSecrets {
  readonly apiSecret: string
}

/**
 * Reads the environment once.
 *
 * @throws {RuntimeError} `ERR_CONFIG_INVALID` with every fault.
 */
export function readUserNodeConfig(environment: Environment): { config: UserNodeConfig; secrets: UserNodeSecrets } {
  const { settings, secrets } = readConfig(environment, {
    settings: {
      dir: path('USER_DIR', { description: 'folder of everything that the node keeps' }),
      host: text('USER_HOST', { description: 'address to listen on', fallback: '127.0.0.1' }),
      port: integer('USER_PORT', { description: 'port, 0 for any free one', fallback: '0', min: 0, max: 65_535 }),
      ledger: ledgerFile('USER_LEDGER_FILE', { description: 'JSON file {genesis, accounting, storage}' }),
      periodMs: integer('USER_PERIOD_MS', {
        description: 'publication period in milliseconds',
        fallback: '60000',
        min: 500,
        max: 3_600_000,
      }),
      idleMs: integer('USER_IDLE_MS', {
        description: "milliseconds without a person's act after which her session ends",
        fallback: '900000',
        min: 5_000,
        max: 3_600_000,
      }),
      webDir: webDir(),
      trustedProxies: trustedProxies(),
      portalNames: portalNames(),
      logLevel: choice('USER_LOG_LEVEL', { description: 'pino level', fallback: 'info', of: logLevels }),
    },
    secrets: {
      apiSecret: secretText('USER_API_SECRET_FILE', { description: 'file with the secret of the local administrator' }),
    },
  })
  return { config: settings, secrets }
}
