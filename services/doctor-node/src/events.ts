import { EventEmitter } from 'node:events'
import type { Logger } from '@healthblock/runtime/logger'

/** What the node tells the doctor while he watches: ids, codes and times only, never a value. */
export interface DoctorNodeEvent {
  readonly type: 'grant' | 'reading' | 'alarm' | 'diagnosis' | 'refused' | 'unreadable'
  /** Account of the patient, hex. */
  readonly patient: string
  readonly atMs: number
  readonly [field: string]: string | number
}

/** Business events: logged once, and handed to whoever listens on `/v1/events`. */
export class DoctorNodeEvents {
  readonly #emitter = new EventEmitter({ captureRejections: false })
  readonly #logger: Logger
  constructor(logger: Logger) {
    this.#logger = logger
    this.#emitter.setMaxListeners(256)
  }

  /** Tells everybody who listens. */
  emit(event: DoctorNodeEvent): void {
    const level = event.type === 'reading' ? 'debug' : 'info'
    this.#logger[level]({ event: event.type, at: event.atMs }, 'event')
    this.#emitter.emit('event', event)
  }

  /** Listens until the returned function is called. */
  listen(listener: (event: DoctorNodeEvent) => void): () => void {
    this.#emitter.on('event', listener)
    return () => this.#emitter.off('event', listener)
  }
}
