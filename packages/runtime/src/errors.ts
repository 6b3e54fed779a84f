import type { KeyQuestion } from './key-question.ts'

/** What does not hold in a key's answer. */
export type KeyFault =
  | 'form'
  | 'type'
  | 'challenge'
  | 'origin'
  | 'place'
  | 'presence'
  | 'verification'
  | 'unknown'
  | 'algorithm'
  | 'signature'
  | 'counter'

/** What went wrong at the edge, with the fields that a caller or a log may see: no secret, no payload. Ids are lower-case hex. */
export type RuntimeErrorDetail =
  | { code: 'ERR_CONFIG_INVALID'; faults: readonly string[] }
  | { code: 'ERR_FOLDER_LOCKED'; dir: string; pid?: number }
  | { code: 'ERR_FILE_FAILED'; path: string; reason: string }
  | { code: 'ERR_PORT_IN_USE'; host: string; port: number }
  | { code: 'ERR_LISTEN_FAILED'; host: string; port: number; reason: string }
  | { code: 'ERR_DATABASE_NEWER'; path: string; version: number; versionKnown: number }
  | { code: 'ERR_DATABASE_CORRUPT'; path: string }
  | { code: 'ERR_DATABASE_FAILED'; path: string; reason: string }
  | { code: 'ERR_DISK_FULL'; path: string }
  | { code: 'ERR_REQUEST_INVALID'; field: string; reason: string }
  | { code: 'ERR_NOT_FOUND'; what: string }
  | { code: 'ERR_TOKEN_MISSING' }
  | { code: 'ERR_TOKEN_INVALID'; reason: string }
  | { code: 'ERR_ROLE_FORBIDDEN'; needed: string }
  | { code: 'ERR_SESSION_MISSING' }
  | { code: 'ERR_PASSPHRASE_WRONG' }
  /** `keys`: what to ask a security key, at a door where it may stand for the code. */
  | { code: 'ERR_CODE_NEEDED'; keys?: KeyQuestion }
  | { code: 'ERR_CODE_WRONG' }
  | { code: 'ERR_KEY_WRONG'; reason: KeyFault }
  | { code: 'ERR_KEY_PLACE' }
  | { code: 'ERR_FACTOR_ON' }
  | { code: 'ERR_FACTOR_NOT_OFFERED' }
  | { code: 'ERR_TOO_MANY_TRIES'; retryAfterMs: number }
  /** More of one source, or of all together, than is worked on: nothing was tried. */
  | { code: 'ERR_TOO_MANY_AT_ONCE'; retryAfterMs: number }
  | { code: 'ERR_CSRF' }
  | { code: 'ERR_HOST_UNKNOWN' }
  | { code: 'ERR_LIMIT_EXCEEDED'; limit: string; max: number }
  | { code: 'ERR_BUSY'; retryAfterMs: number }
  | { code: 'ERR_SOURCE_UNREACHABLE'; url: string; reason: string }
  | { code: 'ERR_SOURCE_REFUSED'; url: string; status: number; sourceCode: string }
  | { code: 'ERR_SOURCE_MISBEHAVED'; url: string; reason: string }
  | { code: 'ERR_NO_SOURCE'; attempts: readonly string[] }
  | { code: 'ERR_LEDGER_CONFLICT'; chain: string; size: number; ownRoot: string; otherRoot: string; url: string }
  | { code: 'ERR_LEDGER_INVALID'; chain: string; height: number; index: number; rule: string }
  /** The ledger is under a version of the rules that this program does not know: it follows no further. */
  | { code: 'ERR_LEDGER_RULES'; chain: string; height: number }
  | { code: 'ERR_CURSOR_INVALID'; chain: string }
  | { code: 'ERR_OUTBOX_FULL'; max: number }
  | { code: 'ERR_BLOCK_MISMATCH'; digest: string; url: string }
  | { code: 'ERR_BLOCK_NOT_FOUND'; digest: string }
  | { code: 'ERR_DAG_INVALID'; cid: string; reason: string }
  | { code: 'ERR_EVIDENCE_INVALID'; reason: string }
  | { code: 'ERR_RECEIPTS_MISSING'; digest: string; verified: number; needed: number }
  | { code: 'ERR_CLOSED'; what: string }

/** Each code that {@link RuntimeError} can carry. */
export type RuntimeErrorCode = RuntimeErrorDetail['code']

/** The one error that this package throws for operating errors. The message is public: it holds no secret and no payload. */
export class RuntimeError extends Error {
  override readonly name = 'RuntimeError'
  readonly detail: RuntimeErrorDetail
  constructor(message: string, detail: RuntimeErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}

/** True if `error` is a {@link RuntimeError} with this code. */
export function isRuntimeError<C extends RuntimeErrorCode>(
  error: unknown,
  code: C,
): error is RuntimeError & { detail: Extract<RuntimeErrorDetail, { code: C }> } {
  return error instanceof RuntimeError && error.detail.code === code
}

/** The typed code of any of the project's errors (`error.detail.code`), or of the system (`error.code`); undefined if it has none. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { detail, code } = error as { detail?: { code?: unknown }; code?: unknown }
  if (typeof detail === 'object' && detail !== null && typeof detail.code === 'string') return detail.code
  return typeof code === 'string' ? code : undefined
}

/** True for faults of this machine that pass: a full disk, a file or database that could not be written or read. */
export function isLocalFault(error: unknown): boolean {
  const code = codeOf(error)
  return code === 'ERR_DISK_FULL' || code === 'ERR_DATABASE_FAILED' || code === 'ERR_FILE_FAILED'
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
