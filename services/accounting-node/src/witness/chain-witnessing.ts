/**
 * Asks witnesses for their cosignatures over the published heads of one chain. It looks once a second at what is published and is told
 * nothing, so that nothing on the way to publication can wait for a witness; whatever one does costs it alone.
 */

import type { ChainName } from '@healthblock/chain/chains'
import type { NoteKey } from '@healthblock/chain/checkpoint'
import { consistencyProof } from '@healthblock/chain/merkle'
import { witnessNote } from '@healthblock/chain/witness'
import { messageOf } from '@healthblock/runtime/errors'
import { askWitness, type Witness, type WitnessOutcome, type WitnessRefusal } from '@healthblock/runtime/witness-client'
import type { PublishedHead } from '../core/chain-core.ts'
import type { Clock } from '../core/ports.ts'
import type { ChainReader } from '../reading/chain-reader.ts'
import type { WitnessedHeads } from './witnessed-heads.ts'

const periodMs = 1_000
const pauseMsMin = 1_000
const pauseMsMax = 60_000
/** A head that did not change is cosigned anew after this. */
const renewMs = 300_000
/** Requests of one attempt: at first, and after the witness named what it holds. */
const requestsMax = 3

/** Why a witness does not cosign: few values, they are labels. */
export type WitnessFault = WitnessRefusal | 'ahead' | 'invalid' | 'unreachable'

/** Told of each attempt that came to nothing, and of the first that did not. */
export interface WitnessObserver {
  failed(chain: ChainName, name: string, fault: WitnessFault, said: string, isNew: boolean): void
  recovered(chain: ChainName, name: string): void
  /** Something of this node's own failed. */
  broke(error: unknown): void
}

/** What one chain's witnessing works with. */
export interface ChainWitnessingOptions {
  readonly chain: ChainName
  readonly reader: Pick<ChainReader, 'published' | 'tiles'>
  /** This node's log key: its line is what witnesses check. */
  readonly logKey: NoteKey
  readonly heads: WitnessedHeads
  readonly clock: Clock
  readonly observer: WitnessObserver
}

/** What is known of a witness's view of this chain. */
interface State {
  readonly witness: Witness
  /** What it is thought to hold. */
  knownSize: number
  isBusy: boolean
  failures: number
  /** By `elapsedMs`. */
  notBeforeMs: number
  renewAtMs: number
  fault: WitnessFault | undefined
}

/** Asks the witnesses of one chain. */
export class ChainWitnessing {
  readonly #options: ChainWitnessingOptions
  readonly #states = new Map<string, State>()
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  readonly #asking = new Set<Promise<void>>()

  constructor(options: ChainWitnessingOptions) {
    this.#options = options
  }

  /** Begins to ask a witness; one of the same name is asked no more. */
  add(witness: Witness): void {
    const { name } = witness.key
    const { clock, heads } = this.#options
    const knownSize = heads.newestOf(name)?.size ?? 0
    const times = { notBeforeMs: 0, renewAtMs: clock.elapsedMs() }
    this.#states.set(name, { witness, knownSize, isBusy: false, failures: 0, fault: undefined, ...times })
    this.#running ??= this.#run()
  }

  /** Ends asking a witness. */
  remove(name: string): void {
    this.#states.delete(name)
  }

  /** Why the last attempt at a witness came to nothing. */
  faultOf(name: string): WitnessFault | undefined {
    return this.#states.get(name)?.fault
  }

  /** Ends asking; resolves when no request is under way. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#running
    await Promise.all(this.#asking)
  }

  async #run(): Promise<void> {
    const { clock, reader } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      const head = reader.published
      if (head !== undefined) this.#askAll(head)
      await clock.wait(periodMs, signal)
    }
  }

  #askAll(head: PublishedHead): void {
    const { clock, heads } = this.#options
    const nowMs = clock.elapsedMs()
    for (const [name, state] of this.#states) {
      if (state.isBusy || nowMs < state.notBeforeMs) continue
      if (heads.newestOf(name)?.size === head.size && nowMs < state.renewAtMs) continue
      state.isBusy = true
      const asking: Promise<void> = this.#attempt(state, head).finally(() => {
        state.isBusy = false
        this.#asking.delete(asking)
      })
      this.#asking.add(asking)
    }
  }

  async #attempt(state: State, head: PublishedHead): Promise<void> {
    try {
      await this.#ask(state, head)
    } catch (error) {
      if (this.#stopping.signal.aborted) return
      this.#options.observer.broke(error)
      this.#pause(state)
    }
  }

  async #ask(state: State, head: PublishedHead): Promise<void> {
    const { chain, heads, clock, observer } = this.#options
    const { name } = state.witness.key
    for (let request = 0; request < requestsMax; request++) {
      const outcome = await this.#request(state, head)
      // Removed, or replaced, while it was asked.
      if (this.#states.get(name) !== state) return
      if (outcome.kind === 'cosigned') {
        heads.add(name, head, outcome.cosignature)
        if (state.fault !== undefined) observer.recovered(chain, name)
        const nowMs = clock.elapsedMs()
        Object.assign(state, { knownSize: head.size, failures: 0, fault: undefined, renewAtMs: nowMs + renewMs })
        return
      }
      if (outcome.kind !== 'holds' || outcome.size > head.size || outcome.size === state.knownSize) {
        this.#fail(state, head, outcome)
        return
      }
      state.knownSize = outcome.size
    }
    this.#fail(state, head, { kind: 'invalid', reason: 'it names another size each time' })
  }

  #request(state: State, head: PublishedHead): Promise<WitnessOutcome> {
    const { reader, logKey } = this.#options
    const { size, root } = head
    const oldSize = Math.min(state.knownSize, size)
    const proof = consistencyProof({ oldSize, size }, reader.tiles.read)
    const checkpoint = witnessNote(head.checkpoint, logKey)
    const request = { head: { origin: logKey.name, size, root }, checkpoint, oldSize, proof }
    return askWitness(state.witness, request, { signal: this.#stopping.signal })
  }

  #fail(state: State, head: PublishedHead, outcome: Exclude<WitnessOutcome, { kind: 'cosigned' }>): void {
    const { fault, said } = faultOf(outcome, head)
    // It may have lost what it held, so the next attempt asks it.
    state.knownSize = outcome.kind === 'holds' && outcome.size <= head.size ? outcome.size : 0
    const { chain, observer } = this.#options
    observer.failed(chain, state.witness.key.name, fault, said, state.fault !== fault)
    state.fault = fault
    this.#pause(state)
  }

  #pause(state: State): void {
    const pauseMs = Math.min(pauseMsMax, pauseMsMin * 2 ** Math.min(state.failures, 10))
    state.failures++
    state.notBeforeMs = this.#options.clock.elapsedMs() + pauseMs
  }
}

function faultOf(
  outcome: Exclude<WitnessOutcome, { kind: 'cosigned' }>,
  head: PublishedHead,
): { fault: WitnessFault; said: string } {
  switch (outcome.kind) {
    case 'holds': {
      const said = `it holds ${outcome.size} entries, ${head.size} are published`
      if (outcome.size > head.size) return { fault: 'ahead', said }
      // The size that it was told it holds, and it refuses: of this size, but of another root.
      return outcome.size === head.size ? { fault: 'inconsistent', said } : { fault: 'invalid', said }
    }
    case 'refused':
      return { fault: outcome.reason, said: `status ${outcome.status}` }
    default:
      return { fault: outcome.kind, said: messageOf(outcome.reason) }
  }
}
