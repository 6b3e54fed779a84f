/** Server-sent events that outlive a sleeping laptop and a restarted node: every reconnection says so, and the page asks anew. */
import { checkSession, nodeNowMs } from './api.ts'

/** One event of the node: ids, codes and times, never a value. */
export interface LiveEvent {
  readonly type: string
  readonly [field: string]: unknown
}

/** How the line to the node is. */
export interface LiveState {
  readonly isConnected: boolean
  /** When the node was last heard, Unix ms by its own clock. */
  readonly heardAtMs: number
}

/** Retries wait so long, doubling. */
const retryMsMin = 500
const retryMsMax = 15_000
/** A line that says nothing for so long is dead: the node sends a sign of life every 15 s. */
const silenceMs = 40_000

/** The page's one line to the node. */
export class Live {
  readonly #path: string
  readonly #eventTypes: readonly string[]
  readonly #listeners = new Set<(event: LiveEvent | undefined) => void>()
  readonly #stateListeners = new Set<(state: LiveState) => void>()
  #source: EventSource | undefined
  #state: LiveState = { isConnected: false, heardAtMs: nodeNowMs() }
  #retryMs = retryMsMin
  #timer: ReturnType<typeof setTimeout> | undefined
  #watchdog: ReturnType<typeof setInterval> | undefined
  #lastTickMs = Date.now()

  /** @param eventTypes - The names of events that the node sends on this path. */
  constructor(path: string, eventTypes: readonly string[]) {
    this.#path = path
    this.#eventTypes = eventTypes
  }

  /** Connects, and again for as long as it is wanted. */
  start(): void {
    if (this.#watchdog !== undefined) return
    this.#connect()
    this.#watchdog = setInterval(() => this.#tick(), 5_000)
    window.addEventListener('online', this.#reconnect)
    document.addEventListener('visibilitychange', this.#onVisible)
  }

  /** Ends the line. */
  stop(): void {
    clearInterval(this.#watchdog)
    this.#watchdog = undefined
    clearTimeout(this.#timer)
    window.removeEventListener('online', this.#reconnect)
    document.removeEventListener('visibilitychange', this.#onVisible)
    this.#source?.close()
    this.#source = undefined
  }

  /** Hears every event; undefined after each new connection, when anything may have happened unheard. */
  listen(listener: (event: LiveEvent | undefined) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Hears of the state of the line, at once and at each change. */
  watch(listener: (state: LiveState) => void): () => void {
    this.#stateListeners.add(listener)
    listener(this.#state)
    return () => this.#stateListeners.delete(listener)
  }

  #connect(): void {
    this.#source?.close()
    const source = new EventSource(this.#path)
    this.#source = source
    source.addEventListener('open', () => {
      this.#retryMs = retryMsMin
      this.#heard(true)
      for (const listener of this.#listeners) listener(undefined)
    })
    source.addEventListener('error', () => {
      if (this.#source !== source) return
      source.close()
      this.#setState({ ...this.#state, isConnected: false })
      // A line that the node ended may mean that the session is over: what is shown is then nobody's to see.
      void checkSession()
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#connect(), this.#retryMs)
      this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2)
    })
    source.addEventListener('alive', () => this.#heard(true))
    for (const type of this.#eventTypes) {
      source.addEventListener(type, (message) => {
        this.#heard(true)
        const event = JSON.parse((message as MessageEvent<string>).data) as LiveEvent
        for (const listener of this.#listeners) listener(event)
      })
    }
  }

  readonly #reconnect = (): void => {
    clearTimeout(this.#timer)
    this.#retryMs = retryMsMin
    this.#connect()
  }

  readonly #onVisible = (): void => {
    if (document.visibilityState === 'visible' && !this.#state.isConnected) this.#reconnect()
  }

  /** A timer that comes far too late means that the machine slept: what is open then is open on one side only. */
  #tick(): void {
    const now = Date.now()
    const hasSlept = now - this.#lastTickMs > silenceMs
    this.#lastTickMs = now
    if (hasSlept || (this.#state.isConnected && nodeNowMs() - this.#state.heardAtMs > silenceMs)) this.#reconnect()
  }

  #heard(isConnected: boolean): void {
    this.#setState({ isConnected, heardAtMs: nodeNowMs() })
  }

  #setState(state: LiveState): void {
    this.#state = state
    for (const listener of this.#stateListeners) listener(state)
  }
}
