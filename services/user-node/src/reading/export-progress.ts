/** How far downloads are, for the page that began one: the browser itself takes the bytes, and tells the page nothing. */

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

  /** Counts what goes out; who takes it may leave at any moment. */
  async *counted(running: Running, pieces: AsyncIterable<string>): AsyncGenerator<string> {
    try {
      for await (const piece of pieces) {
        running.sizeBytes += Buffer.byteLength(piece)
        yield piece
      }
      running.state = 'done'
    } finally {
      if (running.state !== 'done') running.state = 'broken'
    }
  }
}
