/**
 * One file of a `multipart/form-data` body (RFC 7578), as IPFS clients send a block. Exactly one part is taken; more are
 * refused, so that nothing is dropped in silence.
 */
import { StorageError } from '../errors.ts'

/** What surrounds the block: boundaries and headers of the part. */
export const multipartOverheadBytesMax = 16 * 1024
const partHeaderBytesMax = 8 * 1024
const boundaryPattern = /^multipart\/form-data\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,70})"|([^\s;"]{1,70}))\s*(?:;|$)/i

function invalid(reason: string): StorageError {
  return new StorageError(`the body is not one file: ${reason}`, { code: 'ERR_MULTIPART_INVALID', reason })
}

/**
 * Takes the one part out of a body.
 *
 * @param contentType - the header, which names the boundary.
 * @returns the part's bytes, a view into `body`.
 * @throws {StorageError} `ERR_MULTIPART_INVALID`.
 */
export function parseSinglePart(contentType: string, body: Buffer): Buffer {
  const match = boundaryPattern.exec(contentType.slice(0, 512))
  const boundary = match?.[1] ?? match?.[2]
  if (!boundary) throw invalid('no boundary')
  const opening = Buffer.from(`--${boundary}\r\n`, 'latin1')
  const closing = Buffer.from(`\r\n--${boundary}`, 'latin1')
  if (body.indexOf(opening) !== 0) throw invalid('does not begin with the boundary')
  const headerEnd = body
    .subarray(0, opening.length + partHeaderBytesMax)
    .indexOf('\r\n\r\n', opening.length - 2, 'latin1')
  if (headerEnd === -1) throw invalid("no end of the part's headers")
  const start = headerEnd + 4
  const end = body.indexOf(closing, start)
  if (end === -1) throw invalid('ends early')
  const rest = body.subarray(end + closing.length, end + closing.length + 4).toString('latin1')
  if (rest.startsWith('\r\n')) throw invalid('more than one part')
  if (rest !== '--' && !rest.startsWith('--\r\n')) throw invalid('no final boundary')
  return body.subarray(start, end)
}
