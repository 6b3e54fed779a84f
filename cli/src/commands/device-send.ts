/** What a device does with its batches: sends them oldest first, keeps what may be taken later, and drops what no time makes right. */
import { callNode, type NodeAccess, NodeError } from '../cluster/client.ts'
import { CommandError } from '../io.ts'

/** How to send. */
export interface SendOptions {
  /** The device's own credential. */
  readonly access: NodeAccess
  /** Of the route. */
  readonly path: string
  /** How long what the node does not take yet is sent again, in all; 0: it is not. */
  readonly waitMs: number
  readonly pause: (ms: number) => Promise<void>
  /** Told of each batch that is dropped or waited for. */
  readonly say: (words: string) => void
}

/** What became of the batches. */
export interface Sent {
  readonly accepted: number
  readonly dropped: number
}

/** Answers about the batch itself: the same one again is answered the same. Of others the device, the node or the moment is the reason. */
const droppedStatuses = [400, 409, 413, 422]
const laterStatuses = [429, 500, 502, 503, 504, 507]

/**
 * Sends batches in order. One that the node refuses for good is dropped, and the next one goes on; one that it does not take yet is sent again
 * when the node says, and holds up those behind it.
 *
 * @throws {CommandError} at a batch that is kept: it was not taken within `waitMs`, or the node did not answer; it and those behind it are to be
 *   sent again.
 */
export async function sendInOrder(batches: readonly unknown[], options: SendOptions): Promise<Sent> {
  const { access, path, pause, say } = options
  let leftMs = options.waitMs
  let accepted = 0
  let dropped = 0
  for (const [at, batch] of batches.entries()) {
    const name = `batch ${at + 1} of ${batches.length}`
    for (;;) {
      try {
        await callNode(access, 'POST', path, batch)
        accepted++
        break
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        const status = error instanceof NodeError ? error.status : 0
        if (droppedStatuses.includes(status)) {
          dropped++
          say(`${name} is dropped: ${error.message}\n`)
          break
        }
        const againMs = error instanceof NodeError && laterStatuses.includes(status) ? error.retryAfterMs : undefined
        if (againMs === undefined || againMs > leftMs) throw keptError(name, { error, againMs, accepted })
        say(`${name}: ${error.message}; again in ${againMs / 1000} s\n`)
        leftMs -= againMs
        await pause(againMs)
      }
    }
  }
  return { accepted, dropped }
}

function keptError(
  name: string,
  { error, againMs, accepted }: { error: CommandError; againMs: number | undefined; accepted: number },
): CommandError {
  const before = accepted === 0 ? 'nothing was accepted' : `${accepted} before it were accepted`
  const advice =
    againMs === undefined ? '' : `: send it and those behind it again in ${againMs / 1000} s, or add --wait`
  return new CommandError(`${name}: ${error.message} (${before}${advice})`, undefined, { cause: error })
}
