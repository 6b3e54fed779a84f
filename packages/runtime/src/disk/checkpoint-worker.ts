/** The thread of `CheckpointThread`. */
import { DatabaseSync } from 'node:sqlite'
import { parentPort, workerData } from 'node:worker_threads'
import { type CheckpointData, checkpointEnd, checkpointRequest, turnOf } from './checkpoint-turn.ts'

const { path, turn } = workerData as CheckpointData
const turnNow = new Int32Array(turn)

/** Opens the file for the checkpoint alone: whoever closes it must find that nobody else has it. */
function checkpoint(): void {
  if (Atomics.compareExchange(turnNow, 0, turnOf.free, turnOf.working) !== turnOf.free) return
  let database: DatabaseSync | undefined
  try {
    database = new DatabaseSync(path)
    database.exec('PRAGMA synchronous = NORMAL; PRAGMA wal_checkpoint(PASSIVE)')
  } catch {
    // As where SQLite does it by itself, what could not be moved stays in the log for the next time.
  } finally {
    if (database?.isOpen) database.close()
    Atomics.store(turnNow, 0, turnOf.free)
    Atomics.notify(turnNow, 0)
  }
}

parentPort?.on('message', (request: typeof checkpointRequest | typeof checkpointEnd) => {
  if (request === checkpointEnd) return parentPort?.close()
  checkpoint()
  parentPort?.postMessage(checkpointRequest)
})
