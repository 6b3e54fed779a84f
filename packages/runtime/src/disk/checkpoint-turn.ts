/** What `CheckpointThread` and its thread say to each other. */

/** What the thread is started with. */
export interface CheckpointData {
  /** Of the database. */
  readonly path: string
  /** One number of 32 bits: who may use the file, one of `turnOf`. */
  readonly turn: SharedArrayBuffer
}

/** Who may use the file: nobody yet, the thread, or nobody any more. */
export const turnOf = { free: 0, working: 1, closed: 2 } as const

/** Asks the thread for a checkpoint; it answers with the same once it has done what it could. */
export const checkpointRequest = 'checkpoint'
/** Asks it to end. */
export const checkpointEnd = 'end'
