/**
 * The process of one audit: the engine of `healthblock audit`, told what to do by the node that started it. It is less urgent
 * than its node, and ends with it.
 */
import { readFileSync, rmSync } from 'node:fs'
import { constants, setPriority } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { type AuditProgress, type AuditRequest, audit, followAudit } from '@healthblock/audit/audit'
import type { AuditReport } from '@healthblock/audit/report'
import { parseGenesis } from '@healthblock/chain/genesis'
import { messageOf } from '@healthblock/runtime/errors'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { withReplayStores } from '@healthblock/runtime/replay-stores'
import { StorageClient } from '@healthblock/runtime/storage-client'
import { createWitnessClient } from '@healthblock/runtime/witness-client'
import type { AuditAccess, AuditTask, FromAudit, ToAudit } from './audit-messages.ts'

/** Progress is told at most this often. */
const progressEveryMs = 250

function say(message: FromAudit): void {
  process.send?.(message)
}

/** Tells of progress, now and then, and of the end of each chain. */
function progressTeller(): (progress: AuditProgress) => void {
  let toldMs = 0
  return (progress) => {
    const now = performance.now()
    if (now - toldMs < progressEveryMs && progress.done < progress.total) return
    toldMs = now
    say({ kind: 'progress', progress })
  }
}

function requestOf(task: AuditTask, accessNow: () => AuditAccess): Omit<AuditRequest, 'stores' | 'workers' | 'flush'> {
  const genesis = new Uint8Array(readFileSync(task.genesisFile))
  const parsed = parseGenesis(genesis)
  const { nodes, storage } = accessNow()
  const stores = new StorageClient({
    ...{ urls: storage, ledgerId: parsed.ledgerId, token: () => accessNow().storageToken },
    storeKeyOf: () => undefined,
  })
  return {
    genesis,
    nodes: () => accessNow().nodes,
    client: new LedgerClient({
      urls: nodes.map(({ url }) => url),
      trust: genesisTrust(parsed),
      token: () => accessNow().ledgerToken,
    }),
    now: Date.now,
    wait: (ms) => delay(ms),
    onProgress: progressTeller(),
    onFinding: (finding) => say({ kind: 'finding', finding }),
    isStateCompared: true,
    witnesses: async () => accessNow().witnesses.map(createWitnessClient),
    ...(storage.length === 0
      ? {}
      : { storage: { has: async ({ digest, codec }) => (await stores.stat(digest, { codec })) !== undefined } }),
  }
}

async function run(task: AuditTask, accessNow: () => AuditAccess): Promise<void> {
  if (task.isFromBeginning) rmSync(task.workDir, { recursive: true, force: true })
  const tell = (report: AuditReport): void => say({ kind: 'report', report })
  await withReplayStores(task.workDir, async (open) => {
    const request = { ...requestOf(task, accessNow), ...open }
    if (task.isWatch) await followAudit(request, { signal: new AbortController().signal, onLook: tell })
    else tell(await audit(request))
  })
}

setPriority(constants.priority.PRIORITY_BELOW_NORMAL)
process.once('disconnect', () => process.exit(0))
let access: AuditAccess | undefined
process.on('message', (message: ToAudit) => {
  access = message.access
  if (message.kind !== 'begin') return
  run(message.task, () => access as AuditAccess)
    .catch((error: unknown) => say({ kind: 'failed', reason: messageOf(error) }))
    .finally(() => process.disconnect?.())
})
