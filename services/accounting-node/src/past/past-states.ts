/**
 * Records of the state as it was after an earlier block. One process executes the log again for all who ask, one block at a time: who asks
 * for the same waits together, who asks for something else meanwhile is told to come back. It ends when nobody asked for a while.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import type { ChainName } from '@healthblock/chain/chains'
import { toHex } from '@healthblock/encoding/bytes'
import { AccountingError } from '../errors.ts'
import type { PastRecord } from './past-ledger.ts'
import type { FromPast, ToPast } from './past-messages.ts'

const entry = fileURLToPath(new URL('./past-process.ts', import.meta.url))
const heapSizeMb = 512
/** A question waits so long for its answer before it is told how far it is. */
const answerWithinMs = 2_000
/** Whoever asks for something else meanwhile comes back after so long. */
const retryAfterMs = 2_000
/** The process ends when nobody asked for so long. */
const idleMs = 300_000
/** Answers that are kept: what was so then does not change. */
const answersMax = 64

/** What is asked for. */
export interface PastQuestion {
  readonly chain: ChainName
  /** Canonical CBOR of the key. */
  readonly key: Uint8Array
  /** The block after which the state is wanted. */
  readonly height: number
}

/** Not executed so far yet: the height that was reached. */
export interface PastProgress {
  readonly executed: number
}

interface Working {
  readonly name: string
  readonly record: Promise<PastRecord>
  executed: number
}

/** Answers one node's questions about its past. */
export class PastStates {
  readonly #folders: Pick<ToPast, 'genesisFile' | 'dir' | 'pastDir'>
  readonly #answers = new Map<string, PastRecord>()
  #child: ChildProcess | undefined
  #working: Working | undefined
  #idle: NodeJS.Timeout | undefined

  /** @param folders - The genesis file, and the node's folder. */
  constructor(folders: { readonly genesisFile: string; readonly dir: string }) {
    this.#folders = { ...folders, pastDir: join(folders.dir, 'past') }
  }

  /**
   * A record, or how far it is: ask again then.
   *
   * @throws {AccountingError} `ERR_STATE_BUSY` while it works for somebody else; `ERR_PAST_FAILED`.
   */
  async get(question: PastQuestion): Promise<PastRecord | PastProgress> {
    const name = `${question.chain} ${question.height} ${toHex(question.key)}`
    const known = this.#answers.get(name)
    if (known !== undefined) return known
    if (this.#working !== undefined && this.#working.name !== name) {
      const detail = { code: 'ERR_STATE_BUSY', retryAfterMs } as const
      throw new AccountingError('another state of the past is being made: try again', detail)
    }
    this.#working ??= this.#begin(name, question)
    const working = this.#working
    const late = new AbortController()
    const isLate = delay(answerWithinMs, undefined, { signal: late.signal, ref: false }).catch(() => undefined)
    const record = await Promise.race([working.record, isLate]).finally(() => late.abort())
    return record ?? { executed: working.executed }
  }

  /** Ends the process. */
  stop(): void {
    clearTimeout(this.#idle)
    this.#child?.kill('SIGKILL')
    this.#child = undefined
  }

  #begin(name: string, question: PastQuestion): Working {
    clearTimeout(this.#idle)
    this.#child ??= this.#start()
    const child = this.#child
    const { promise, resolve, reject } = Promise.withResolvers<PastRecord>()
    const working: Working = { name, record: promise, executed: 0 }
    const fail = (reason: string): void =>
      reject(new AccountingError(`the log could not be executed again: ${reason}`, { code: 'ERR_PAST_FAILED', reason }))
    const onMessage = (message: FromPast): void => {
      if (message.kind === 'progress') working.executed = message.height
      else if (message.kind === 'record') resolve(message.record)
      else fail(message.reason)
    }
    const onExit = (): void => fail('its process has ended')
    child.on('message', onMessage)
    child.once('exit', onExit)
    child.send({ ...this.#folders, ...question } satisfies ToPast, (error) => {
      if (error !== null) fail(error.message)
    })
    promise
      .then((record) => this.#keep(name, record))
      // Whoever waits is told; if nobody does any more, the next one begins anew.
      .catch(() => {})
      .finally(() => {
        child.off('message', onMessage)
        child.off('exit', onExit)
        this.#working = undefined
        this.#idle = setTimeout(() => this.stop(), idleMs)
        this.#idle.unref()
      })
    return working
  }

  #keep(name: string, record: PastRecord): void {
    this.#answers.set(name, record)
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= answersMax) return
      this.#answers.delete(oldest)
    }
  }

  #start(): ChildProcess {
    const child = fork(entry, [], {
      execArgv: [`--max-old-space-size=${heapSizeMb}`, '--disable-warning=ExperimentalWarning'],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    })
    const forget = (): void => {
      if (this.#child === child) this.#child = undefined
    }
    child.once('error', forget)
    child.once('exit', forget)
    return child
  }
}
