/**
 * Bodies of `multipart/form-data` (RFC 7578), as IPFS clients send them: blocks as parts in memory, files as a
 * stream of parts. What is not understood is refused, so that nothing is dropped in silence.
 */
import { StorageError } from '../errors.ts'

/** What surrounds the block: boundaries and headers of the part. */
export const multipartOverheadBytesMax = 16 * 1024
const partHeaderBytesMax = 8 * 1024
/** Parts of one body that is read into memory. */
const partsMax = 256
const boundaryPattern = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)/i

function invalid(reason: string): StorageError {
  return new StorageError(`the body is malformed: ${reason}`, { code: 'ERR_MULTIPART_INVALID', reason })
}

function boundaryOf(contentType: string): string {
  const match = boundaryPattern.exec(contentType.slice(0, 512))
  const boundary = match?.[1] ?? match?.[2]
  if (!boundary) throw invalid('no boundary')
  return boundary
}

/** What stands before the first part, and behind each. */
interface Delimiters {
  readonly contentType: string
  readonly opening: Buffer
  readonly closing: Buffer
}

/** Clients use one boundary for all that they send. */
let last: Delimiters | undefined

function delimitersOf(contentType: string): Delimiters {
  if (last?.contentType === contentType) return last
  const boundary = boundaryOf(contentType)
  const opening = Buffer.from(`--${boundary}\r\n`, 'latin1')
  last = { contentType, opening, closing: Buffer.from(`\r\n--${boundary}`, 'latin1') }
  return last
}

/**
 * Takes the parts out of a body.
 *
 * @param contentType - the header, which names the boundary.
 * @returns each part's bytes, views into `body`; one at least.
 * @throws {StorageError} `ERR_MULTIPART_INVALID`.
 */
export function parseParts(contentType: string, body: Buffer): Buffer[] {
  const { opening, closing } = delimitersOf(contentType)
  if (!body.subarray(0, opening.length).equals(opening)) throw invalid('does not begin with the boundary')
  const parts: Buffer[] = []
  for (let at = opening.length; ; ) {
    const headerEnd = body.subarray(0, at + partHeaderBytesMax).indexOf('\r\n\r\n', at - 2, 'latin1')
    if (headerEnd === -1) throw invalid("no end of the part's headers")
    const start = headerEnd + 4
    const end = body.indexOf(closing, start)
    if (end === -1) throw invalid('ends early')
    parts.push(body.subarray(start, end))
    const next = end + closing.length
    const rest = body.subarray(next, next + 4).toString('latin1')
    if (rest === '--' || rest.startsWith('--\r\n')) return parts
    if (!rest.startsWith('\r\n')) throw invalid('no final boundary')
    if (parts.length >= partsMax) throw invalid('too many parts')
    at = next + 2
  }
}

/** One part of a streamed body. Its content is read before the next part is asked for, or it is skipped. */
export interface BodyPart {
  /** The file's path as the client gave it; empty without one. */
  readonly name: string
  /** Lower case, without parameters; empty without one. */
  readonly contentType: string
  readonly content: AsyncIterable<Uint8Array>
}

/** Takes bytes from a source up to delimiters, with never more than one chunk and one delimiter in memory. */
class DelimitedReader {
  readonly #source: AsyncIterator<Buffer>
  #buffer: Buffer = Buffer.alloc(0)
  #ended = false

  constructor(source: AsyncIterable<Buffer>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  async #more(): Promise<void> {
    const next = await this.#source.next()
    if (next.done === true) this.#ended = true
    else this.#buffer = this.#buffer.length === 0 ? next.value : Buffer.concat([this.#buffer, next.value])
  }

  /** What comes before the delimiter, which is taken too. */
  async until(delimiter: Buffer, sizeBytesMax: number, missing: string): Promise<Buffer> {
    for (;;) {
      const at = this.#buffer.indexOf(delimiter)
      if (at > sizeBytesMax || (at === -1 && this.#buffer.length > sizeBytesMax + delimiter.length)) {
        throw invalid(missing)
      }
      if (at !== -1) {
        const found = this.#buffer.subarray(0, at)
        this.#buffer = this.#buffer.subarray(at + delimiter.length)
        return found
      }
      if (this.#ended) throw invalid('ends early')
      await this.#more()
    }
  }

  /** The bytes before the delimiter, in pieces; the delimiter is taken too, and `state` says so. */
  async *pieces(delimiter: Buffer, state: { isDone: boolean }): AsyncGenerator<Uint8Array> {
    for (;;) {
      const at = this.#buffer.indexOf(delimiter)
      const length = at === -1 ? Math.max(0, this.#buffer.length - delimiter.length + 1) : at
      const piece = this.#buffer.subarray(0, length)
      this.#buffer = this.#buffer.subarray(at === -1 ? length : length + delimiter.length)
      if (at !== -1) state.isDone = true
      if (piece.length > 0) yield piece
      if (at !== -1) return
      if (this.#ended) throw invalid('ends early')
      await this.#more()
    }
  }

  /** What may follow the last boundary is read and dropped: a body that ends before its length said so is no body. */
  async toEnd(): Promise<void> {
    for (let size = this.#buffer.length; !this.#ended; size += this.#buffer.length) {
      if (size > multipartOverheadBytesMax) throw invalid('does not end with its last boundary')
      this.#buffer = Buffer.alloc(0)
      await this.#more()
    }
  }

  async exactly(count: number): Promise<string> {
    while (this.#buffer.length < count && !this.#ended) await this.#more()
    const taken = this.#buffer.subarray(0, count).toString('latin1')
    this.#buffer = this.#buffer.subarray(count)
    return taken
  }
}

function partHeaders(text: string): { name: string; contentType: string } {
  const headers = new Map(
    text.split('\r\n').map((line): [string, string] => {
      const colon = line.indexOf(':')
      return [line.slice(0, Math.max(0, colon)).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const disposition = headers.get('content-disposition') ?? ''
  const name = /;\s*filename="((?:[^"\\]|\\.)*)"/i.exec(disposition)?.[1] ?? ''
  const contentType = (headers.get('content-type') ?? '').split(';', 1)[0] as string
  try {
    return { name: decodeURIComponent(name.replaceAll('+', ' ')), contentType: contentType.trim().toLowerCase() }
  } catch {
    throw invalid("a part's name")
  }
}

/**
 * The parts of a body, one after the other, in bounded memory.
 *
 * @throws {StorageError} `ERR_MULTIPART_INVALID`, also while a part's content is read: then nothing of it may be kept.
 */
export async function* readParts(contentType: string, body: AsyncIterable<Buffer>): AsyncGenerator<BodyPart> {
  const boundary = boundaryOf(contentType)
  const reader = new DelimitedReader(body)
  if ((await reader.exactly(boundary.length + 2)) !== `--${boundary}`) throw invalid('does not begin with the boundary')
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  for (;;) {
    const mark = await reader.exactly(2)
    if (mark === '--') return await reader.toEnd()
    if (mark !== '\r\n') throw invalid('no final boundary')
    const head = await reader.until(Buffer.from('\r\n\r\n'), partHeaderBytesMax, "no end of the part's headers")
    const state = { isDone: false }
    yield { ...partHeaders(head.toString('utf8')), content: reader.pieces(delimiter, state) }
    // Whoever skips a part, or the rest of it, still gets the next one from its beginning.
    if (!state.isDone) for await (const _ of reader.pieces(delimiter, state)) void _
  }
}
