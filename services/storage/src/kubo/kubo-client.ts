/** What this node asks of a Kubo daemon, over its RPC. Answers are read whole, within a limit. */
import type { IncomingMessage } from 'node:http'
import { StorageError } from '../errors.ts'
import { HttpAgent, httpRequest } from '../http.ts'

/** The largest answer: a block, or a list of peers. */
const answerBytesMax = 4 * 1024 * 1024
const requestTimeoutMs = 30_000
const boundary = '----------------healthblock-block'

/** Speaks to one daemon. */
export class KuboClient {
  /** Base of the RPC. */
  readonly url: string
  readonly token: string | undefined
  readonly #agent = new HttpAgent({ keepAlive: true, maxSockets: 64 })

  /** @param token - sent as bearer token, if there is one. */
  constructor(url: string, token: string | undefined) {
    this.url = url
    this.token = token
  }

  /** Closes idle connections. */
  close(): void {
    this.#agent.destroy()
  }

  /**
   * Runs a command.
   *
   * @returns the answer's bytes.
   * @throws {StorageError} `ERR_KUBO_FAILED` with the daemon's message, or that it cannot be reached.
   * @throws the signal's reason when it aborts.
   */
  async call(command: string, options: { file?: Uint8Array; signal?: AbortSignal } = {}): Promise<Buffer> {
    const signals = [AbortSignal.timeout(requestTimeoutMs), ...(options.signal ? [options.signal] : [])]
    let answer: { status: number; body: Buffer }
    try {
      answer = await this.#exchange(command, options.file, AbortSignal.any(signals))
    } catch (cause) {
      options.signal?.throwIfAborted()
      throw failed('the Kubo daemon cannot be reached', cause)
    }
    if (answer.status === 200) return answer.body
    throw failed(messageOf(answer.body))
  }

  /** As {@link call}, for an answer of one JSON value. */
  async json<T>(command: string, options: { file?: Uint8Array; signal?: AbortSignal } = {}): Promise<T> {
    const body = await this.call(command, options)
    try {
      return JSON.parse(body.toString('utf8')) as T
    } catch (cause) {
      throw failed('the Kubo daemon gave no JSON', cause)
    }
  }

  async #exchange(
    command: string,
    file: Uint8Array | undefined,
    signal: AbortSignal,
  ): Promise<{ status: number; body: Buffer }> {
    const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: Buffer }>()
    const body = file === undefined ? undefined : bodyOf(file)
    const request = httpRequest(`${this.url}/api/v0/${command}`, {
      method: 'POST',
      agent: this.#agent,
      signal,
      headers: {
        ...(this.token ? { authorization: `Bearer ${this.token}` } : {}),
        ...(body ? { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': body.length } : {}),
      },
    })
    request.on('response', (response) => {
      read(response).then((bytes) => resolve({ status: response.statusCode ?? 0, body: bytes }), reject)
    })
    request.on('error', reject)
    request.end(body)
    return await promise
  }
}

function bodyOf(file: Uint8Array): Buffer {
  const head = `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="block"\r\nContent-Type: application/octet-stream\r\n\r\n`
  return Buffer.concat([Buffer.from(head), file, Buffer.from(`\r\n--${boundary}--\r\n`)])
}

async function read(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of response as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > answerBytesMax) throw new TypeError('the answer is too long')
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}

function messageOf(body: Buffer): string {
  const text = body.toString('utf8').slice(0, 500)
  try {
    return String((JSON.parse(text) as { Message?: unknown }).Message ?? text)
  } catch {
    return text.trim()
  }
}

function failed(reason: string, cause?: unknown): StorageError {
  return new StorageError(reason, { code: 'ERR_KUBO_FAILED', reason }, { cause })
}
