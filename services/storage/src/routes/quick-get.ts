/**
 * The short way of `block/get` for what nearly all gets are: a CID of the usual kind and no option, a good token, and a
 * small block that is here whole. It asks the same authorizer, writes the same log and counts in the same metrics, and it
 * gives the same answer as the command; whatever it cannot answer so, any fault included, it leaves to the command, which
 * begins anew. Routing, hooks and the reply of the framework took a third of such a get.
 *
 * Gets that come in one turn share one write to the log of fetches: it is written before any of them is answered.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Authorizer } from '../access/authorizer.ts'
import { accountOf } from '../access/bearer.ts'
import type { Events } from '../events.ts'
import type { PayloadReader } from '../ownership.ts'
import { codecRaw, encodeBlockId, readUsualText, usualTextLength } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { FetchLog, OwnedFetch } from '../store/fetch-log.ts'
import { blockType } from './blocks.ts'

const command = '/api/v0/block/get'
const prefix = `${command}?arg=`
const urlLength = prefix.length + usualTextLength
/** Most gets of one turn: what waits is held in memory. */
const waitingMax = 1024

/** What {@link QuickGet} works with. */
export interface QuickGetParts {
  store: BlockStore
  authorizer: Authorizer
  readHeader: PayloadReader
  fetchLog: FetchLog
  events: Events
  now: () => number
  /** False while as many requests are under way as are taken at once. */
  hasRoom: () => boolean
}

/** A get that is answered once it is logged. */
interface Waiting {
  request: IncomingMessage
  answer: ServerResponse
  handler: RequestListener
  bytes: Buffer
  fetch: OwnedFetch
  beganAt: number
}

/** Answers gets before the framework is asked. */
export class QuickGet {
  readonly #parts: QuickGetParts
  #waiting: Waiting[] = []
  #isClosed = false

  constructor(parts: QuickGetParts) {
    this.#parts = parts
  }

  /** From now on everything is left to the command. */
  close(): void {
    this.#isClosed = true
  }

  /**
   * Takes a request if it can be answered here.
   *
   * @param handler - takes it over if it cannot be logged.
   */
  take(request: IncomingMessage, answer: ServerResponse, handler: RequestListener): boolean {
    const { url = '', method, headers } = request
    if (url.length !== urlLength || method !== 'POST' || this.#isClosed || !url.startsWith(prefix)) return false
    if ((headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined) return false
    if (headers.expect !== undefined || this.#waiting.length >= waitingMax || !this.#parts.hasRoom()) return false
    const beganAt = performance.now()
    const account = accountOf(this.#parts.authorizer, headers.authorization)
    const id = account && readUsualText(url.slice(prefix.length))
    if (!account || !id) return false
    const { store, readHeader, now } = this.#parts
    const found = store.getSmall(id.digest)
    if (!found) return false
    const owner = (id.codec === codecRaw ? readHeader(found.bytes)?.owner : undefined) ?? found.owner
    // A node's owner may have to be looked for in its leaves.
    if (owner === undefined && id.codec !== codecRaw) return false
    const fetch = { at: now(), account, cid: encodeBlockId(id), owner }
    if (this.#waiting.length === 0) setImmediate(() => this.#answerAll())
    this.#waiting.push({ request, answer, handler, bytes: found.bytes, fetch, beganAt })
    return true
  }

  #answerAll(): void {
    const waiting = this.#waiting
    this.#waiting = []
    const { fetchLog, events } = this.#parts
    try {
      fetchLog.addAll(waiting.map(({ fetch }) => fetch) as [OwnedFetch, ...OwnedFetch[]])
    } catch {
      for (const { request, answer, handler } of waiting) handler(request, answer)
      return
    }
    for (const { answer, bytes, beganAt } of waiting) {
      answer.writeHead(200, [
        ...['content-type', blockType],
        ...['x-content-type-options', 'nosniff'],
        ...['x-stream-output', '1'],
        ...['content-length', String(bytes.length)],
      ])
      // As text the body goes out in one piece with the header.
      answer.end(bytes.toString('latin1'), 'latin1')
      events.requestDone(command, 200, (performance.now() - beganAt) / 1000)
    }
  }
}
