/** What a file of a person holds once it is open: its name and type, then its content. */
import { concatBytes, encodeUtf8 } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { UserNodeError } from '../errors.ts'

const nameBytesMax = 255
const typeBytesMax = 127

/** Name and media type of a file. */
export interface FileDescription {
  readonly name: string
  readonly type: string
}

/**
 * The bytes before the content: u16 length, canonical CBOR `{v: 1, name, type}`, both texts as UTF-8 byte strings.
 *
 * @throws {UserNodeError} `ERR_FILE_INVALID`.
 */
export function encodeDescription({ name, type }: FileDescription): Uint8Array {
  const [nameBytes, typeBytes] = [encodeUtf8(name), encodeUtf8(type)]
  if (nameBytes.length < 1 || nameBytes.length > nameBytesMax) throw invalid('name')
  if (typeBytes.length > typeBytesMax) throw invalid('type')
  const described = encodeCbor({ v: 1, name: nameBytes, type: typeBytes })
  const length = new Uint8Array(2)
  new DataView(length.buffer).setUint16(0, described.length)
  return concatBytes(length, described)
}

/** Reads what {@link encodeDescription} wrote. @throws {UserNodeError} `ERR_FILE_INVALID`. */
export function parseDescription(data: Uint8Array): FileDescription & { sizeBytes: number } {
  try {
    const length = new DataView(data.buffer, data.byteOffset, data.length).getUint16(0)
    const { v, name, type } = decodeCbor(data.subarray(2, 2 + length)) as Record<string, unknown>
    if (v !== 1 || !(name instanceof Uint8Array) || !(type instanceof Uint8Array)) throw new TypeError('fields')
    const text = new TextDecoder('utf-8', { fatal: true })
    return { name: text.decode(name), type: text.decode(type), sizeBytes: 2 + length }
  } catch (cause) {
    throw invalid('description', cause)
  }
}

function invalid(field: string, cause?: unknown): UserNodeError {
  return new UserNodeError(`${field} of a file cannot be used`, { code: 'ERR_FILE_INVALID', field }, { cause })
}
