/**
 * Fault pairs: one scripted run, in which every single action of a node on its disk, its outbox, the register, the queue and the
 * network fails in turn, once without having happened and once although it happened; its node dies a moment later and starts again.
 */
import { type Outcome, runSeed } from './simulation.ts'
import type { Fate, IoCall } from './world.ts'

/** The seed of the scripted run: it gives latencies, and nothing else. */
const seed = 1

/** One failure: the how-manieth action, which it is, and how it fails. */
export interface Pair {
  readonly at: number
  readonly call: IoCall
  readonly fate: Fate
}

/** Every action of the scripted run, in order. */
export async function listCalls(): Promise<IoCall[]> {
  const calls: IoCall[] = []
  const { violation } = await runSeed({
    seed,
    script: (call) => {
      calls.push(call)
      return undefined
    },
  })
  if (violation !== undefined) throw new Error(`the scripted run fails by itself: ${violation.what}`)
  return calls
}

/** All pairs; or with `sampled` the second action (or the only one) of each kind of each node, whomever it is sent to. */
export function pairsOf(calls: readonly IoCall[], options: { sampled: boolean }): Pair[] {
  const nameOf = ({ kind, rank, what }: IoCall): string => `${kind} ${rank} ${what.replace(/ to \d$/, '')}`
  const chosen = new Map<string, number>()
  const count = new Map<string, number>()
  for (const [at, call] of calls.entries()) {
    const name = options.sampled ? nameOf(call) : `${at}`
    const before = count.get(name) ?? 0
    count.set(name, before + 1)
    if (before < 2) chosen.set(name, at)
  }
  const fates: readonly Fate[] = ['fails', 'fails-done']
  return [...chosen.values()].flatMap((at) => fates.map((fate) => ({ at, call: calls[at] as IoCall, fate })))
}

/** Runs one pair. */
export function runPair({ at, fate }: Pair): Promise<Outcome> {
  let index = 0
  return runSeed({ seed, script: () => (index++ === at ? fate : undefined) })
}
