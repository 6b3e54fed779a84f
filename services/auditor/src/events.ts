import type { AuditReport, Finding } from '@healthblock/audit/report'
import type { Logger } from '@healthblock/runtime/logger'

/** A look at the ledgers ended: how far they go. */
export function audited(logger: Logger, report: AuditReport): void {
  const { transactions, seconds, chains } = report
  logger.info({ userchain: chains.userchain, docchain: chains.docchain, transactions, seconds }, 'audited')
}

/** Something is not as it must be. */
export function found(logger: Logger, { code, chain, height, index, node }: Finding): void {
  logger.warn({ code, chain, height, index, node }, 'finding')
}
