/**
 * Gives a node every block of a chain after its cursor, for as long as it runs. A block that it cannot take in, or a cursor that leads nowhere, does
 * not end that in silence: the node is not ready, and it is tried again.
 */
import type { ChainName } from '@healthblock/chain/chains'
import { messageOf } from '../errors.ts'
import type { ReadinessCheck } from '../http/http-app.ts'
import type { Logger } from '../process/logger.ts'
import { pause } from '../process/pauses.ts'
import type { FollowedBlock, LedgerFollower } from './follower.ts'

const retryMsMin = 250
const retryMsMax = 30_000

/** How to make a {@link LedgerWatch}. */
export interface LedgerWatchOptions {
  readonly chain: ChainName
  readonly follower: Pick<LedgerFollower, 'follow'>
  /** Of the last block that the node is done with; undefined before the first. Read for each attempt. */
  readonly cursor: () => Uint8Array | undefined
  /** Takes a block in, with its cursor. */
  readonly onBlock: (block: FollowedBlock) => void | Promise<void>
  readonly logger: Logger
}

/** A node's watch over one chain. */
export class LedgerWatch {
  readonly #options: LedgerWatchOptions
  #fault: string | undefined

  constructor(options: LedgerWatchOptions) {
    this.#options = options
  }

  /** Follows until the signal is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { chain, follower, cursor, logger, onBlock } = this.#options
    let pauseMs = retryMsMin
    const take = async (block: FollowedBlock): Promise<void> => {
      await onBlock(block)
      this.#fault = undefined
      pauseMs = retryMsMin
    }
    while (!signal.aborted) {
      try {
        await follower.follow({ chain, cursor: cursor(), onBlock: take, signal })
        return
      } catch (error) {
        if (signal.aborted) return
        this.#fault = messageOf(error)
        logger.error({ chain, err: error, againInMs: pauseMs }, 'a chain cannot be taken in')
        await pause(pauseMs, signal)
        pauseMs = Math.min(retryMsMax, pauseMs * 2)
      }
    }
  }

  /** The follower's readiness, with what keeps this watch from taking its chain in. */
  readiness(checks: readonly ReadinessCheck[]): readonly ReadinessCheck[] {
    const reason = this.#fault
    if (reason === undefined) return checks
    return checks.map((check) =>
      check.name === this.#options.chain && check.ready ? { name: check.name, ready: false, reason } : check,
    )
  }
}
