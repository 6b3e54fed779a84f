/**
 * Server-sent events that outlive a sleeping laptop and a restarted node: every reconnection says so, and the page asks anew. The tabs of a
 * browser share one line: over HTTP/1.1 it opens six connections to a node, and a line holds one for as long as it stands, so that nothing
 * would be left for a seventh tab. Whichever tab holds the lock has the line and tells the others; when it goes, the next one has it.
 */
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
/** A tab that is not seen is woken once a minute. */
const hiddenSleepMs = 150_000
/** Whoever has the line says so within this time; else a tab takes one of its own. */
const answerMs = 3_000

/** What tabs tell each other. */
type TabWord = 'who' | 'alive' | 'open' | 'lost' | { readonly event: LiveEvent }

/** The page's one line to the node. */
export class Live {
  readonly #path: string
  readonly #eventTypes: readonly string[]
  readonly #listeners = new Set<(event: LiveEvent | undefined) => void>()
  readonly #stateListeners = new Set<(state: LiveState) => void>()
  #source: EventSource | undefined
  /** The other tabs. */
  #tabs: BroadcastChannel | undefined
  /** Ends this tab's wish for the lock, or its hold of it. */
  #turn: AbortController | undefined
  #isLeading = false
  /** When another tab last said something, by the clock of `performance.now`. */
  #wordMs = Number.NEGATIVE_INFINITY
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
    this.#tabs = new BroadcastChannel(`healthblock.line ${this.#path}`)
    this.#tabs.addEventListener('message', ({ data }: MessageEvent<TabWord>) => this.#hearTab(data))
    this.#lastTickMs = Date.now()
    // Where a page is not secure there are no locks: then each tab has a line.
    if (navigator.locks === undefined) this.#connect()
    else this.#join(navigator.locks)
    this.#watchdog = setInterval(() => this.#tick(), 5_000)
    window.addEventListener('online', this.#onOnline)
    document.addEventListener('visibilitychange', this.#onVisible)
  }

  /** Ends the line. */
  stop(): void {
    clearInterval(this.#watchdog)
    this.#watchdog = undefined
    clearTimeout(this.#timer)
    window.removeEventListener('online', this.#onOnline)
    document.removeEventListener('visibilitychange', this.#onVisible)
    this.#source?.close()
    this.#source = undefined
    this.#isLeading = false
    this.#turn?.abort()
    this.#turn = undefined
    this.#tabs?.close()
    this.#tabs = undefined
  }

  /** Waits for the lock, and asks who has it meanwhile. */
  #join(locks: LockManager): void {
    const turn = new AbortController()
    this.#turn = turn
    const lead = (): Promise<void> =>
      new Promise((resolve) => {
        if (turn.signal.aborted) return resolve()
        turn.signal.addEventListener('abort', () => resolve(), { once: true })
        this.#isLeading = true
        this.#connect()
      })
    // An aborted wish rejects: somebody has logged out.
    locks.request(`healthblock.line ${this.#path}`, { signal: turn.signal }, lead).catch(() => {})
    this.#ask()
  }

  /** Asks whoever has the line; if nobody says anything, takes one of its own. */
  #ask(): void {
    const askedMs = performance.now()
    this.#tell('who')
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      if (this.#source === undefined && this.#wordMs < askedMs) this.#connect()
    }, answerMs)
  }

  #tell(word: TabWord): void {
    this.#tabs?.postMessage(word)
  }

  #hearTab(word: TabWord): void {
    if (word === 'who' && this.#isLeading && this.#state.isConnected) this.#tell('alive')
    if (word === 'who' || this.#isLeading) return
    this.#wordMs = performance.now()
    if (this.#source !== undefined) {
      // A line of one's own is for while nobody tells.
      if (word === 'lost') return
      clearTimeout(this.#timer)
      this.#source.close()
      this.#source = undefined
    }
    if (word === 'lost') {
      this.#setState({ ...this.#state, isConnected: false })
      void checkSession()
      return
    }
    this.#heard(true)
    if (word !== 'alive') this.#hand(word === 'open' ? undefined : word.event)
  }

  /** Hands an event on, here and to the tabs that have no line. */
  #pass(event: LiveEvent | undefined): void {
    if (this.#isLeading) this.#tell(event === undefined ? 'open' : { event })
    this.#hand(event)
  }

  #hand(event: LiveEvent | undefined): void {
    for (const listener of this.#listeners) listener(event)
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
      this.#pass(undefined)
    })
    source.addEventListener('error', () => {
      if (this.#source !== source) return
      source.close()
      this.#setState({ ...this.#state, isConnected: false })
      if (this.#isLeading) this.#tell('lost')
      // A line that the node ended may mean that the session is over: what is shown is then nobody's to see.
      void checkSession()
      clearTimeout(this.#timer)
      this.#timer = setTimeout(() => this.#connect(), this.#retryMs)
      this.#retryMs = Math.min(retryMsMax, this.#retryMs * 2)
    })
    source.addEventListener('alive', () => {
      this.#heard(true)
      if (this.#isLeading) this.#tell('alive')
    })
    for (const type of this.#eventTypes) {
      source.addEventListener(type, (message) => {
        this.#heard(true)
        this.#pass(JSON.parse((message as MessageEvent<string>).data) as LiveEvent)
      })
    }
  }

  readonly #reconnect = (): void => {
    const isFollowing = this.#turn !== undefined && !this.#isLeading && this.#source === undefined
    clearTimeout(this.#timer)
    this.#retryMs = retryMsMin
    if (isFollowing) this.#ask()
    else this.#connect()
  }

  readonly #onOnline = (): void => {
    if (this.#source !== undefined) this.#reconnect()
  }

  readonly #onVisible = (): void => {
    if (document.visibilityState === 'visible' && (!this.#state.isConnected || this.#isSilent())) this.#reconnect()
  }

  #isSilent(): boolean {
    return nodeNowMs() - this.#state.heardAtMs > silenceMs
  }

  /** A timer that comes far too late means that the machine slept: what is open then is open on one side only. */
  #tick(): void {
    const now = Date.now()
    const hasSlept = now - this.#lastTickMs > (document.visibilityState === 'visible' ? silenceMs : hiddenSleepMs)
    this.#lastTickMs = now
    if (hasSlept || (this.#state.isConnected && this.#isSilent())) this.#reconnect()
  }

  #heard(isConnected: boolean): void {
    this.#setState({ isConnected, heardAtMs: nodeNowMs() })
  }

  #setState(state: LiveState): void {
    this.#state = state
    for (const listener of this.#stateListeners) listener(state)
  }
}
