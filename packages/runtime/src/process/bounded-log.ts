/**
 * The file that a process's stderr is, kept bounded by the process itself: whoever started it is gone, and nobody else may take lines out of
 * a file that is written to. The descriptor stays, so what the runtime itself says, crashes among it, is in the same file.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'

/** A log that is larger is moved to `FILE.1`, in the place of the one before it. */
export const logSizeBytesMax = 8 * 1024 * 1024
const pieceSizeBytes = 1024 * 1024
/** The file is looked at once so much was written here: others write into it, too. */
const lookEvery = 64 * 1024

/** How to bound a log. */
export interface BoundedLogOptions {
  /** The open file: written to at its end, whoever else writes. */
  readonly descriptor: number
  /** Where it lies; relative to the process's folder if the folder may be moved. */
  readonly path: string
  readonly sizeBytesMax?: number
}

/** Copies from where a file was read to, up to its end. */
function copyRest(from: number, to: number, piece: Buffer): void {
  for (let length = readSync(from, piece); length > 0; length = readSync(from, piece)) {
    for (let at = 0; at < length; ) at += writeSync(to, piece, at, length - at)
  }
}

/** Bounds one file. */
export class BoundedLog {
  readonly #options: BoundedLogOptions
  readonly #sizeBytesMax: number
  /** Characters until the file is looked at. */
  #untilLook = 0

  constructor(options: BoundedLogOptions) {
    this.#options = options
    this.#sizeBytesMax = options.sizeBytesMax ?? logSizeBytesMax
  }

  /** To be called when a line was written. Never throws: a log that cannot be moved (a full disk) goes on, and is moved later. */
  wrote(characters: number): void {
    this.#untilLook -= characters
    if (this.#untilLook > 0) return
    const size = this.#sizeNow() ?? 0
    if (size < this.#sizeBytesMax) this.#untilLook = Math.min(lookEvery, this.#sizeBytesMax - size)
    // What does not work now will hardly do at the next line.
    else this.#untilLook = this.#move() ? Math.min(lookEvery, this.#sizeBytesMax) : pieceSizeBytes
  }

  /** Undefined if another file lies at the path, or none: that one is somebody else's. */
  #sizeNow(): number | undefined {
    try {
      const own = fstatSync(this.#options.descriptor)
      const there = statSync(this.#options.path)
      return own.isFile() && own.dev === there.dev && own.ino === there.ino ? own.size : undefined
    } catch {
      return undefined
    }
  }

  /**
   * Copies what there is, puts the copy in its place, and empties the file: what is written meanwhile is in one of the two. Of other threads
   * and processes only a line is lost that falls between the last look at the end and the emptying, two calls later. False if that cannot be.
   */
  #move(): boolean {
    const { descriptor, path } = this.#options
    const copy = `${path}.new`
    try {
      const [from, to] = [openSync(path, 'r'), openSync(copy, 'w', 0o600)]
      try {
        const piece = Buffer.alloc(pieceSizeBytes)
        copyRest(from, to, piece)
        renameSync(copy, `${path}.1`)
        // What came while it was renamed, to the end as it is then.
        copyRest(from, to, piece)
        ftruncateSync(descriptor, 0)
      } finally {
        closeSync(from)
        closeSync(to)
      }
      return true
    } catch {
      rmSync(copy, { force: true })
      return false
    }
  }
}
