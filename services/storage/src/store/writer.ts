/** The writer's thread: one connection, one transaction for each group that arrives. */
import { parentPort, workerData } from 'node:worker_threads'
import { collectGarbage } from '../memory.ts'
import { Applier } from './applier.ts'
import { decodeGroup, encodeOutcome, type GroupMessage } from './group-message.ts'
import { Packs } from './packs.ts'
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
  const packs = new Packs(database, path)
  const applier = new Applier(database, key, packs)
  port.on('message', (message: GroupMessage | 'close' | 'give-back') => {
    if (message === 'close') {
      database.close()
      packs.close()
      port.postMessage('closed')
      return
    }
    if (message === 'give-back') {
      collectGarbage()
      return
    }
    try {
      port.postMessage(applier.applyGroup(decodeGroup(message)).map(encodeOutcome))
    } catch (error) {
      port.postMessage(String(error))
    }
  })
  port.postMessage('ready')
  collectGarbage()
}
