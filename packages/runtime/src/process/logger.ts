/**
 * Structured logs on stderr. Callers log fields that they chose; the net below catches what slips: bytes are replaced by
 * their length, fields whose names say that they are secret by a word. It looks at values of any depth up to
 * `depthMax`; what lies deeper is left out.
 */
import { type DestinationStream, pino } from 'pino'
import { codeOf, messageOf } from '../errors.ts'
import { BoundedLog } from './bounded-log.ts'

/** What this project calls a logger: pino's. */
export type Logger = import('pino').Logger

/** Levels that a service's configuration may name. */
export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number]

const depthMax = 6
const itemsMax = 64
const redacted = '[redacted]'
/** Names of fields (case ignored, as a whole word or at the end of one) that are never logged. */
const secretNames =
  /(authorization|cookie|password|passphrase|secret|secrets|token|tokens|seed|privatekey|signingkey|secretkey|plaintext|envelope|envelopes|phrase|session|credential|rawbody|body|leaf|leaves|headers)$/i

function clean(value: unknown, depth: number): unknown {
  if (value instanceof Uint8Array) return `[${value.length} bytes]`
  if (value === null || typeof value !== 'object') return value
  if (value instanceof Error) return describeError(value, depth)
  if (value instanceof Date || value instanceof URL) return value.toJSON()
  if (depth >= depthMax) return '[deeper]'
  if (Array.isArray(value)) {
    const items = value.slice(0, itemsMax).map((item) => clean(item, depth + 1))
    if (value.length > itemsMax) items.push(`[${value.length - itemsMax} more]`)
    return items
  }
  if (value instanceof Map || value instanceof Set) return `[${value.size} entries]`
  const result: Record<string, unknown> = {}
  for (const [name, item] of Object.entries(value)) {
    const harmless = typeof item === 'boolean' || item === undefined || item === null
    result[name] = !harmless && secretNames.test(name) ? redacted : clean(item, depth + 1)
  }
  return result
}

function describeError(error: Error, depth: number): Record<string, unknown> {
  const described: Record<string, unknown> = { type: error.name, message: error.message, stack: error.stack }
  const code = codeOf(error)
  if (code !== undefined) described.code = code
  const { detail } = error as { detail?: unknown }
  if (detail !== undefined && depth < depthMax) described.detail = clean(detail, depth + 1)
  if (error.cause !== undefined && depth < depthMax) {
    described.cause = error.cause instanceof Error ? describeError(error.cause, depth + 1) : messageOf(error.cause)
  }
  return described
}

/** A place for log lines; stderr if none is named. Each line ends with a newline. */
export interface LogDestination {
  write(line: string): void
}

/** Lines that wait while they cannot be written; more are dropped. */
const waitingCharactersMax = 1024 * 1024

/**
 * Stderr, for loggers. A line that cannot be written (the disk that holds the log is full) waits for a while, and is never a reason for
 * the process to end.
 *
 * @param file - The file that stderr is (`STDERR_FILE`), to be kept bounded: at most about 8 MiB, and the 8 MiB before in `FILE.1`.
 */
export function stderrDestination(file: string | undefined = process.env.STDERR_FILE): DestinationStream {
  const stderr = pino.destination({ dest: 2, sync: true, maxLength: waitingCharactersMax })
  stderr.on('error', () => {})
  if (file === undefined) return stderr
  const bounded = new BoundedLog({ descriptor: 2, path: file })
  return {
    write(line) {
      stderr.write(line)
      bounded.wrote(line.length)
    },
  }
}

/**
 * Makes the one logger of a process; parts get children of it (`logger.child({ part: 'outbox' })`).
 *
 * @param options - `name` of the service, in each line; `level`: lines below it are dropped.
 */
export function createLogger(options: { name: string; level?: LogLevel }, destination?: LogDestination): Logger {
  const logger = pino(
    {
      name: options.name,
      level: options.level ?? 'info',
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: (error: unknown) => clean(error, 0), error: (error: unknown) => clean(error, 0) },
      formatters: {
        level: (label) => ({ level: label }),
        bindings: (bindings) => clean(bindings, 0) as Record<string, unknown>,
        log: (fields) => clean(fields, 0) as Record<string, unknown>,
      },
    },
    destination ?? stderrDestination(),
  )
  // Children do not inherit the formatter of bindings, but they do inherit this method.
  const child = logger.child
  logger.child = function (this: Logger, bindings: object, childOptions?: object) {
    return child.call(this, clean(bindings, 0) as object, childOptions)
  } as Logger['child']
  return logger
}
