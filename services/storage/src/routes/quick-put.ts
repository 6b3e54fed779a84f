/**
 * The short way of `block/put` for what nearly all puts are: usual options, a good token, and one small block in one part
 * that comes in one piece. It asks the same authorizer and the same quotas, puts in the same way and counts in the same
 * metrics, and it gives the same answers as the command; whatever it cannot take so, any fault before the put included, it
 * leaves to the command, which begins anew with the body as it came. Routing, hooks, streams and the reply of the framework
 * took a third of such a put at a store by itself.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Authorizer } from '../access/authorizer.ts'
import { accountOf } from '../access/bearer.ts'
import type { Events } from '../events.ts'
import { failureAnswer, internalReason } from '../failures.ts'
import { receiptsHeader } from '../replication/receipt.ts'
import { assertRoom, type BlockForm, formOf, putOne } from './blocks.ts'
import { parseParts } from './multipart.ts'
import type { KuboRouteParts } from './parts.ts'

const command = '/api/v0/block/put'
/** Longer ones do not come in one piece. */
const bodyBytesMax = 32 * 1024
const queryLengthMax = 160
/** Names and values that mean the same however they are read. `arg` may come more than once. */
const optionPattern = /^(?!arg=)([a-z-]+)=([a-z0-9-]+)$/
/** Queries that are remembered: clients have one or two. */
const formsMax = 32

/** What {@link QuickPut} works with. */
export interface QuickPutParts extends Pick<KuboRouteParts, 'store' | 'replicator' | 'files' | 'now'> {
  authorizer: Authorizer
  events: Events
  /** False while as many requests are under way as are taken at once. */
  hasRoom: () => boolean
  /** Counts a request as under way (1), or as done (-1). */
  count: (change: 1 | -1) => void
}

/** A put whose body is awaited. */
interface Begun {
  readonly answer: ServerResponse
  readonly account: Uint8Array
  readonly form: BlockForm
  readonly beganAt: number
}

/** Answers puts before the framework is asked. */
export class QuickPut {
  readonly #parts: QuickPutParts
  readonly #forms = new Map<string, BlockForm>()
  #isClosed = false

  constructor(parts: QuickPutParts) {
    this.#parts = parts
  }

  /** From now on everything is left to the command. */
  close(): void {
    this.#isClosed = true
  }

  /**
   * Takes a request if it can be answered here.
   *
   * @param handler - takes it over if its body is another than it seemed.
   */
  take(request: IncomingMessage, answer: ServerResponse, handler: RequestListener): boolean {
    const { url = '', method, headers } = request
    if (method !== 'POST' || this.#isClosed || !url.startsWith(command)) return false
    const length = Number(headers['content-length'])
    if (!(length > 0 && length <= bodyBytesMax) || headers.expect !== undefined || !this.#parts.hasRoom()) return false
    if (headers['content-type']?.startsWith('multipart/form-data;') !== true) return false
    const beganAt = performance.now()
    const form = this.#formOf(url)
    const account = form && accountOf(this.#parts.authorizer, headers.authorization)
    if (!form || !account || !this.#isRoom(account, length)) return false
    const begun = { answer, account, form, beganAt }
    const onData = (chunk: Buffer): void => {
      const bytes = chunk.length === length ? this.#blockOf(request, chunk) : undefined
      if (bytes !== undefined) {
        stop()
        void this.#put(begun, bytes)
      } else {
        leave()
        request.pause()
        request.unshift(chunk)
        handler(request, answer)
        // The command listens by now, or has refused and reads nothing.
        request.resume()
      }
    }
    const stop = (): void => {
      request.off('data', onData)
      request.off('close', leave)
    }
    // The command counts it by itself; a caller who has gone before his body came wants nothing.
    const leave = (): void => {
      stop()
      this.#parts.count(-1)
    }
    this.#parts.count(1)
    request.on('data', onData)
    request.on('close', leave)
    return true
  }

  #formOf(url: string): BlockForm | undefined {
    const known = this.#forms.get(url)
    if (known !== undefined) return known
    const form = parseForm(url)
    if (form === undefined) return undefined
    if (this.#forms.size >= formsMax) this.#forms.clear()
    this.#forms.set(url, form)
    return form
  }

  #isRoom(account: Uint8Array, length: number): boolean {
    try {
      assertRoom(this.#parts, account, length)
      return true
    } catch {
      return false
    }
  }

  /** The one block of a body. */
  #blockOf(request: IncomingMessage, body: Buffer): Buffer | undefined {
    if (this.#isClosed) return undefined
    try {
      const parts = parseParts(request.headers['content-type'] ?? '', body)
      return parts.length === 1 ? parts[0] : undefined
    } catch {
      return undefined
    }
  }

  async #put({ answer, account, form, beganAt }: Begun, bytes: Buffer): Promise<void> {
    const { events, count } = this.#parts
    try {
      const put = await putOne(this.#parts, account, bytes, form)
      const headers = ['content-type', 'application/json; charset=utf-8', receiptsHeader, put.receipts]
      send(answer, 200, [...headers, 'x-chunked-output', '1'], put.answer)
    } catch (error) {
      const { status, headers, body } = failureAnswer(error, command)
      if (body.Reason === internalReason) events.requestFailed(command, error)
      send(answer, status, Object.entries(headers).flat(), body)
    } finally {
      count(-1)
      events.requestDone(command, answer.statusCode, (performance.now() - beganAt) / 1000)
    }
  }
}

function send(answer: ServerResponse, status: number, headers: readonly string[], body: object): void {
  const text = Buffer.from(JSON.stringify(body)).toString('latin1')
  answer.writeHead(status, [...headers, 'content-length', String(text.length)])
  // As text the body goes out in one piece with the header.
  answer.end(text, 'latin1')
}

/** The options of a put; undefined if they are not usual ones, or wrong. */
function parseForm(url: string): BlockForm | undefined {
  const text = url.slice(command.length)
  if (text === '') return formOf({ query: {} })
  if (!text.startsWith('?') || text.length > queryLengthMax) return undefined
  const query: Record<string, string> = {}
  for (const option of text.slice(1).split('&')) {
    const [, name = '', value = ''] = optionPattern.exec(option) ?? []
    if (name === '' || Object.hasOwn(query, name)) return undefined
    query[name] = value
  }
  try {
    return formOf({ query })
  } catch {
    return undefined
  }
}
