/** Why the store did not do what it was asked, in words. */
import { StorageError } from '../errors.ts'
import { codecRaw, encodeBlockId } from './block-id.ts'
import type { RefusalCode } from './operations.ts'

/** A pin of the caller holds the block; in Kubo's words. */
export function pinnedAs(kind: 'direct' | 'recursive', digest: Uint8Array): StorageError {
  const cid = encodeBlockId({ digest, codec: codecRaw })
  return new StorageError(`pinned: ${kind}`, { code: 'ERR_BLOCK_PINNED', cid })
}

/** What a refusal of the writer's thread is told as. @param digest - of the block that it is about, if it is about one. */
export function refusalOf(
  code: RefusalCode,
  digest: Uint8Array | undefined,
  limits: { bytesMax: number; accountBytesMax: number },
): StorageError {
  const cid = digest ? encodeBlockId({ digest, codec: codecRaw }) : ''
  switch (code) {
    case 'ERR_BLOCK_ERASED':
      return new StorageError('the block was erased by its owner', { code, cid })
    case 'ERR_BLOCK_NOT_FOUND':
      return new StorageError(`ipld: could not find ${cid}`, { code, cid })
    case 'ERR_BLOCK_PINNED':
      return new StorageError('pinned', { code, cid })
    case 'ERR_BLOCK_RELEASED':
      return new StorageError('no account keeps this block any more', { code, cid })
    case 'ERR_BLOCK_SEALED':
      return new StorageError("a sealed payload goes by its owner's tombstone only", { code, cid })
    case 'ERR_NOT_PINNED':
      return new StorageError('not pinned or pinned indirectly', { code, cid })
    case 'ERR_QUOTA_EXCEEDED':
      return new StorageError('the quota is used up', { code, bytesMax: limits.accountBytesMax })
    case 'ERR_STORE_FULL':
      return new StorageError('the store is full', { code, bytesMax: limits.bytesMax })
    case 'ERR_STORE_FAILED':
      return new StorageError('the store could not apply this', { code })
  }
}
