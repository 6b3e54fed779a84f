/** Where the other nodes are: a JSON list of `{"rank", "url"}` in a file that an operator may change at any time. */
import { readFileSync, statSync } from 'node:fs'
import { AccountingError } from './errors.ts'

/** How often the file is looked at. */
const lookEveryMs = 1_000

function parsePeers(path: string): Map<number, string> {
  const fault = (reason: string): AccountingError =>
    new AccountingError(`${path} ${reason}`, { code: 'ERR_PEERS_INVALID', path, reason })
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    throw fault('cannot be read as JSON')
  }
  if (!Array.isArray(value)) throw fault('must hold a list')
  const urls = new Map<number, string>()
  for (const item of value as { rank?: unknown; url?: unknown }[]) {
    const { rank, url } = item ?? {}
    if (!Number.isSafeInteger(rank) || typeof url !== 'string' || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw fault('must hold items {"rank": number, "url": "http…"}')
    }
    urls.set(rank as number, url.replace(/\/$/, ''))
  }
  return urls
}

/** The addresses of the nodes, read again when the file changes. */
export class PeersFile {
  readonly #path: string
  readonly #nowMs: () => number
  readonly #onFault: (error: unknown) => void
  #urls: Map<number, string> = new Map()
  #version = ''
  #lookedMs = Number.NEGATIVE_INFINITY

  /** The file need not be there yet: until it is, nobody is reached. */
  constructor(options: { path: string; nowMs: () => number; onFault: (error: unknown) => void }) {
    this.#path = options.path
    this.#nowMs = options.nowMs
    this.#onFault = options.onFault
  }

  /** Base URL of a rank, without a slash at the end; undefined if the file names none. */
  urlOf(rank: number): string | undefined {
    this.#look()
    return this.#urls.get(rank)
  }

  #look(): void {
    const nowMs = this.#nowMs()
    if (nowMs - this.#lookedMs < lookEveryMs) return
    this.#lookedMs = nowMs
    const stat = statSync(this.#path, { throwIfNoEntry: false })
    const version = stat === undefined ? '' : `${stat.mtimeMs}/${stat.size}/${stat.ino}`
    if (version === this.#version) return
    this.#version = version
    try {
      this.#urls = version === '' ? new Map() : parsePeers(this.#path)
    } catch (error) {
      // The addresses known so far go on: a file that is being written is whole a moment later.
      this.#onFault(error)
    }
  }
}
