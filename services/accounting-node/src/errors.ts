/** What went wrong, with the fields that a caller or a log may see: no secret, no transaction's bytes. Ids are lower-case hex. */
export type AccountingErrorDetail =
  | { code: 'ERR_SECRET_INVALID'; path: string; reason: string }
  | { code: 'ERR_GENESIS_INVALID'; reason: string }
  | { code: 'ERR_BACKUP_INVALID'; reason: string }
  | { code: 'ERR_SUCCESSION_INVALID'; reason: string }
  | { code: 'ERR_SUCCESSION_BEHIND'; reason: string }
  | { code: 'ERR_SUCCESSION_RIVAL'; successor: string; organisations: readonly string[] }
  | { code: 'ERR_LEDGER_ENDED'; successor: string }
  | { code: 'ERR_PEERS_INVALID'; path: string; reason: string }
  | { code: 'ERR_GATEWAY_FULL'; retryAfterMs: number; limit: string }
  | { code: 'ERR_SHARE_EXCEEDED'; retryAfterMs: number; limit: string }
  | { code: 'ERR_GATEWAY_STOPPED' }
  | { code: 'ERR_SEQUENCE_INVALID'; field: string; reason: string }
  | { code: 'ERR_SUBMISSION_TOO_LARGE'; limit: string; max: number }
  | { code: 'ERR_TILE_ABSENT'; path: string }
  | { code: 'ERR_NOT_PUBLISHED'; what: string }
  /** Its line on a checkpoint counts for nothing, so it can make no receipt. */
  | { code: 'ERR_NODE_NOT_MEMBER'; chain: string }
  | { code: 'ERR_STATE_BUSY'; retryAfterMs: number }
  | { code: 'ERR_PAST_FAILED'; reason: string }
  | { code: 'ERR_ENTRY_DAMAGED'; chain: string; height: number; index: number; file: string }
  | { code: 'ERR_NOT_SPONSORED'; field: string; reason: string }
  | { code: 'ERR_INCIDENT_ABSENT'; number: number }
  | { code: 'ERR_AUDIT_RUNNING'; number: number }
  | { code: 'ERR_AUDIT_ABSENT'; number: number }
  | { code: 'ERR_WITNESS_INVALID'; field: string; reason: string }
  | { code: 'ERR_WITNESS_ABSENT'; name: string }
  | { code: 'ERR_INCIDENTS_DAMAGED'; path: string; line: number }
  | { code: 'ERR_QUEUE_FULL'; retryAfterMs: number; jobs: number }
  | { code: 'ERR_QUEUE_AWAY'; retryAfterMs: number; reason: string }
  | { code: 'ERR_PEER_UNREACHABLE'; rank: number; reason: string }
  | { code: 'ERR_PEER_REFUSED'; rank: number; reason: string }
  | { code: 'ERR_REGISTER_FAILED'; reason: string }
  | { code: 'ERR_LOG_DAMAGED'; chain: string; index: number; reason: string }
  | { code: 'ERR_FORKED'; chain: string; height: number; reason: string }
  | { code: 'ERR_CORE_HALTED'; chain: string; reason: string }
  | { code: 'ERR_RULES_UNKNOWN'; version: number; newest: number }
  | { code: 'ERR_MESSAGE_INVALID'; reason: string }

/** Each code that {@link AccountingError} can carry. */
export type AccountingErrorCode = AccountingErrorDetail['code']

/** The one error that this service throws for operating errors. The message is public: it holds no secret and no payload. */
export class AccountingError extends Error {
  override readonly name = 'AccountingError'
  readonly detail: AccountingErrorDetail
  constructor(message: string, detail: AccountingErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}

/** True if `error` is an {@link AccountingError} with this code. */
export function isAccountingError<C extends AccountingErrorCode>(
  error: unknown,
  code: C,
): error is AccountingError & { detail: Extract<AccountingErrorDetail, { code: C }> } {
  return error instanceof AccountingError && error.detail.code === code
}

/** HTTP status of the codes that a request can meet; others are faults of this node. */
export const statusOfCode: Readonly<Partial<Record<AccountingErrorCode, number>>> = {
  ERR_GATEWAY_FULL: 503,
  ERR_SHARE_EXCEEDED: 429,
  ERR_GATEWAY_STOPPED: 503,
  ERR_SEQUENCE_INVALID: 400,
  ERR_MESSAGE_INVALID: 400,
  ERR_SUCCESSION_INVALID: 422,
  ERR_SUCCESSION_BEHIND: 409,
  ERR_SUCCESSION_RIVAL: 409,
  ERR_LEDGER_ENDED: 410,
  ERR_SUBMISSION_TOO_LARGE: 413,
  ERR_TILE_ABSENT: 404,
  ERR_NOT_PUBLISHED: 404,
  ERR_NODE_NOT_MEMBER: 503,
  ERR_STATE_BUSY: 503,
  ERR_PAST_FAILED: 503,
  ERR_ENTRY_DAMAGED: 503,
  ERR_NOT_SPONSORED: 422,
  ERR_INCIDENT_ABSENT: 404,
  ERR_AUDIT_RUNNING: 409,
  ERR_AUDIT_ABSENT: 404,
  ERR_WITNESS_INVALID: 422,
  ERR_WITNESS_ABSENT: 404,
  ERR_QUEUE_FULL: 503,
  ERR_QUEUE_AWAY: 503,
}
