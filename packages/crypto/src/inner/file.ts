/**
 * The one shape of files at rest: magic || fields || salt || AES-256-GCM. A new salt per encoding gives a new key, so the
 * zero nonce is used once per key, also when an older copy of the file is restored and written again.
 */
import { concatBytes, encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import type { Bytes, Provider } from '../provider/provider.ts'
import { openFailed } from './failures.ts'

const saltSizeBytes = 32
const zeroNonce = new Uint8Array(12)

/** What distinguishes one kind of file from another. */
export interface FileFormat {
  /** 8 ASCII characters at the front. */
  readonly magic: string
  /** HKDF's info. */
  readonly info: string
  /** Bytes between magic and salt, authenticated. */
  readonly fieldsSizeBytes: number
}

/** Encrypts under a salt that the caller drew. */
export function sealFileWith(
  provider: Provider,
  format: FileFormat,
  options: { key: Uint8Array; fields: Uint8Array; salt: Uint8Array; contents: Uint8Array },
): Bytes {
  const front = concatBytes(encodeUtf8(format.magic), options.fields, options.salt)
  const key = provider.hkdfSha256({ ikm: options.key, salt: options.salt, info: encodeUtf8(format.info), length: 32 })
  const sealed = provider.aesGcmSeal({ key, nonce: zeroNonce, aad: front, plaintext: options.contents })
  key.fill(0)
  return concatBytes(front, sealed)
}

/** The fields of a file whose magic is right. */
export function fileFields(format: FileFormat, file: Uint8Array): Uint8Array {
  const magic = encodeUtf8(format.magic)
  if (file.length < magic.length + format.fieldsSizeBytes + saltSizeBytes + 16) throw openFailed()
  if (!equalBytes(file.subarray(0, magic.length), magic)) throw openFailed()
  return file.subarray(magic.length, magic.length + format.fieldsSizeBytes)
}

/** The contents; `ERR_OPEN_FAILED` whatever the cause. */
export function openFileWith(provider: Provider, format: FileFormat, key: Uint8Array, file: Uint8Array): Bytes {
  fileFields(format, file)
  const frontSizeBytes = format.magic.length + format.fieldsSizeBytes + saltSizeBytes
  const front = file.subarray(0, frontSizeBytes)
  const salt = front.subarray(frontSizeBytes - saltSizeBytes)
  const fileKey = provider.hkdfSha256({ ikm: key, salt, info: encodeUtf8(format.info), length: 32 })
  const sealed = file.subarray(frontSizeBytes)
  const contents = provider.aesGcmOpen({ key: fileKey, nonce: zeroNonce, aad: front, sealed })
  fileKey.fill(0)
  if (contents === undefined) throw openFailed()
  return contents
}
