/** How a service that keeps a folder starts and stops. */

import { lockFolder } from '../disk/files.ts'
import { messageOf } from '../errors.ts'
import { stopOnSignals } from '../http/http-app.ts'
import { createLogger, type Logger, type LogLevel } from '../process/logger.ts'

/** What every such service's settings hold. */
export interface ServiceConfig {
  readonly dir: string
  readonly logLevel: LogLevel
}

/** A service that was opened. */
export interface Service {
  listen(): Promise<unknown>
  stop(): Promise<void>
}

/**
 * Reads the configuration, locks the folder, opens the service, listens, and stops it upon SIGTERM or SIGINT. What keeps
 * it from starting goes to stderr, with exit code 2; nothing is printed on stdout.
 */
export async function runService<C extends { config: ServiceConfig }>(options: {
  name: string
  readConfig: () => C
  create: (started: C & { logger: Logger }) => Promise<Service>
}): Promise<void> {
  try {
    const read = options.readConfig()
    const { dir, logLevel } = read.config
    const logger = createLogger({ name: options.name, level: logLevel })
    const lock = lockFolder(dir)
    const service = await options.create({ ...read, logger })
    stopOnSignals({
      logger,
      stop: async () => {
        await service.stop()
        lock.release()
      },
    })
    await service.listen()
  } catch (error) {
    process.stderr.write(`${options.name}: ${messageOf(error)}\n`)
    process.exit(2)
  }
}
