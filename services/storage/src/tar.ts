/** Archives of files and folders as tar has them (POSIX ustar, pax records where a name or a size needs one), written as they are read. */

const blockBytes = 512
/** Bytes of a name in the header; a longer one, or one that is not ASCII, is in a record of its own. */
const nameBytesMax = 100
/** Eleven octal digits. */
const sizeBytesMax = 8 ** 11
const modes = { file: 0o644, directory: 0o755, pax: 0o644 } as const
const typeFlags = { file: '0', directory: '5', pax: 'x' } as const

/** One file or folder. */
export interface TarEntry {
  /** Path in the archive, of names that are neither empty nor `.` nor `..`. */
  readonly path: string
  readonly type: 'file' | 'directory'
  /** Bytes of {@link content}; 0 for a folder. */
  readonly sizeBytes: number
  readonly content: AsyncIterable<Uint8Array>
}

function header(
  name: string,
  type: keyof typeof typeFlags,
  { size, seconds }: { size: number; seconds: number },
): Buffer {
  const block = Buffer.alloc(blockBytes)
  const octal = (value: number, at: number, digits: number): void => {
    block.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'latin1')
  }
  block.write(name, 0, nameBytesMax, 'utf8')
  octal(modes[type], 100, 7)
  octal(0, 108, 7)
  octal(0, 116, 7)
  octal(size < sizeBytesMax ? size : 0, 124, 11)
  octal(seconds, 136, 11)
  // The sum is over the header with blanks in its own place.
  block.fill(0x20, 148, 156)
  block.write(`${typeFlags[type]}`, 156, 'latin1')
  block.write('ustar\x0000', 257, 'latin1')
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return block
}

/** A record's length counts its own digits, too. */
function paxRecord(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`)
  let length = rest + String(rest).length
  if (String(length).length > String(rest).length) length = rest + String(length).length
  return Buffer.from(`${length} ${key}=${value}\n`)
}

function padding(sizeBytes: number): Buffer {
  return Buffer.alloc((blockBytes - (sizeBytes % blockBytes)) % blockBytes)
}

/**
 * Writes an archive.
 *
 * @param seconds - the time of all entries, Unix.
 * @throws {RangeError} if an entry's content is not as long as it says.
 */
export async function* encodeTar(entries: AsyncIterable<TarEntry>, seconds: number): AsyncGenerator<Uint8Array> {
  for await (const { path, type, sizeBytes, content } of entries) {
    const records: Buffer[] = []
    if (Buffer.byteLength(path) > nameBytesMax || /[^\x20-\x7e]/.test(path)) records.push(paxRecord('path', path))
    if (sizeBytes >= sizeBytesMax) records.push(paxRecord('size', String(sizeBytes)))
    if (records.length > 0) {
      const pax = Buffer.concat(records)
      yield Buffer.concat([header('pax', 'pax', { size: pax.length, seconds }), pax, padding(pax.length)])
    }
    yield header(path, type, { size: sizeBytes, seconds })
    let written = 0
    for await (const bytes of content) {
      written += bytes.length
      yield bytes
    }
    if (written !== sizeBytes) throw new RangeError(`${path} has ${written} bytes, not ${sizeBytes}`)
    if (written > 0) yield padding(written)
  }
  yield Buffer.alloc(2 * blockBytes)
}
