/**
 * The process that executes a node's log again, as far as somebody wants to know its state: less urgent than its node, and ends with it.
 * To go back it begins anew: the tree has no way backwards.
 */
import { rmSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { join } from 'node:path'
import { setImmediate } from 'node:timers/promises'
import type { ChainName } from '@healthblock/chain/chains'
import { messageOf } from '@healthblock/runtime/errors'
import { PastLedger, type PastRecord } from './past-ledger.ts'
import type { FromPast, ToPast } from './past-messages.ts'

/** Progress is told at most this often. */
const progressEveryMs = 250

function say(message: FromPast): void {
  process.send?.(message)
}

let open: { readonly chain: ChainName; readonly ledger: PastLedger } | undefined

function close(): void {
  open?.ledger.close()
  open = undefined
}

function ledgerAt({ chain, height, pastDir, ...folders }: ToPast): PastLedger {
  const workDir = join(pastDir, chain)
  if (open?.chain !== chain) close()
  open ??= { chain, ledger: new PastLedger(chain, { ...folders, workDir }) }
  if (open.ledger.height > height) {
    close()
    rmSync(workDir, { recursive: true, force: true })
    open = { chain, ledger: new PastLedger(chain, { ...folders, workDir }) }
  }
  return open.ledger
}

async function answer(question: ToPast): Promise<PastRecord> {
  const ledger = ledgerAt(question)
  let toldMs = 0
  for (const height of ledger.executeTo(question.height)) {
    const now = performance.now()
    if (now - toldMs < progressEveryMs) continue
    toldMs = now
    say({ kind: 'progress', height })
    // The node may have ended meanwhile.
    await setImmediate()
  }
  return ledger.prove(question.key)
}

setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
process.once('disconnect', () => process.exit(0))
process.on('message', (question: ToPast) => {
  answer(question).then(
    (record) => say({ kind: 'record', record }),
    (error: unknown) => {
      close()
      // Whatever it was, nothing of it is used again.
      rmSync(join(question.pastDir, question.chain), { recursive: true, force: true })
      say({ kind: 'failed', reason: messageOf(error) })
    },
  )
})
