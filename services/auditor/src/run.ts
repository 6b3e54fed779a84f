/** One audit from the environment: the same engine as `healthblock audit`, without a cluster's folder. */
import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { audit } from '@healthblock/audit/audit'
import type { AuditReport } from '@healthblock/audit/report'
import { parseGenesis } from '@healthblock/chain/genesis'
import type { Environment } from '@healthblock/runtime/config'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { createLogger } from '@healthblock/runtime/logger'
import { withReplayStores } from '@healthblock/runtime/replay-stores'
import { readAuditorConfig } from './config.ts'
import { audited } from './events.ts'

/**
 * Audits once and gives the report.
 *
 * @throws {RuntimeError} `ERR_CONFIG_INVALID`; `ERR_DATABASE_…` for the folder. {ChainError} as `audit`.
 */
export async function run(environment: Environment): Promise<AuditReport> {
  const { config, secrets } = readAuditorConfig(environment)
  const logger = createLogger(
    { name: 'auditor', level: config.logLevel },
    { write: (line) => process.stderr.write(line) },
  )
  const genesis = new Uint8Array(readFileSync(config.genesisFile))
  const { token } = secrets
  return withReplayStores(config.dir, async (open) => {
    const report = await audit({
      ...open,
      genesis,
      nodes: config.nodes.map((url) => ({ name: url, url })),
      client: new LedgerClient({
        urls: config.nodes,
        trust: genesisTrust(parseGenesis(genesis)),
        ...(token === undefined ? {} : { token: () => token }),
      }),
      now: Date.now,
      wait: (ms) => delay(ms),
    })
    audited(logger, report)
    return report
  })
}
