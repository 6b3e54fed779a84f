/** The log's part of one command that hands out bytes (SPEC.md §5a). */
import type { GetBlock } from '@healthblock/runtime/unixfs'
import { type BlockId, encodeBlockId, fromCid } from '../store/block-id.ts'
import type { KuboRouteParts } from './parts.ts'
import type { KuboRequest } from './query.ts'

/**
 * Logs the block that was asked for, and of what hangs below it each block of somebody else: whoever makes a node that
 * links to others' blocks does not read them unseen.
 */
export class Fetched {
  readonly #parts: Pick<KuboRouteParts, 'files' | 'fetchLog' | 'store' | 'now'>
  readonly #account: Uint8Array
  /** Accounts whose blocks need no line of their own, as text of their bytes. */
  readonly #known: Set<string>
  /** Blocks that were asked for, whose writers are not among them yet. */
  readonly #asked: BlockId[] = []

  constructor(parts: Pick<KuboRouteParts, 'files' | 'fetchLog' | 'store' | 'now'>, request: KuboRequest) {
    this.#parts = parts
    this.#account = request.principal.account
    this.#known = new Set([nameOf(this.#account)])
  }

  /** Logs a block before it is answered. Throws as `FetchLog.add`. */
  async asked(id: BlockId, bytes: Uint8Array): Promise<void> {
    const owner = await this.#parts.files.ownerOf(id, bytes)
    this.#add(id, owner)
    if (owner !== undefined) this.#known.add(nameOf(owner))
    this.#asked.push(id)
  }

  /** Reads blocks below what was asked for, and logs those of others. */
  below(get: GetBlock): GetBlock {
    return async (cid) => {
      const bytes = await get(cid)
      const id = fromCid(cid)
      const owner = await this.#parts.files.ownerOf(id, bytes)
      if (owner !== undefined && !this.#isKnown(owner)) this.#add(id, owner)
      return bytes
    }
  }

  #isKnown(owner: Uint8Array): boolean {
    // What a doctor wrote of a patient's is kept by the doctor's reference.
    for (const { digest } of this.#asked.splice(0)) {
      const writer = this.#parts.store.stat(digest)?.writer
      if (writer !== undefined) this.#known.add(nameOf(writer))
    }
    return this.#known.has(nameOf(owner))
  }

  #add(id: BlockId, owner: Uint8Array | undefined): void {
    const { fetchLog, now } = this.#parts
    fetchLog.add({ at: now(), account: this.#account, cid: encodeBlockId(id), owner })
  }
}

function nameOf(account: Uint8Array): string {
  return Buffer.from(account).toString('latin1')
}
