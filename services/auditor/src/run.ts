/** One audit from the environment: the same engine as `healthblock audit`, without a cluster's folder. */
import { mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { audit } from '@healthblock/audit/audit'
import type { AuditReport } from '@healthblock/audit/report'
import { parseGenesis } from '@healthblock/chain/genesis'
import type { Environment } from '@healthblock/runtime/config'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { openChainStore } from '@healthblock/runtime/ledger-stores'
import { createLogger } from '@healthblock/runtime/logger'
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
  mkdirSync(config.dir, { recursive: true, mode: 0o700 })
  const userchain = openChainStore({ path: join(config.dir, 'userchain.db') })
  const docchain = openChainStore({ path: join(config.dir, 'docchain.db') })
  try {
    const report = await audit({
      genesis,
      nodes: config.nodes.map((url) => ({ name: url, url })),
      client: new LedgerClient({
        urls: config.nodes,
        trust: genesisTrust(parseGenesis(genesis)),
        ...(token === undefined ? {} : { token: () => token }),
      }),
      stores: { userchain, docchain },
      now: Date.now,
      wait: (ms) => delay(ms),
    })
    audited(logger, report)
    return report
  } finally {
    userchain.close()
    docchain.close()
  }
}
