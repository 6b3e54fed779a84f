/** Starts one user node from its environment. Prints nothing on stdout. */
import { lockFolder } from '@healthblock/runtime/files'
import { stopOnSignals } from '@healthblock/runtime/http-app'
import { createLogger } from '@healthblock/runtime/logger'
import { createUserNode } from './app.ts'
import { readUserNodeConfig } from './config.ts'

try {
  const { config, secrets } = readUserNodeConfig(process.env)
  const logger = createLogger({ name: 'user-node', level: config.logLevel })
  const lock = lockFolder(config.dir)
  const node = await createUserNode({ config, secrets, logger })
  stopOnSignals({
    logger,
    stop: async () => {
      await node.stop()
      lock.release()
    },
  })
  await node.listen()
} catch (error) {
  process.stderr.write(`user-node: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(2)
}
