/** Runs a node until a signal: starts it, starts it anew when derived state must be made anew, stops it. */

import { stopOnSignals } from '@healthblock/runtime/http-app'
import { type RunningNode, startNode } from './compose.ts'
import { readAccountingConfig } from './config.ts'
import { createLogger } from './logger.ts'

/** Reads the configuration from the environment and runs the node. Resolves once it listens. */
export async function run(): Promise<void> {
  let config = readAccountingConfig(process.env)
  const logger = createLogger({ name: `accounting-${config.settings.rank}`, level: config.settings.logLevel })
  let running: Promise<RunningNode> | undefined
  let isStopping = false

  const start = (): Promise<RunningNode> =>
    startNode(config, {
      logger,
      onHalted: () => {
        // Whether the last write landed is unknown: a new process recovers from what the disk holds.
        logger.fatal('a core halted; the process ends and must be started again')
        setImmediate(() => process.exit(1))
      },
      onDerivedDamaged: () => void restart(),
    })
  const restart = async (): Promise<void> => {
    const old = await running
    if (old === undefined || isStopping) return
    logger.warn('derived state is made anew')
    // The address stays, so that nobody has to be told.
    config = { ...config, settings: { ...config.settings, port: old.port } }
    running = old.stop().then(start)
    running.catch((error: unknown) => {
      logger.fatal({ err: error }, 'the node could not be started again')
      process.exit(1)
    })
  }

  stopOnSignals({
    logger,
    stop: async () => {
      isStopping = true
      await (await running)?.stop()
    },
  })
  running = start()
  await running
}
