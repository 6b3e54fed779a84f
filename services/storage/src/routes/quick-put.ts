/**
 * The short way of `block/put` for what nearly all puts are: usual options, a good token, a body whose length is told, and in it
 * one block in one part. It asks the same authorizer and the same quotas, puts in the same way and counts in the same
 * metrics, and it gives the same answers as the command; whatever it cannot take so, any fault before the put included, it
 * leaves to the command, which begins anew with the body as it came. Routing, hooks, streams and the reply of the framework
 * took a sixth of a put of 1 KiB at a store by itself.
 */
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import type { Authorizer } from '../access/authorizer.ts'
import { accountOf, bearerOf } from '../access/bearer.ts'
import type { Events } from '../events.ts'
import { failureAnswer, internalReason } from '../failures.ts'
import { release } from '../memory.ts'
import { receiptsHeader } from '../replication/receipt.ts'
import { sharedBytesMin } from './block-body.ts'
import { assertRoom, type BlockForm, blockBytesMax, formOf, putOne } from './blocks.ts'
import { parseParts } from './multipart.ts'
import type { KuboRouteParts } from './parts.ts'

const command = '/api/v0/block/put'
const queryLengthMax = 160
/** Names and values that mean the same however they are read. `arg` may come more than once. */
const optionPattern = /^(?!arg=)([a-z-]+)=([a-z0-9-]+)$/
/** Queries that are remembered: clients have one or two. */
const formsMax = 32

/** What {@link QuickPut} works with. */
export interface QuickPutParts extends Pick<KuboRouteParts, 'store' | 'replicator' | 'files' | 'bodies' | 'now'> {
  authorizer: Authorizer
  events: Events
  /** False while as many requests are under way as are taken at once, of all or of an account. */
  hasRoom: (account?: Uint8Array) => boolean
  /** Called when a request is under way whose body is awaited, and when it is done or left to the command. */
  onBegin: (request: IncomingMessage, account: Uint8Array) => void
  onEnd: (request: IncomingMessage, account: Uint8Array) => void
}

/** A put whose body is awaited. */
interface Begun {
  readonly request: IncomingMessage
  readonly answer: ServerResponse
  readonly length: number
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
    if (!(length > 0) || headers.expect !== undefined || !this.#parts.hasRoom()) return false
    if (headers['content-type']?.startsWith('multipart/form-data;') !== true) return false
    const beganAt = performance.now()
    const form = this.#formOf(url)
    const account = form && accountOf(this.#parts.authorizer, headers.authorization)
    if (!form || !account || !this.#parts.hasRoom(account) || !this.#isRoom(account, length)) return false
    if (!this.#parts.bodies.reserve(account, length)) return false
    this.#collect({ request, answer, length, account, form, beganAt }, handler)
    return true
  }

  /** Gathers a body. A small one comes in one piece, or is the command's. */
  #collect(begun: Begun, handler: RequestListener): void {
    const { bodies, onBegin, onEnd } = this.#parts
    const { request, answer, length, account } = begun
    let shared: Buffer | undefined
    let size = 0
    const onData = (chunk: Buffer): void => {
      size += chunk.length
      if (length >= sharedBytesMin) {
        shared ??= bodies.take(length)
        shared.set(chunk, size - chunk.length)
        release(chunk)
        if (size < length) return
      }
      const body = shared ?? chunk
      const bytes = size === length ? this.#blockOf(request, body) : undefined
      stop()
      if (bytes !== undefined) {
        void this.#put(begun, bytes, shared)
        return
      }
      onEnd(request, account)
      request.pause()
      request.unshift(body)
      handler(request, answer)
      // The command listens by now, or has refused and reads nothing.
      request.resume()
    }
    const stop = (): void => {
      bodies.free(account, length)
      request.off('data', onData)
      request.off('close', onGone)
    }
    // A caller who has gone before his body came wants nothing.
    const onGone = (): void => {
      stop()
      if (shared !== undefined) bodies.giveBack(shared)
      onEnd(request, account)
    }
    onBegin(request, account)
    request.on('data', onData)
    request.on('close', onGone)
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
      const [bytes] = parts
      return parts.length === 1 && bytes !== undefined && bytes.length <= blockBytesMax ? bytes : undefined
    } catch {
      return undefined
    }
  }

  /** @param shared - what the bytes lie in if they are to be given back. */
  async #put(begun: Begun, bytes: Buffer, shared: Buffer | undefined): Promise<void> {
    const { request, answer, account, form, beganAt } = begun
    const { events, bodies, onEnd } = this.#parts
    try {
      const put = await putOne(this.#parts, { account, tokenOf: () => bearerOf(request) }, bytes, form)
      // Every copy is stored. After a failure somebody may still be at it: then the memory is left to the collector.
      if (shared !== undefined) bodies.giveBack(shared)
      const headers = ['content-type', 'application/json; charset=utf-8', receiptsHeader, put.receipts]
      send(answer, 200, [...headers, 'x-chunked-output', '1'], put.answer)
    } catch (error) {
      const { status, headers, body } = failureAnswer(error, command)
      if (body.Reason === internalReason) events.requestFailed(command, error)
      send(answer, status, Object.entries(headers).flat(), body)
    } finally {
      onEnd(request, account)
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
