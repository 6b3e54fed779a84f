/**
 * Archives of blocks, CARv1 (ipld.io/specs/transport/car/carv1): a header with the roots, then sections of CID and
 * bytes. Written and read a section at a time; a length that is past the limit ends the reading before it is believed.
 */
import * as dagCbor from '@ipld/dag-cbor'
import { CID } from 'multiformats/cid'
import { StorageError } from './errors.ts'
import { encodeVarint } from './swarm/bitswap-message.ts'

/** Bytes of a header: some thousand roots. */
const headerBytesMax = 256 * 1024
/** Longest CID that is looked at. */
const cidBytesMax = 128
const lengthBytesMax = 5

/** A section of an archive. */
export interface CarSection {
  readonly cid: CID
  readonly bytes: Uint8Array
}

function invalid(reason: string, cause?: unknown): StorageError {
  const detail = { code: 'ERR_DAG_INVALID', cid: '', reason } as const
  return new StorageError(`invalid car: ${reason}`, detail, { cause })
}

/** An archive's bytes, a section at a time. */
export async function* encodeCar(
  roots: readonly CID[],
  sections: AsyncIterable<CarSection>,
): AsyncGenerator<Uint8Array> {
  const header = dagCbor.encode({ version: 1, roots: [...roots] })
  yield Buffer.concat([encodeVarint(header.length), header])
  for await (const { cid, bytes } of sections) {
    yield Buffer.concat([encodeVarint(cid.bytes.length + bytes.length), cid.bytes, bytes])
  }
}

/** Takes exact lengths from a stream. */
class LengthReader {
  readonly #source: AsyncIterator<Uint8Array>
  #buffer: Buffer = Buffer.alloc(0)

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]()
  }

  /** True if at least so many bytes are there; reads on for them. */
  async #fill(count: number): Promise<boolean> {
    while (this.#buffer.length < count) {
      const next = await this.#source.next()
      if (next.done === true) return false
      this.#buffer = this.#buffer.length === 0 ? Buffer.from(next.value) : Buffer.concat([this.#buffer, next.value])
    }
    return true
  }

  async take(count: number): Promise<Buffer> {
    if (!(await this.#fill(count))) throw invalid('ends early')
    const taken = this.#buffer.subarray(0, count)
    this.#buffer = this.#buffer.subarray(count)
    return taken
  }

  /** The next length; undefined at the end. */
  async length(): Promise<number | undefined> {
    if (!(await this.#fill(1))) return undefined
    let value = 0
    for (let at = 0; at < lengthBytesMax; at++) {
      const [byte] = (await this.take(1)) as unknown as [number]
      value += (byte & 0x7f) * 2 ** (7 * at)
      if (byte < 0x80) return value
    }
    throw invalid('a length')
  }
}

/**
 * Reads an archive.
 *
 * @param blockBytesMax - of each block.
 * @throws {StorageError} `ERR_DAG_INVALID`, also in the middle.
 */
export async function readCar(
  source: AsyncIterable<Uint8Array>,
  blockBytesMax: number,
): Promise<{ roots: CID[]; sections: AsyncGenerator<CarSection> }> {
  const reader = new LengthReader(source)
  const length = await reader.length()
  if (length === undefined || length > headerBytesMax) throw invalid('no header')
  let roots: CID[]
  try {
    const header = dagCbor.decode(await reader.take(length)) as { version?: unknown; roots?: unknown }
    if (header.version !== 1 || !Array.isArray(header.roots)) throw new TypeError('not version 1')
    roots = header.roots.map((root) => {
      const cid = CID.asCID(root)
      if (!cid) throw new TypeError('a root is no CID')
      return cid
    })
  } catch (cause) {
    throw invalid('header', cause)
  }
  async function* sections(): AsyncGenerator<CarSection> {
    for (let size = await reader.length(); size !== undefined; size = await reader.length()) {
      if (size === 0 || size > blockBytesMax + cidBytesMax) throw invalid('a section is too long')
      const section = await reader.take(size)
      let decoded: [CID, Uint8Array]
      try {
        decoded = CID.decodeFirst(section)
      } catch (cause) {
        throw invalid('a CID', cause)
      }
      yield { cid: decoded[0], bytes: decoded[1] }
    }
  }
  return { roots, sections: sections() }
}
