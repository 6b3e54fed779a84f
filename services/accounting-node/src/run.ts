/** Runs a node until a signal: starts it, starts it anew when derived state must be made anew, stops it. */
import { statfsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { codeOf } from '@healthblock/runtime/errors'
import { stopOnSignals } from '@healthblock/runtime/http-app'
import { restOfProcess } from '@healthblock/runtime/rest'
import { type RunningNode, startNode } from './compose.ts'
import { readAccountingConfig } from './config.ts'
import { createLogger } from './logger.ts'

/** A node that ran out of room starts again when so much is free: a few blocks and what is derived from them. */
const roomSizeBytesMin = 16 * 1024 * 1024
const roomPollMs = 1_000

function roomBytes(dir: string): number {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize
}

/** Reads the configuration from the environment and runs the node. Resolves once it listens. */
export async function run(): Promise<void> {
  let config = readAccountingConfig(process.env)
  const logger = createLogger({ name: config.name, level: config.settings.logLevel })
  let running: Promise<RunningNode> | undefined
  let isStopping = false

  const start = (): Promise<RunningNode> =>
    startNode(config, {
      logger,
      onHalted: (error) => {
        if (codeOf(error) === 'ERR_DISK_FULL') return void restart('there was no room on the disk', waitForRoom)
        // Whether the last write landed is unknown: a new process recovers from what the disk holds.
        logger.fatal('a core halted; the process ends and must be started again')
        setImmediate(() => process.exit(1))
      },
      onDerivedDamaged: () => void restart('derived state is made anew'),
    })
  const waitForRoom = async (): Promise<void> => {
    const { dir } = config.settings
    const isRoomy = (): boolean => roomBytes(dir) >= roomSizeBytesMin
    if (!isRoomy())
      logger.error({ dir, bytes: roomBytes(dir), bytesNeeded: roomSizeBytesMin }, 'no room left: waiting for it')
    while (!isRoomy() && !isStopping) await delay(roomPollMs)
  }
  let isRestarting = false
  const restart = async (why: string, before: () => Promise<void> = async () => {}): Promise<void> => {
    // Of both chains' cores one may halt after the other.
    if (isRestarting || isStopping) return
    isRestarting = true
    try {
      const old = await running
      if (old === undefined) return
      logger.warn(`${why}: the node starts again`)
      // The address stays, so that nobody has to be told.
      config = { ...config, settings: { ...config.settings, port: old.port } }
      await old.stop()
      running = undefined
      await before()
      isRestarting = false
      if (!isStopping) running = start()
      await running
    } catch (error) {
      logger.fatal({ err: error }, 'the node could not be started again')
      process.exit(1)
    }
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
  restOfProcess().start()
}
