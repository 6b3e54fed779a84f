/** What all parts of a simulated world share: time, chance, the record of what happened, and the faults that are in force. */
import type { ChainName } from '@healthblock/chain/chains'
import type { Random } from './random.ts'
import type { Life, Scheduler } from './scheduler.ts'
import type { Trace } from './trace.ts'

/** Both chains, Userchain first. */
export const chainNames: readonly ChainName[] = ['userchain', 'docchain']

/** An injected fault of a disk, register, queue or network; never a fault of the code. */
export class Injected extends Error {
  override readonly name = 'Injected'
}

/** Parts of the world that a node acts on. */
export type IoKind = 'disk' | 'outbox' | 'register' | 'queue' | 'network'

/** What becomes of one action: it succeeds; it fails and did not happen; it fails and happened all the same. */
export type Fate = 'done' | 'fails' | 'fails-done'

/** Shares of a network's messages. */
export interface NetworkFaults {
  loss: number
  duplicates: number
  /** Share of messages that take up to `slowMs`. */
  slow: number
  slowMs: number
  /** Pairs `from>to` that do not reach each other. */
  readonly cut: Set<string>
}

/** Shares of a register's calls. */
export interface RegisterFaults {
  away: boolean
  /** Calls that never happen; the caller waits in vain. */
  lost: number
  /** Calls that happen, and whose answer is lost. */
  unanswered: number
  /** Calls that happen after their caller gave up. */
  late: number
}

/** Shares of a queue's jobs. */
export interface QueueFaults {
  away: boolean
  lost: number
  repeated: number
  reordered: number
  /** Jobs that are added although their sender hears of a failure. */
  unanswered: number
}

/** Faults of the world as they are at this moment; a plan sets and clears them. */
export class Faults {
  readonly network: NetworkFaults = { loss: 0, duplicates: 0, slow: 0, slowMs: 0, cut: new Set() }
  readonly register: RegisterFaults = { away: false, lost: 0, unanswered: 0, late: 0 }
  readonly queue: QueueFaults = { away: false, lost: 0, repeated: 0, reordered: 0, unanswered: 0 }
  /** By rank: the node's next action on its disk (or outbox) fails in this way. */
  readonly nextDisk = new Map<number, Fate>()
  readonly nextOutbox = new Map<number, Fate>()

  /** Calls that a node takes and never answers: `rank method`. They do not end with the others. */
  readonly silence = new Set<string>()

  /** Ends all but the silence. */
  clear(): void {
    Object.assign(this.network, { loss: 0, duplicates: 0, slow: 0, slowMs: 0 })
    this.network.cut.clear()
    Object.assign(this.register, { away: false, lost: 0, unanswered: 0, late: 0 })
    Object.assign(this.queue, { away: false, lost: 0, repeated: 0, reordered: 0, unanswered: 0 })
    this.nextDisk.clear()
    this.nextOutbox.clear()
  }
}

/** One action of a node on the world, in the order in which they happen. */
export interface IoCall {
  readonly kind: IoKind
  readonly rank: number
  readonly what: string
}

/** The ground on which nodes stand. */
export interface World {
  readonly scheduler: Scheduler
  readonly random: Random
  readonly trace: Trace
  readonly faults: Faults
  /** Asked once for each action; a script may decide its fate, else the faults in force do. */
  readonly script?: (call: IoCall) => Fate | undefined
}

/** Decides the fate of one action by the script, or by the fault that waits for this node. */
export function fateOf(world: World, call: IoCall): Fate {
  const scripted = world.script?.(call)
  if (scripted !== undefined) return scripted
  const waiting =
    call.kind === 'disk' ? world.faults.nextDisk : call.kind === 'outbox' ? world.faults.nextOutbox : undefined
  const fate = waiting?.get(call.rank)
  if (fate === undefined) return 'done'
  waiting?.delete(call.rank)
  return fate
}

/** Resolves after `ms` of a life; never, if it ends before. */
export function later(world: World, life: Life, ms: number): Promise<void> {
  return new Promise((resolve) => {
    world.scheduler.after(ms, life, resolve)
  })
}
