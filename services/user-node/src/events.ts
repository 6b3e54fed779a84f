import { EventEmitter } from 'node:events'
import type { Logger } from '@healthblock/runtime/logger'

/** What the node tells its people while they watch: ids and times only, never a value. */
export interface UserNodeEvent {
  readonly type: 'reading' | 'diagnosis' | 'alarm' | 'revocation' | 'grant' | 'look'
  /** Account of the person whom it concerns, hex. */
  readonly account: string
  readonly atMs: number
  readonly [field: string]: string | number
}

/** Business events: logged once, and handed to whoever listens on `/v1/events`. */
export class UserNodeEvents {
  readonly #emitter = new EventEmitter({ captureRejections: false })
  readonly #logger: Logger
  constructor(logger: Logger) {
    this.#logger = logger
    this.#emitter.setMaxListeners(256)
  }

  /** Tells everybody who listens. */
  emit(event: UserNodeEvent): void {
    this.#logger.info({ event: event.type, at: event.atMs }, 'event')
    this.#emitter.emit('event', event)
  }

  /** Listens until the returned function is called. */
  listen(listener: (event: UserNodeEvent) => void): () => void {
    this.#emitter.on('event', listener)
    return () => this.#emitter.off('event', listener)
  }
}
