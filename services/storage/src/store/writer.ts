/** The writer's thread: one connection, the groups that arrive go through a line (src/store/group-line.ts). */
import { flushCompileCache } from 'node:module'
import { parentPort, workerData } from 'node:worker_threads'
import { collectGarbage, collectOnce } from '../memory.ts'
import { Applier } from './applier.ts'
import { isDiskFull } from './disk-room.ts'
import { GroupLine } from './group-line.ts'
import { decodeGroup, encodeOutcome, type GroupMessage } from './group-message.ts'
import { LogSync } from './log-sync.ts'
import { Packs } from './packs.ts'
import { openWriter } from './schema.ts'

/** What the thread answers: the outcomes of the operations that came first, or how many of them failed together, with which it ends if that is the last. */
export type WriterAnswer = number[] | { count: number; reason: string; isDiskFull: boolean; isLast: boolean }

/** What the thread is started with. */
export interface WriterData {
  path: string
  /** 32-byte key for blocks at rest. */
  key: Uint8Array
}

if (parentPort && workerData !== null) {
  const port = parentPort
  const { path, key } = workerData as WriterData
  const database = openWriter(path, key)
  const log = new LogSync(database, path, (error) => {
    // Out of any promise: it ends the thread, which is told to whoever started it.
    setImmediate(() => {
      throw error
    })
  })
  // After the log is written back: bytes are overwritten by what the tables say.
  const packs = new Packs(database, path, key)
  const line = new GroupLine({
    ...{ database, key, packs, log, applier: new Applier(database, key, packs) },
    answer: (operations, outcomes) => {
      const isFailed = outcomes instanceof Error
      const said: WriterAnswer = isFailed
        ? {
            ...{ count: operations.length, reason: String(outcomes), isDiskFull: isDiskFull(outcomes) },
            isLast: log.failure !== undefined,
          }
        : outcomes.map(encodeOutcome)
      port.postMessage(said)
    },
  })
  port.on('message', (message: GroupMessage | 'complete' | 'close' | 'collect' | 'give-back') => {
    if (message === 'complete') {
      line.complete()
      return
    }
    if (message === 'close') {
      database.close()
      packs.close()
      log.close()
      port.postMessage('closed')
      return
    }
    if (message === 'collect') {
      collectOnce()
      return
    }
    if (message === 'give-back') {
      database.exec('PRAGMA shrink_memory')
      collectGarbage()
      return
    }
    line.add(decodeGroup(message), message.isAhead)
  })
  port.postMessage('ready')
  flushCompileCache()
  collectGarbage()
}
