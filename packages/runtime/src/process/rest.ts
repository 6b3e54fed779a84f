/**
 * Memory of a node that has nothing more to do. What a burst of work has filled would stay as it is until the next one: nothing asks for a
 * collection while nothing is allocated. So the node collects when it comes to rest.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** How often the node looks how busy its event loop was since. */
const lookEveryMs = 500
/** Part of the time that the event loop is busy in a burst, and of a core that is used at rest. */
const busyPart = 0.25
const restPart = 0.1
/** It rests once it was at rest for so long. */
const restMsPreset = 2_000
/**
 * Collections then, one a look: the first frees what lives no more, the second the pages that this left empty, the third the pages that
 * were kept for the next burst.
 */
const collections = 3

/** What tells a burst from rest. */
export interface RestOptions {
  /** Since the last call: part of the time that the event loop was busy, and of a core that the process used. Where others use the machine too the first is more. */
  readonly busy: () => { readonly loop: number; readonly core: number }
  readonly collect: () => void
  /** How long nothing much is done before the process is taken to be at rest; 2 s by default. */
  readonly restMs?: number | undefined
}

/** Looks again and again, and collects after each burst. */
export class Rest {
  readonly #options: RestOptions
  #timer: NodeJS.Timeout | undefined
  /** Collections that a burst has left to be done. */
  #due = 0
  #restedLooks = 0

  constructor(options: RestOptions) {
    this.#options = options
  }

  /** Begins to look; keeps no process alive. */
  start(): void {
    this.#timer ??= setInterval(() => this.look(), lookEveryMs).unref()
  }

  /** Ends it. */
  stop(): void {
    clearInterval(this.#timer)
  }

  /** One look. */
  look(): void {
    const { busy, restMs = restMsPreset } = this.#options
    const { loop, core } = busy()
    // A loop that waits for its core while others use the machine is no burst: else it would be at rest too, and collect at each look.
    if (loop > busyPart && core >= restPart) this.#due = collections
    this.#restedLooks = core < restPart ? this.#restedLooks + 1 : 0
    if (this.#due === 0 || this.#restedLooks * lookEveryMs < restMs) return
    this.#due--
    this.#options.collect()
    // Collecting is no work that would have to be collected after.
    this.#options.busy()
  }
}

type Collect = (options: { type: 'major' }) => void

/** A context of its own takes a sixth of a MiB: only where the process was started without `--expose-gc`. */
function collectorOfThread(): Collect {
  const { gc } = globalThis as { gc?: Collect }
  if (gc !== undefined) return gc
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as Collect
}

/**
 * The event loop and the collector of this process.
 *
 * @param also - what else gives memory back then, as other threads do.
 * @param restMs - as in {@link RestOptions}.
 */
export function restOfProcess(also: () => void = () => {}, restMs?: number): Rest {
  let before = { loop: performance.eventLoopUtilization(), cpu: process.cpuUsage(), ms: performance.now() }
  const gc = collectorOfThread()
  return new Rest({
    restMs,
    busy: () => {
      const now = { loop: performance.eventLoopUtilization(), cpu: process.cpuUsage(), ms: performance.now() }
      const { utilization } = performance.eventLoopUtilization(now.loop, before.loop)
      const { user, system } = process.cpuUsage(before.cpu)
      const core = (user + system) / 1000 / Math.max(1, now.ms - before.ms)
      before = now
      return { loop: utilization, core }
    },
    collect: () => {
      also()
      gc({ type: 'major' })
    },
  })
}
