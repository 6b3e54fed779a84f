/**
 * How a group of operations goes to the writer's thread, and its outcomes back. A message with the many small byte strings
 * of a group costs more to clone than the group costs to store: puts are therefore written one after the other into one
 * buffer, which is handed over. Both ends are this process; nothing here is kept or sent elsewhere.
 */
import type { Operation, Outcome, PutOperation, RefusalCode } from './operations.ts'

/** A group on its way to the writer's thread. */
export interface GroupMessage {
  /** Each operation's kind of place and, for puts, its fields. */
  readonly packed: Uint8Array<ArrayBuffer>
  /** Blocks that are too large to be copied together, or that both threads see, in the order of their puts. */
  readonly large: Uint8Array[]
  /** Operations that are cloned as they are, in their order. */
  readonly others: Operation[]
  /** True if more of the group follows in another message. */
  readonly isAhead?: boolean
}

const noBytes = new Uint8Array(0)
const places = { other: 0, put: 1, largePut: 2 } as const
const flags = { external: 1, header: 2, quota: 4 } as const
/** Place, flags, codec, size, four numbers, digest, two counts. */
const fixedBytes = 1 + 1 + 4 + 4 + 4 * 8 + 32 + 4 + 4
const headerBytes = 32 + 32 + 8 + 8
const referenceBytes = 32 + 9
/** From here on a block travels in a buffer of its own. */
const largeBytesMin = 65_536

/** True for a put that can be written as fields, one after the other. */
export function isPacked(operation: Operation): operation is PutOperation {
  if (operation.kind !== 'put' || operation.incident !== undefined) return false
  if (operation.references.some(({ pins, again }) => pins !== undefined || again !== undefined)) return false
  const { owner, writer, stream, sequence } = operation
  const parts = [owner, writer, stream, sequence].filter((part) => part !== undefined).length
  return parts === 0 || parts === 4
}

function sizeOf(put: PutOperation): number {
  const lists = put.references.length * referenceBytes + put.handoff.length * 32
  const bytes =
    put.bytes.length >= largeBytesMin || put.bytes.buffer instanceof SharedArrayBuffer ? 0 : 4 + put.bytes.length
  return fixedBytes + (put.owner === undefined ? 0 : headerBytes) + lists + bytes
}

/** Writes fields one after the other. */
class Packer {
  readonly bytes: Uint8Array<ArrayBuffer>
  readonly #view: DataView
  #at = 0

  constructor(size: number) {
    this.bytes = new Uint8Array(size)
    this.#view = new DataView(this.bytes.buffer)
  }

  u8(value: number): void {
    this.bytes[this.#at++] = value
  }

  u32(value: number): void {
    this.#view.setUint32(this.#at, value)
    this.#at += 4
  }

  f64(value: number): void {
    this.#view.setFloat64(this.#at, value)
    this.#at += 8
  }

  put(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }
}

function packPut(packer: Packer, put: PutOperation, isLarge: boolean): void {
  const hasHeader = put.owner !== undefined
  packer.u8(isLarge ? places.largePut : places.put)
  packer.u8(
    (put.isExternal ? flags.external : 0) |
      (hasHeader ? flags.header : 0) |
      (put.accountBytesMax === undefined ? 0 : flags.quota),
  )
  packer.u32(put.codec)
  packer.u32(put.size)
  packer.f64(put.now)
  packer.f64(put.bytesMax)
  packer.f64(put.accountBytesMax ?? 0)
  packer.f64(put.handoffDelayMs)
  packer.put(put.digest)
  if (hasHeader) {
    packer.put(put.owner as Uint8Array)
    packer.put(put.writer as Uint8Array)
    packer.put(put.stream as Uint8Array)
    packer.f64(put.sequence as number)
  }
  packer.u32(put.references.length)
  for (const { account, at, pin } of put.references) {
    packer.put(account)
    packer.f64(at)
    packer.u8(pin)
  }
  packer.u32(put.handoff.length)
  for (const account of put.handoff) packer.put(account)
  if (isLarge) return
  packer.u32(put.bytes.length)
  packer.put(put.bytes)
}

/** Writes a group. Buffers in `moved` go over with the message and are not copied again. */
export function encodeGroup(operations: readonly Operation[]): { message: GroupMessage; moved: ArrayBuffer[] } {
  let size = 0
  for (const operation of operations) size += isPacked(operation) ? sizeOf(operation) : 1
  const packer = new Packer(size)
  const large: Uint8Array[] = []
  const moved: ArrayBuffer[] = [packer.bytes.buffer]
  const others: Operation[] = []
  for (const operation of operations) {
    if (!isPacked(operation)) {
      packer.u8(places.other)
      others.push(operation)
      continue
    }
    const { bytes } = operation
    const isShared = bytes.buffer instanceof SharedArrayBuffer
    const isLarge = isShared || bytes.length >= largeBytesMin
    if (isShared) large.push(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length))
    else if (isLarge) {
      // A view would take the whole body that it lies in along.
      const copy = new Uint8Array(bytes)
      large.push(copy)
      moved.push(copy.buffer)
    }
    packPut(packer, operation, isLarge)
  }
  return { message: { packed: packer.bytes, large, others }, moved }
}

/** Reads what {@link Packer} wrote; byte strings are views. */
class Unpacker {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  }

  get done(): boolean {
    return this.#at >= this.#bytes.length
  }

  u8(): number {
    return this.#bytes[this.#at++] as number
  }

  u32(): number {
    this.#at += 4
    return this.#view.getUint32(this.#at - 4)
  }

  f64(): number {
    this.#at += 8
    return this.#view.getFloat64(this.#at - 8)
  }

  take(length: number): Uint8Array {
    this.#at += length
    return this.#bytes.subarray(this.#at - length, this.#at)
  }
}

function unpackPut(unpacker: Unpacker, large: Uint8Array | undefined): PutOperation {
  const flag = unpacker.u8()
  const [codec, size] = [unpacker.u32(), unpacker.u32()]
  const [now, bytesMax, accountBytesMax] = [unpacker.f64(), unpacker.f64(), unpacker.f64()]
  const handoffDelayMs = unpacker.f64()
  const digest = unpacker.take(32)
  const header =
    (flag & flags.header) === 0
      ? {}
      : {
          owner: unpacker.take(32),
          writer: unpacker.take(32),
          stream: unpacker.take(8),
          sequence: unpacker.f64(),
        }
  const references = Array.from({ length: unpacker.u32() }, () => {
    return { account: unpacker.take(32), at: unpacker.f64(), pin: unpacker.u8() }
  })
  const handoff = Array.from({ length: unpacker.u32() }, () => unpacker.take(32))
  const bytes = large ?? unpacker.take(unpacker.u32())
  const isExternal = (flag & flags.external) !== 0
  const quota = (flag & flags.quota) === 0 ? {} : { accountBytesMax }
  const fields = { digest, codec, bytes, size, isExternal, references, handoff, handoffDelayMs, bytesMax, now }
  return { kind: 'put', ...fields, ...header, ...quota }
}

/** The operations of a group, in their order. Their byte strings lie in the message. */
export function decodeGroup({ packed, large, others }: GroupMessage): Operation[] {
  const unpacker = new Unpacker(packed)
  const operations: Operation[] = []
  let [largeIndex, otherIndex] = [0, 0]
  while (!unpacker.done) {
    const place = unpacker.u8()
    if (place === places.other) operations.push(others[otherIndex++] as Operation)
    else operations.push(unpackPut(unpacker, place === places.largePut ? large[largeIndex++] : undefined))
  }
  return operations
}

/** Writes puts without their blocks. All of them must be {@link isPacked}. */
export function encodePuts(puts: readonly PutOperation[]): Uint8Array {
  const noBlock = puts.map((put) => ({ ...put, bytes: noBytes }))
  const packer = new Packer(noBlock.reduce((sum, put) => sum + sizeOf(put), 0))
  for (const put of noBlock) packPut(packer, put, false)
  return packer.bytes
}

/** Reads what {@link encodePuts} wrote. @throws {RangeError} if it is something else. */
export function decodePuts(packed: Uint8Array): PutOperation[] {
  return decodeGroup({ packed: new Uint8Array(packed), large: [], others: [] }) as PutOperation[]
}

const refusals: readonly RefusalCode[] = [
  'ERR_BLOCK_ERASED',
  'ERR_BLOCK_NOT_FOUND',
  'ERR_BLOCK_PINNED',
  'ERR_BLOCK_RELEASED',
  'ERR_BLOCK_SEALED',
  'ERR_NOT_PINNED',
  'ERR_QUOTA_EXCEEDED',
  'ERR_STORE_FULL',
  'ERR_STORE_FAILED',
]

/** An outcome as one number: below zero a refusal, else twice what was deleted, and one more if anything changed. */
export function encodeOutcome(outcome: Outcome): number {
  if (!outcome.ok) return -1 - refusals.indexOf(outcome.code)
  return 2 * outcome.deleted + (outcome.changed ? 1 : 0)
}

/** Reads what {@link encodeOutcome} wrote. */
export function decodeOutcome(number: number): Outcome {
  if (number < 0) return { ok: false, code: refusals[-1 - number] as RefusalCode }
  return { ok: true, changed: number % 2 === 1, deleted: Math.floor(number / 2) }
}
