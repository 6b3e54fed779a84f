/** What storage nodes signed of who fetched a person's blocks, word for word: an auditor holds it against the grants on record. */
import { concatBytes } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { encodeFetchEvidence, fetchCursorAt } from '@healthblock/runtime/fetch-page'
import type { Logger } from '@healthblock/runtime/logger'
import type { StorageClient } from '@healthblock/runtime/storage-client'
import type { Person } from '../store/person.ts'

interface Dependencies {
  readonly storageOf: (account: Uint8Array) => StorageClient
  /** Addresses of the storage nodes. */
  readonly urls: readonly string[]
  readonly logger: Logger
}

/** All that could be had. */
export interface CollectedFetches {
  /** A CBOR sequence of pages (packages/audit/SPEC.md §1). */
  readonly bytes: Uint8Array
  /** Storage nodes that did not answer. */
  readonly unreachable: number
  /** Storage nodes whose log is longer than what is taken of it: ask again from a later time. */
  readonly cut: number
}

/** Most bytes of all pages together. */
const bytesMax = 64 * 1024 * 1024
/** A storage node that does not answer a page within this time counts as unreachable. */
const pageMsMax = 10_000

/** Collects it. */
export class FetchEvidence {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** Asks every storage node for its log from `sinceMs` on, or for the hour before it; 0 for all of it. */
  async collect(person: Person, sinceMs: number): Promise<CollectedFetches> {
    const { urls, logger } = this.#deps
    const results = await Promise.allSettled(urls.map((url) => this.#pages(person, url, sinceMs)))
    for (const result of results)
      if (result.status === 'rejected')
        logger.warn({ reason: messageOf(result.reason) }, 'a storage node does not tell who fetched')
    const answers = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
    return {
      bytes: concatBytes(...answers.flatMap(({ pages }) => pages)),
      unreachable: results.length - answers.length,
      cut: answers.filter(({ isCut }) => isCut).length,
    }
  }

  async #pages(person: Person, url: string, sinceMs: number): Promise<{ pages: Uint8Array[]; isCut: boolean }> {
    const { storageOf, urls } = this.#deps
    const { account } = person
    const room = bytesMax / urls.length
    const pages: Uint8Array[] = []
    let sizeBytes = 0
    for (let after = sinceMs === 0 ? '' : fetchCursorAt(sinceMs); ; ) {
      const signal = AbortSignal.timeout(pageMsMax)
      const page = await storageOf(account).fetches({ url, account, after, signal })
      const bytes = encodeFetchEvidence(page.evidence)
      if (page.fetches.length > 0) pages.push(bytes)
      sizeBytes += bytes.length
      if (page.isEnd || sizeBytes > room) return { pages, isCut: !page.isEnd }
      after = page.next
    }
  }
}
