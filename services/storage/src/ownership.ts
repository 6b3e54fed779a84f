/** Whose a block is: sealed payloads name their owner and writer in an authenticated header; other blocks name nobody. */
import { StorageError } from './errors.ts'
import { encodeBlockId } from './store/block-id.ts'
import type { BlockStat } from './store/entries.ts'

/** What a sealed payload's header says: of whom, and which record. Accounts are 32 bytes, a stream 8. */
export interface PayloadHeader {
  owner: Uint8Array
  writer: Uint8Array
  stream: Uint8Array
  sequence: number
}

/** The header that a store keeps with a block. */
export function headerOf(stat: BlockStat): PayloadHeader | undefined {
  const { owner, writer, stream, sequence } = stat
  if (!owner || !writer || !stream || sequence === undefined) return undefined
  return { owner, writer, stream, sequence }
}

/** Reads the header at the start of a block; undefined if the block is no sealed payload. */
export type PayloadReader = (bytes: Uint8Array) => PayloadHeader | undefined

/**
 * Refuses a sealed payload that somebody else than its writer brings.
 *
 * @throws {StorageError} `ERR_NOT_WRITER`.
 */
export function assertWriter(
  header: PayloadHeader | undefined,
  account: Uint8Array,
  id: { digest: Uint8Array; codec: number },
): void {
  if (!header || Buffer.compare(header.writer, account) === 0) return
  const detail = { code: 'ERR_NOT_WRITER', cid: encodeBlockId(id) } as const
  throw new StorageError('a sealed payload is put by its writer only', detail)
}
