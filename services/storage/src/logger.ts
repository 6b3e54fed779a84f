/** The one place where loggers are made. Logs go to stderr as JSON lines; stdout stays silent. */
import { stderrDestination } from '@healthblock/runtime/logger'
import { type Logger, pino, stdSerializers } from 'pino'

/** What may be silenced. */
export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'silent'

/**
 * Makes the node's logger. Errors are logged with type, message and stack only; tokens and payloads never reach it.
 */
export function createLogger(level: LogLevel): Logger {
  return pino(
    {
      name: 'storage',
      level,
      base: null,
      redact: ['*.authorization', 'authorization', 'token', '*.token'],
      serializers: { err: stdSerializers.err },
    },
    stderrDestination(),
  )
}
