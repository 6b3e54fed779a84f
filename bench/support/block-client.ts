/**
 * A plain client of `block/put` and `block/get`, the same for every node that speaks the Kubo RPC. It speaks HTTP/1.1 over
 * sockets that it keeps, one exchange at a time on each: Node's own client takes longer over a request than the nodes that
 * are to be measured, on the same cores.
 */
import { createHash, randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'

const boundary = `bench-${randomBytes(12).toString('hex')}`
const head = Buffer.from(
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="block"\r\nContent-Type: application/octet-stream\r\n\r\n`,
)
const end = Buffer.from(`\r\n--${boundary}--\r\n`)
const noBytes = Buffer.alloc(0)

/** Blocks of one size that nobody has seen. */
export function newBlocks(count: number, size: number): Buffer[] {
  return Array.from({ length: count }, () => randomBytes(size))
}

/** A block's CID. */
export function cidOf(block: Uint8Array): string {
  const digest = createDigest(0x12, new Uint8Array(createHash('sha256').update(block).digest()))
  return CID.createV1(0x55, digest).toString()
}

interface Answer {
  readonly status: number
  readonly body: Buffer
}

/** The bytes of a chunked body, and undefined until its end is there. */
function joinChunks(bytes: Buffer, start: number): Buffer | undefined {
  const chunks: Buffer[] = []
  for (let at = start; ; ) {
    const lineEnd = bytes.indexOf('\r\n', at, 'latin1')
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    // After the last chunk there may be trailers; an empty line ends them.
    if (size === 0) return bytes.indexOf('\r\n\r\n', lineEnd, 'latin1') === -1 ? undefined : Buffer.concat(chunks)
    at = lineEnd + 2 + size + 2
    if (at > bytes.length) return undefined
    chunks.push(bytes.subarray(lineEnd + 2, at - 2))
  }
}

/** An answer of HTTP/1.1, and undefined until all of it is there. */
function parseAnswer(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n', 0, 'latin1')
  if (headEnd === -1) return undefined
  const fields = bytes.toString('latin1', 0, headEnd)
  const start = headEnd + 4
  const length = /\r\ncontent-length: *(\d+)/i.exec(fields)?.[1]
  const isChunked = length === undefined && /\r\ntransfer-encoding: *chunked/i.test(fields)
  const body = isChunked ? joinChunks(bytes, start) : bytes.subarray(start, start + Number(length ?? 0))
  if (body === undefined || (!isChunked && body.length < Number(length ?? 0))) return undefined
  return { status: Number(fields.slice(9, 12)), body }
}

/** One connection. */
class Line {
  readonly #socket: Socket
  #received: Buffer[] = []
  #waiting: PromiseWithResolvers<Answer> | undefined

  constructor(url: URL, onEnd: (line: Line) => void) {
    this.#socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true })
    this.#socket.on('data', (bytes: Buffer) => this.#onData(bytes))
    this.#socket.on('error', (error) => this.#waiting?.reject(error))
    this.#socket.on('close', () => {
      this.#waiting?.reject(new Error('the node has closed the connection'))
      onEnd(this)
    })
  }

  exchange(parts: readonly Buffer[]): Promise<Answer> {
    this.#waiting = Promise.withResolvers()
    this.#socket.cork()
    for (const part of parts) this.#socket.write(part)
    this.#socket.uncork()
    return this.#waiting.promise
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #onData(bytes: Buffer): void {
    this.#received.push(bytes)
    const joined = this.#received.length === 1 ? bytes : Buffer.concat(this.#received)
    const answer = parseAnswer(joined)
    this.#received = answer ? [] : [joined]
    if (answer) this.#waiting?.resolve(answer)
  }
}

/** Speaks to one node over connections that stay open. */
export class BlockClient {
  readonly #url: URL
  readonly #token: string
  readonly #lines = new Set<Line>()
  readonly #idle: Line[] = []

  constructor(url: string, token: string) {
    this.#url = new URL(url)
    this.#token = token
  }

  close(): void {
    for (const line of this.#lines) line.destroy()
  }

  async put(block: Buffer): Promise<void> {
    await this.#post('block/put?cid-codec=raw&mhtype=sha2-256&allow-big-block=true', block)
  }

  async get(cid: string): Promise<Buffer> {
    return await this.#post(`block/get?arg=${cid}`)
  }

  async #post(path: string, block?: Buffer): Promise<Buffer> {
    const size = block ? head.length + block.length + end.length : 0
    const type = block ? `content-type: multipart/form-data; boundary=${boundary}\r\n` : ''
    const request = `POST /api/v0/${path} HTTP/1.1\r\nhost: ${this.#url.host}\r\nauthorization: Bearer ${this.#token}\r\n${type}content-length: ${size}\r\n\r\n`
    const line = this.#idle.pop() ?? this.#open()
    const parts = [Buffer.from(request, 'latin1'), ...(block ? [head, block, end] : [noBytes])]
    const { status, body } = await line.exchange(parts)
    if (this.#lines.has(line)) this.#idle.push(line)
    if (status === 200) return body
    throw new Error(`${path.split('?')[0]}: ${status} ${body.toString().slice(0, 200)}`)
  }

  #open(): Line {
    const line = new Line(this.#url, (ended) => {
      this.#lines.delete(ended)
      const at = this.#idle.indexOf(ended)
      if (at !== -1) this.#idle.splice(at, 1)
    })
    this.#lines.add(line)
    return line
  }
}
