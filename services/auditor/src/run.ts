/** An audit from the environment: the same engine as `healthblock audit`, without a cluster's folder. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { type AuditRequest, audit, followAudit } from '@healthblock/audit/audit'
import type { AuditReport, Finding } from '@healthblock/audit/report'
import { parseGenesis } from '@healthblock/chain/genesis'
import type { Environment } from '@healthblock/runtime/config'
import { isRuntimeError } from '@healthblock/runtime/errors'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { createLogger } from '@healthblock/runtime/logger'
import { withReplayStores } from '@healthblock/runtime/replay-stores'
import { createWitnessClient, type WitnessClient } from '@healthblock/runtime/witness-client'
import { readAuditorConfig } from './config.ts'
import { audited, found } from './events.ts'

/** How an audit is watched. */
export interface RunOptions {
  /** Ends an audit that follows, after the look under way. */
  readonly signal: AbortSignal
  /** Told of each finding of an audit that follows, once. */
  readonly onFinding: (finding: Finding) => void
}

function witnessesOf(list: string | undefined): WitnessClient[] {
  if (list === undefined) return []
  return list.split(',').map((entry) => {
    const [url, vkey] = entry.trim().split(' ') as [string, string]
    return createWitnessClient({ url, vkey })
  })
}

/** The token as its file has it now: it lasts a day, and who follows needs a new one then. */
function tokenSource(environment: Environment, first: string | undefined): (() => string) | undefined {
  if (first === undefined) return undefined
  let known = first
  return () => {
    try {
      known = readAuditorConfig(environment).secrets.token ?? known
    } catch (error) {
      // Somebody is just writing it.
      if (!isRuntimeError(error, 'ERR_CONFIG_INVALID')) throw error
    }
    return known
  }
}

/**
 * Audits once, or until the signal, and gives the last report.
 *
 * @throws {RuntimeError} `ERR_CONFIG_INVALID`; `ERR_DATABASE_…` for the folder. {ChainError} as `audit`.
 */
export async function run(environment: Environment, { signal, onFinding }: RunOptions): Promise<AuditReport> {
  const { config, secrets } = readAuditorConfig(environment)
  const logger = createLogger(
    { name: 'auditor', level: config.logLevel },
    { write: (line) => process.stderr.write(line) },
  )
  const genesis = new Uint8Array(readFileSync(config.genesisFile))
  const token = tokenSource(environment, secrets.token)
  return withReplayStores(config.dir, async (open) => {
    const request: AuditRequest = {
      ...open,
      genesis,
      nodes: config.nodes.map((url) => ({ name: url, url })),
      client: new LedgerClient({
        urls: config.nodes,
        trust: genesisTrust(parseGenesis(genesis)),
        ...(token === undefined ? {} : { token }),
      }),
      witnesses: witnessesOf(config.witnesses),
      now: Date.now,
      wait: (ms) => delay(ms, undefined, { signal }).catch(() => undefined),
      onFinding: (finding) => {
        found(logger, finding)
        if (config.mode === 'follow') onFinding(finding)
      },
    }
    const onLook = (report: AuditReport): void => audited(logger, report)
    if (config.mode === 'follow') return followAudit(request, { signal, onLook })
    const report = await audit(request)
    onLook(report)
    return report
  })
}
