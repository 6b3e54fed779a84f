/** The writer's thread: one connection, one transaction for each group that arrives. */
import { parentPort, workerData } from 'node:worker_threads'
import { Applier, type Operation } from './operations.ts'
import { openWriter } from './schema.ts'

/** What the thread is started with. */
export interface WriterData {
  path: string
  /** 32-byte key for blocks at rest. */
  key: Uint8Array
}

if (parentPort) {
  const port = parentPort
  const { path, key } = workerData as WriterData
  const database = openWriter(path, key)
  const applier = new Applier(database, key)
  port.on('message', (operations: Operation[] | 'close') => {
    if (operations === 'close') {
      database.close()
      port.postMessage('closed')
      return
    }
    try {
      port.postMessage(applier.applyGroup(operations))
    } catch (error) {
      port.postMessage(String(error))
    }
  })
  port.postMessage('ready')
}
