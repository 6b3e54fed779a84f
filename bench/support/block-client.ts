/** A plain client of `block/put` and `block/get`, the same for every node that speaks the Kubo RPC. */
import { createHash, randomBytes } from 'node:crypto'
import { Agent, request } from 'node:http'
import { CID } from 'multiformats/cid'
import { create as createDigest } from 'multiformats/hashes/digest'

const boundary = `bench-${randomBytes(12).toString('hex')}`
const head = Buffer.from(
  `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="block"\r\nContent-Type: application/octet-stream\r\n\r\n`,
)
const end = Buffer.from(`\r\n--${boundary}--\r\n`)

/** Blocks of one size that nobody has seen. */
export function newBlocks(count: number, size: number): Buffer[] {
  return Array.from({ length: count }, () => randomBytes(size))
}

/** A block's CID. */
export function cidOf(block: Uint8Array): string {
  const digest = createDigest(0x12, new Uint8Array(createHash('sha256').update(block).digest()))
  return CID.createV1(0x55, digest).toString()
}

/** Speaks to one node over connections that stay open. */
export class BlockClient {
  readonly #url: string
  readonly #token: string
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 256 })

  constructor(url: string, token: string) {
    this.#url = url
    this.#token = token
  }

  close(): void {
    this.#agent.destroy()
  }

  async put(block: Buffer): Promise<void> {
    await this.#post('block/put?cid-codec=raw&mhtype=sha2-256&allow-big-block=true', Buffer.concat([head, block, end]))
  }

  async get(cid: string): Promise<Buffer> {
    return await this.#post(`block/get?arg=${cid}`)
  }

  #post(path: string, body?: Buffer): Promise<Buffer> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
    const sent = request(`${this.#url}/api/v0/${path}`, {
      method: 'POST',
      agent: this.#agent,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body && { 'content-type': `multipart/form-data; boundary=${boundary}`, 'content-length': body.length }),
      },
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const bytes = Buffer.concat(chunks)
        if (response.statusCode === 200) resolve(bytes)
        else reject(new Error(`${path.split('?')[0]}: ${response.statusCode} ${bytes.toString().slice(0, 200)}`))
      })
    })
    sent.end(body)
    return promise
  }
}
