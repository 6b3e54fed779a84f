/** Starts one doctor node from its environment. Prints nothing on stdout. */
import { lockFolder } from '@healthblock/runtime/files'
import { stopOnSignals } from '@healthblock/runtime/http-app'
import { createLogger } from '@healthblock/runtime/logger'
import { createDoctorNode } from './app.ts'
import { readDoctorNodeConfig } from './config.ts'

try {
  const { config, secrets } = readDoctorNodeConfig(process.env)
  const logger = createLogger({ name: 'doctor-node', level: config.logLevel })
  const lock = lockFolder(config.dir)
  const node = await createDoctorNode({ config, secrets, logger })
  stopOnSignals({
    logger,
    stop: async () => {
      await node.stop()
      lock.release()
    },
  })
  await node.listen()
} catch (error) {
  process.stderr.write(`doctor-node: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(2)
}
