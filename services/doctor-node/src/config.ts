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

/** Settings of a doctor node. */
export interface DoctorNodeConfig {
  /** Folder of everything that the node keeps. */
  readonly dir: string
  readonly host: string
  readonly port: number
  readonly ledger: LedgerFile
  /** Most milliseconds between two diagnoses of a patient whose findings did not change. */
  readonly postIntervalMs: number
  /** Folder of the built portals (`web/dist`). */
  readonly webDir: string
  /** Addresses and networks of proxies whose word is taken for where a request comes from; nobody's by default. */
  readonly trustedProxies?: readonly string[] | undefined
  /** Names that the portal is reached by, besides numbers and `localhost`. */
  readonly portalNames?: readonly string[] | undefined
  readonly logLevel: LogLevel
}

/** Secrets, kept apart from the settings so that nobody logs them together. */
export interface DoctorNodeSecrets {
  readonly apiSecret: string
}

/**
 * Reads the environment once.
 *
 * @throws {RuntimeError} `ERR_CONFIG_INVALID` with every fault.
 */
export function readDoctorNodeConfig(environment: Environment): {
  config: DoctorNodeConfig
  secrets: DoctorNodeSecrets
} {
  const { settings, secrets } = readConfig(environment, {
    settings: {
      dir: path('DOCTOR_DIR', { description: 'folder of everything that the node keeps' }),
      host: text('DOCTOR_HOST', { description: 'address to listen on', fallback: '127.0.0.1' }),
      port: integer('DOCTOR_PORT', { description: 'port, 0 for any free one', fallback: '0', min: 0, max: 65_535 }),
      ledger: ledgerFile('DOCTOR_LEDGER_FILE', { description: 'JSON file {genesis, accounting, storage}' }),
      postIntervalMs: integer('DOCTOR_POST_INTERVAL_MS', {
        description: 'most milliseconds between diagnoses of an unchanged finding',
        fallback: '900000',
        min: 1_000,
        max: 86_400_000,
      }),
      webDir: webDir(),
      trustedProxies: trustedProxies(),
      portalNames: portalNames(),
      logLevel: choice('DOCTOR_LOG_LEVEL', { description: 'pino level', fallback: 'info', of: logLevels }),
    },
    secrets: {
      apiSecret: secretText('DOCTOR_API_SECRET_FILE', {
        description: 'file with the secret of the local administrator',
      }),
    },
  })
  return { config: settings, secrets }
}
