/** What went wrong, with the fields that a caller or a log may see. Identifiers are lower-case hex or CID text. */
export type StorageErrorDetail =
  | { code: 'ERR_CONFIG_INVALID'; faults: string[] }
  | { code: 'ERR_TOKEN_MISSING' }
  | { code: 'ERR_TOKEN_INVALID' }
  | { code: 'ERR_ROLE_FORBIDDEN'; needed: string }
  | { code: 'ERR_ARGUMENT_INVALID'; field: string; reason: string }
  | { code: 'ERR_CID_INVALID'; reason: string }
  | { code: 'ERR_MULTIPART_INVALID'; reason: string }
  | { code: 'ERR_BLOCK_TOO_LARGE'; sizeBytesMax: number }
  | { code: 'ERR_BLOCK_NOT_FOUND'; cid: string }
  | { code: 'ERR_BLOCK_MISMATCH'; cid: string }
  | { code: 'ERR_BLOCK_ERASED'; cid: string }
  | { code: 'ERR_BLOCK_SEALED'; cid: string }
  | { code: 'ERR_BLOCK_PINNED'; cid: string }
  | { code: 'ERR_BLOCK_RELEASED'; cid: string }
  | { code: 'ERR_NOT_PINNED'; cid: string }
  | { code: 'ERR_NOT_WRITER'; cid: string }
  | { code: 'ERR_PATH_NOT_FOUND'; name: string; under: string }
  | { code: 'ERR_DAG_INVALID'; cid: string; reason: string }
  | { code: 'ERR_NOT_OWNER'; cid: string }
  | { code: 'ERR_SIGNATURE_NEEDED'; cid: string }
  | { code: 'ERR_ORDER_INVALID'; reason: string }
  | { code: 'ERR_KUBO_FAILED'; reason: string }
  | { code: 'ERR_QUOTA_EXCEEDED'; bytesMax: number }
  | { code: 'ERR_STORE_FULL'; bytesMax: number }
  | { code: 'ERR_STORE_BUSY'; operationsMax: number }
  | { code: 'ERR_STORE_FAILED' }
  | { code: 'ERR_QUORUM_MISSED'; copies: number; copiesNeeded: number }
  | { code: 'ERR_TIMEOUT' }
  | { code: 'ERR_RECEIPT_INVALID'; reason: string }
  | { code: 'ERR_MEMBERS_INVALID'; reason: string }
  | { code: 'ERR_SWARM_KEY_INVALID' }
  | { code: 'ERR_BITSWAP_INVALID'; reason: string }
  | { code: 'ERR_PEER_UNREACHABLE'; peer: string }
  | { code: 'ERR_PEER_MISBEHAVED'; peer: string }
  | { code: 'ERR_NODE_REFUSED'; node: string; status: number; reason: string }

/** Each code that {@link StorageError} can carry. */
export type StorageErrorCode = StorageErrorDetail['code']

/** The one error that this service throws for operating errors. The message is public: it holds no secret and no payload. */
export class StorageError extends Error {
  override readonly name = 'StorageError'
  readonly detail: StorageErrorDetail
  constructor(message: string, detail: StorageErrorDetail, options?: ErrorOptions) {
    super(message, options)
    this.detail = detail
  }
}

/** True if `error` is a {@link StorageError} with this code. */
export function isStorageError(error: unknown, code: StorageErrorCode): error is StorageError {
  return error instanceof StorageError && error.detail.code === code
}

/** What is remembered of an account's removals takes as much as its quota. */
export function tooManyRemovals(): StorageError {
  const message =
    'too many removals of this account are remembered: they are forgotten when all stores have been here together for 30 days'
  return new StorageError(message, { code: 'ERR_QUOTA_EXCEEDED', bytesMax: 0 })
}

/** A node that is starting listens before it is in the swarm. */
export function notInSwarm(): StorageError {
  const message = 'the node is starting and not in the swarm yet: ask again in a moment'
  return new StorageError(message, { code: 'ERR_STORE_BUSY', operationsMax: 0 })
}
