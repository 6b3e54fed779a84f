/**
 * The messages of Bitswap 1.2.0 (docs.ipfs.tech and github.com/ipfs/specs, BITSWAP.md), as protobuf:
 *
 *     Message { 1 wantlist { 1 entries* { 1 CID, 2 priority, 3 cancel, 4 type, 5 sendDontHave }, 2 full },
 *               3 payload* { 1 prefix, 2 data }, 4 presences* { 1 CID, 2 type } }
 *
 * Written out here because only these fields exist; unknown ones are skipped, as protobuf demands. On a stream each
 * message follows its length as an unsigned varint.
 */
import { StorageError } from '../errors.ts'

/** Largest message that is read: one block of 2 MiB and what surrounds it, with room for peers that pack several. */
export const messageBytesMax = 4 * 1024 * 1024
/** Most entries, blocks and presences of one message. */
const itemsMax = 4096

/** What is wanted of a block. */
export const wantTypes = { block: 0, have: 1 } as const

/** One line of a wantlist. `cid` is CID bytes. */
export interface WantEntry {
  cid: Uint8Array
  cancel: boolean
  wantType: number
  sendDontHave: boolean
}

/** A decoded message. */
export interface BitswapMessage {
  wants: WantEntry[]
  /** True if the wantlist replaces all earlier wants. */
  full: boolean
  /** `prefix`: CID version, codec, multihash code and length as varints. */
  blocks: { prefix: Uint8Array; data: Uint8Array }[]
  presences: { cid: Uint8Array; have: boolean }[]
}

function invalid(reason: string): StorageError {
  return new StorageError(`invalid Bitswap message: ${reason}`, { code: 'ERR_BITSWAP_INVALID', reason })
}

class Reader {
  readonly #bytes: Uint8Array
  #offset = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  get done(): boolean {
    return this.#offset === this.#bytes.length
  }

  /** An unsigned varint of at most ten bytes; bits above 2^53 are refused where a size is meant, and harmless elsewhere. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#bytes[this.#offset++]
      if (byte === undefined) throw invalid('ends early')
      value += (byte & 127) * 2 ** shift
      if (byte < 128) return value
    }
    throw invalid('a varint is too long')
  }

  bytes(): Uint8Array {
    const length = this.varint()
    if (length > this.#bytes.length - this.#offset) throw invalid('ends early')
    const taken = this.#bytes.subarray(this.#offset, this.#offset + length)
    this.#offset += length
    return taken
  }

  /** Reads fields until the end. `onField` returns false for what it does not know, which is then skipped. */
  fields(onField: (field: number, wireType: number) => boolean): void {
    while (!this.done) {
      const tag = this.varint()
      const wireType = tag % 8
      if (!onField(Math.floor(tag / 8), wireType)) this.#skip(wireType)
    }
  }

  #skip(wireType: number): void {
    if (wireType === 0) this.varint()
    else if (wireType === 2) this.bytes()
    else if (wireType === 1 || wireType === 5) {
      const width = wireType === 1 ? 8 : 4
      if (width > this.#bytes.length - this.#offset) throw invalid('ends early')
      this.#offset += width
    } else throw invalid('unknown wire type')
  }
}

const wireVarint = 0
const wireBytes = 2

function parseEntry(bytes: Uint8Array): WantEntry {
  const entry: WantEntry = { cid: new Uint8Array(0), cancel: false, wantType: wantTypes.block, sendDontHave: false }
  const reader = new Reader(bytes)
  reader.fields((field, wireType) => {
    if (field === 1 && wireType === wireBytes) entry.cid = reader.bytes()
    else if (field === 3 && wireType === wireVarint) entry.cancel = reader.varint() !== 0
    else if (field === 4 && wireType === wireVarint) entry.wantType = reader.varint()
    else if (field === 5 && wireType === wireVarint) entry.sendDontHave = reader.varint() !== 0
    else return false
    return true
  })
  return entry
}

function parseWantlist(bytes: Uint8Array, message: BitswapMessage): void {
  const reader = new Reader(bytes)
  reader.fields((field, wireType) => {
    if (field === 1 && wireType === wireBytes) {
      if (message.wants.length >= itemsMax) throw invalid('too many wants')
      message.wants.push(parseEntry(reader.bytes()))
    } else if (field === 2 && wireType === wireVarint) message.full = reader.varint() !== 0
    else return false
    return true
  })
}

function parsePair(bytes: Uint8Array): { first: Uint8Array; second: Uint8Array; type: number } {
  const pair = { first: new Uint8Array(0) as Uint8Array, second: new Uint8Array(0) as Uint8Array, type: 0 }
  const reader = new Reader(bytes)
  reader.fields((field, wireType) => {
    if (field === 1 && wireType === wireBytes) pair.first = reader.bytes()
    else if (field === 2 && wireType === wireBytes) pair.second = reader.bytes()
    else if (field === 2 && wireType === wireVarint) pair.type = reader.varint()
    else return false
    return true
  })
  return pair
}

/**
 * Decodes one message. Byte strings in the result are views into `bytes`.
 *
 * @throws {StorageError} `ERR_BITSWAP_INVALID` for bytes that are no message or pass a limit.
 */
export function parseBitswapMessage(bytes: Uint8Array): BitswapMessage {
  const message: BitswapMessage = { wants: [], full: false, blocks: [], presences: [] }
  const reader = new Reader(bytes)
  reader.fields((field, wireType) => {
    if (wireType !== wireBytes) return false
    if (field === 1) parseWantlist(reader.bytes(), message)
    else if (field === 3) {
      if (message.blocks.length >= itemsMax) throw invalid('too many blocks')
      const { first, second } = parsePair(reader.bytes())
      message.blocks.push({ prefix: first, data: second })
    } else if (field === 4) {
      if (message.presences.length >= itemsMax) throw invalid('too many presences')
      const { first, type } = parsePair(reader.bytes())
      message.presences.push({ cid: first, have: type === 0 })
    } else return false
    return true
  })
  return message
}

/** The unsigned varint of an integer from 0 to 2^53 - 1. */
export function encodeVarint(value: number): Uint8Array {
  const bytes: number[] = []
  while (value >= 128) {
    bytes.push((value % 128) | 128)
    value = Math.floor(value / 128)
  }
  bytes.push(value)
  return new Uint8Array(bytes)
}

function varintField(field: number, value: number): Uint8Array {
  return Buffer.concat([encodeVarint(field * 8 + wireVarint), encodeVarint(value)])
}

function bytesField(field: number, ...parts: Uint8Array[]): Uint8Array[] {
  const length = parts.reduce((sum, part) => sum + part.length, 0)
  return [encodeVarint(field * 8 + wireBytes), encodeVarint(length), ...parts]
}

/** Encodes one message, without the length before it. */
export function encodeBitswapMessage(message: BitswapMessage): Uint8Array {
  const parts: Uint8Array[] = []
  if (message.wants.length > 0 || message.full) {
    const wantlist: Uint8Array[] = []
    for (const entry of message.wants) {
      const fields = bytesField(1, entry.cid)
      fields.push(varintField(2, 1))
      if (entry.cancel) fields.push(varintField(3, 1))
      if (entry.wantType !== wantTypes.block) fields.push(varintField(4, entry.wantType))
      if (entry.sendDontHave) fields.push(varintField(5, 1))
      wantlist.push(...bytesField(1, ...fields))
    }
    if (message.full) wantlist.push(varintField(2, 1))
    parts.push(...bytesField(1, ...wantlist))
  }
  for (const { prefix, data } of message.blocks) {
    parts.push(...bytesField(3, ...bytesField(1, prefix), ...bytesField(2, data)))
  }
  for (const { cid, have } of message.presences) {
    parts.push(...bytesField(4, ...bytesField(1, cid), varintField(2, have ? 0 : 1)))
  }
  return Buffer.concat(parts)
}

/** Most pieces of a message that are kept apart. */
const piecesMax = 4096

/** Cuts a stream of bytes into length-prefixed messages. */
export class FrameDecoder {
  #pending: Uint8Array[] = []
  #pendingBytes = 0

  /**
   * Takes the next bytes of the stream.
   *
   * @returns the messages that are complete now.
   * @throws {StorageError} `ERR_BITSWAP_INVALID` if a length is malformed or above {@link messageBytesMax}.
   */
  push(bytes: Uint8Array): Uint8Array[] {
    this.#pending.push(bytes)
    this.#pendingBytes += bytes.length
    // Single bytes would cost a hundred times what they weigh.
    if (this.#pending.length > piecesMax) this.#pending = [this.#joined()]
    const frames: Uint8Array[] = []
    for (;;) {
      const head = this.#head()
      if (!head || this.#pendingBytes < head.width + head.length) return frames
      const joined = this.#joined()
      const end = head.width + head.length
      frames.push(joined.subarray(head.width, end))
      this.#pending = end < joined.length ? [joined.subarray(end)] : []
      this.#pendingBytes = joined.length - end
    }
  }

  #joined(): Uint8Array {
    const [only] = this.#pending
    return this.#pending.length === 1 && only ? only : Buffer.concat(this.#pending)
  }

  /** The length of the next message and of its varint, once that is complete. */
  #head(): { width: number; length: number } | undefined {
    let length = 0
    let width = 0
    for (const part of this.#pending) {
      for (const byte of part) {
        length += (byte & 127) * 2 ** (7 * width)
        width++
        if (byte < 128) {
          if (length > messageBytesMax) throw invalid('too long')
          return { width, length }
        }
        if (width >= 4) throw invalid('too long')
      }
    }
    return undefined
  }
}
