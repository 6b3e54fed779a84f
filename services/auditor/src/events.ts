import type { AuditReport } from '@healthblock/audit/report'
import type { Logger } from '@healthblock/runtime/logger'

/** An audit ended: what it found, without the sentences. */
export function audited(logger: Logger, report: AuditReport): void {
  const { transactions, seconds, chains } = report
  logger.info({ userchain: chains.userchain, docchain: chains.docchain, transactions, seconds }, 'audited')
  for (const { code, chain, height, index, node } of report.findings) {
    logger.warn({ code, chain, height, index, node }, 'finding')
  }
}
