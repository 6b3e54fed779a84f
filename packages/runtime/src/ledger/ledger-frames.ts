/** Blocks as a node serves them: frames of a page or of a stream. Nothing here is verified. */
import { type CborValue, decodeCborAt } from '@healthblock/encoding/cbor'

/** Most bytes of a page of blocks. */
export const blocksSizeBytesMax = 8 * 1024 * 1024

/** A block as a node serves it; not verified. */
export interface BlockFrame {
  readonly height: number
  /** Index of its first leaf. */
  readonly firstIndex: number
  /** The SEAL last. */
  readonly leaves: readonly Uint8Array[]
  /** The newest published checkpoint, in the last frame of a page and in each of a stream. */
  readonly checkpoint?: string
}

/** Reads one frame `[height, i0, [leaf…], checkpoint]`. */
export function parseFrame(value: CborValue): BlockFrame {
  if (!Array.isArray(value) || value.length !== 4) throw new TypeError('not a frame')
  const [height, firstIndex, leaves, checkpoint] = value
  if (typeof height !== 'number' || typeof firstIndex !== 'number' || !Array.isArray(leaves))
    throw new TypeError('not a frame')
  if (!(checkpoint instanceof Uint8Array) || leaves.length === 0) throw new TypeError('not a frame')
  if (!leaves.every((leaf) => leaf instanceof Uint8Array)) throw new TypeError('a leaf is not bytes')
  const frame = { height, firstIndex, leaves }
  return checkpoint.length === 0 ? frame : { ...frame, checkpoint: new TextDecoder().decode(checkpoint) }
}

/** Reads the frames of a page, one behind the other. */
export function parseFrames(bytes: Uint8Array): BlockFrame[] {
  const frames: BlockFrame[] = []
  for (let offset = 0; offset < bytes.length; ) {
    const { value, end } = decodeCborAt(bytes, offset)
    frames.push(parseFrame(value))
    offset = end
  }
  return frames
}

/** The `data` of each server-sent event; `onBytes` is told of every sign of life. */
export async function* readEvents(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  onBytes: () => void,
): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    onBytes()
    rest += decoder.decode(read.value, { stream: true })
    if (rest.length > 2 * blocksSizeBytesMax) throw new TypeError('an endless event')
    for (let end = rest.indexOf('\n\n'); end !== -1; end = rest.indexOf('\n\n')) {
      const lines = rest.slice(0, end).split('\n')
      rest = rest.slice(end + 2)
      const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(5).trim())
      if (data.length > 0) yield data.join('')
    }
  }
}
