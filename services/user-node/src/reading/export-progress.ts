/** How far downloads are, for the page that began one: the browser itself takes the bytes, and tells the page nothing. */
import { Readable } from 'node:stream'

/** A download. */
export interface ExportView {
  /** broken: it ended before its end, and what was saved is no use. */
  readonly state: 'running' | 'done' | 'broken'
  /** Records that were opened so far, and how many there are. */
  readonly records: number
  readonly recordsTotal: number
  readonly sizeBytes: number
}

type Running = { -readonly [K in keyof ExportView]: ExportView[K] }

/** What is known of so many downloads; of more the oldest is forgotten. */
const exportsMax = 64

/** Progress by session, and the name that its page gave the download. */
export class ExportProgress {
  readonly #exports = new Map<string, Running>()

  /** Begins one; of the same name the one before is forgotten, and one without a name nobody asks about. */
  begin(session: string, name: string | undefined, recordsTotal: number): Running {
    const running: Running = { state: 'running', records: 0, recordsTotal, sizeBytes: 0 }
    if (name === undefined) return running
    const key = `${session} ${name}`
    this.#exports.delete(key)
    this.#exports.set(key, running)
    for (const oldest of this.#exports.keys()) {
      if (this.#exports.size <= exportsMax) break
      this.#exports.delete(oldest)
    }
    return running
  }

  /** One of a session; undefined if it began none of that name. */
  find(session: string, name: string): ExportView | undefined {
    return this.#exports.get(`${session} ${name}`)
  }

  /** What goes out, counted; who takes it may leave at any moment, also before the first byte. */
  stream(running: Running, pieces: AsyncIterable<string>): Readable {
    const stream = Readable.from(this.#counted(running, pieces))
    // All of it was taken: what only lies ready here may yet be left behind.
    stream.once('end', () => {
      running.state = 'done'
    })
    stream.once('close', () => {
      if (running.state !== 'done') running.state = 'broken'
    })
    return stream
  }

  async *#counted(running: Running, pieces: AsyncIterable<string>): AsyncGenerator<string> {
    for await (const piece of pieces) {
      running.sizeBytes += Buffer.byteLength(piece)
      yield piece
    }
  }
}
