/**
 * Reads of pieces of a log: many, immutable, one behind the other from the same few nodes. They go over connections that stay open, by
 * Node's own client, which takes a fraction of the processor time of `fetch`: an audit makes thousands.
 */
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, Agent as TlsAgent } from 'node:https'
import { RuntimeError } from '../errors.ts'
import { type HttpRequest, misbehaved, refused, unreachable } from '../http/http-client.ts'

/** A read. */
export type PieceRead = Pick<HttpRequest, 'url' | 'headers' | 'timeoutMs' | 'sizeBytesMax' | 'signal'>

/** Connections to one node. */
const connectionsMax = 16
const settings = { keepAlive: true, maxSockets: connectionsMax } as const
/** Connections that nobody uses keep no process alive. */
const agents = { plain: new Agent(settings), tls: new TlsAgent(settings) }

/** The node closed a kept connection at the moment in which it was used again. */
class StaleConnection extends Error {
  override readonly name = 'StaleConnection'
}

/**
 * Reads one piece whole.
 *
 * @throws {RuntimeError} as `sendRequest`. An abort of `signal` throws its reason.
 */
export async function readPiece(read: PieceRead): Promise<Uint8Array> {
  try {
    return await exchange(read)
  } catch (error) {
    if (error instanceof StaleConnection) return readPiece(read)
    read.signal?.throwIfAborted()
    throw error instanceof RuntimeError ? error : unreachable(read.url, error)
  }
}

function exchange({ url, headers = {}, timeoutMs, sizeBytesMax, signal }: PieceRead): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>()
  const options = { headers: { ...headers }, ...(signal === undefined ? {} : { signal }) }
  const request = url.startsWith('https:')
    ? httpsRequest(url, { ...options, agent: agents.tls })
    : httpRequest(url, { ...options, agent: agents.plain })
  const fail = (error: Error): void => {
    reject(error)
    request.destroy()
  }
  const timer = setTimeout(
    () => fail(unreachable(url, new DOMException('no answer in time', 'TimeoutError'))),
    timeoutMs,
  )
  request.on('error', (error: NodeJS.ErrnoException) => {
    const isStale = request.reusedSocket && error.code === 'ECONNRESET'
    reject(isStale ? new StaleConnection() : unreachable(url, error))
  })
  request.on('response', (response) => {
    response.on('error', (error) => reject(unreachable(url, error)))
    collect(response, { url, sizeBytesMax, fail, resolve, reject })
  })
  request.end()
  return promise.finally(() => clearTimeout(timer))
}

/** Gathers an answer. `fail` ends the connection too; after a refusal, read to its end, the next read takes it. */
function collect(
  response: IncomingMessage,
  read: {
    readonly url: string
    readonly sizeBytesMax: number
    readonly fail: (error: Error) => void
    readonly resolve: (bytes: Uint8Array) => void
    readonly reject: (error: Error) => void
  },
): void {
  const { url, sizeBytesMax, fail, resolve, reject } = read
  const parts: Uint8Array[] = []
  let sizeBytes = 0
  response.on('data', (part: Uint8Array) => {
    sizeBytes += part.length
    if (sizeBytes > sizeBytesMax) fail(misbehaved(url, `an answer of more than ${sizeBytesMax} bytes`))
    else parts.push(part)
  })
  response.on('end', () => {
    const bytes = new Uint8Array(sizeBytes)
    let offset = 0
    for (const part of parts) {
      bytes.set(part, offset)
      offset += part.length
    }
    const { statusCode: status = 0 } = response
    if (status >= 200 && status < 300) resolve(bytes)
    else reject(refused(url, status, bytes, response.headers.date))
  })
}
