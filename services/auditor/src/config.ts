import {
  choice,
  type Environment,
  existingFile,
  optional,
  path,
  readConfig,
  secretText,
  text,
  urls,
} from '@healthblock/runtime/config'
import { type LogLevel, logLevels } from '@healthblock/runtime/logger'

/** Settings of an audit. */
export interface AuditorConfig {
  /** Folder of the replayed state: the next audit goes on from there. */
  readonly dir: string
  /** Path of the genesis file: all that is believed. */
  readonly genesisFile: string
  /** Accounting nodes, each of which is asked. */
  readonly nodes: readonly string[]
  /** Witnesses that are asked: `URL VKEY` each, with commas between them. */
  readonly witnesses: string | undefined
  /** `once`: one report; `follow`: for ever, until a signal; default once. */
  readonly mode: 'once' | 'follow'
  readonly logLevel: LogLevel
}

/** Secrets, kept apart from the settings so that nobody logs them together. */
export interface AuditorSecrets {
  /** A bearer token of scope `ledger`. */
  readonly token: string | undefined
}

/**
 * Reads the environment once.
 *
 * @throws {RuntimeError} `ERR_CONFIG_INVALID` with every fault.
 */
export function readAuditorConfig(environment: Environment): { config: AuditorConfig; secrets: AuditorSecrets } {
  const { settings, secrets } = readConfig(environment, {
    settings: {
      dir: path('AUDITOR_DIR', { description: 'folder of the replayed state' }),
      genesisFile: existingFile('AUDITOR_GENESIS_FILE', { description: 'the genesis file' }),
      nodes: urls('AUDITOR_NODES', { description: 'URLs of all accounting nodes' }),
      witnesses: optional(
        text('AUDITOR_WITNESSES', {
          description: 'witnesses that are asked whether they hold the audited log: URL VKEY, URL VKEY, ...',
          pattern: /^https?:\/\/\S+ [^\s,]+(, ?https?:\/\/\S+ [^\s,]+)*$/,
        }),
      ),
      mode: choice('AUDITOR_MODE', {
        description: 'once or follow',
        fallback: 'once',
        of: ['once', 'follow'] as const,
      }),
      logLevel: choice('AUDITOR_LOG_LEVEL', { description: 'pino level', fallback: 'info', of: logLevels }),
    },
    secrets: {
      token: optional(secretText('AUDITOR_TOKEN_FILE', { description: 'file with a bearer token of scope ledger' })),
    },
  })
  return { config: settings, secrets }
}
