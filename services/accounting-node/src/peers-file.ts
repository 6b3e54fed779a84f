/** Where the other nodes are: a JSON list of `{"rank", "url", "account"?}` in a file that an operator may change at any time. */
import { readFileSync, statSync } from 'node:fs'
import { fromHex } from '@healthblock/encoding/bytes'
import { AccountingError } from './errors.ts'

/** How often the file is looked at. */
const lookEveryMs = 1_000

interface Peer {
  readonly url: string
  /** Needed only for a node that this one's ledger does not know yet. */
  readonly account: Uint8Array | undefined
}

function parsePeers(path: string): Map<number, Peer> {
  const fault = (reason: string): AccountingError =>
    new AccountingError(`${path} ${reason}`, { code: 'ERR_PEERS_INVALID', path, reason })
  let value: unknown
  try {
    value = JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    throw fault('cannot be read as JSON')
  }
  if (!Array.isArray(value)) throw fault('must hold a list')
  const peers = new Map<number, Peer>()
  for (const item of value as { rank?: unknown; url?: unknown; account?: unknown }[]) {
    const { rank, url, account } = item ?? {}
    if (!Number.isSafeInteger(rank) || typeof url !== 'string' || !/^https?:\/\//.test(url) || !URL.canParse(url)) {
      throw fault('must hold items {"rank": number, "url": "http…"}')
    }
    if (account !== undefined && (typeof account !== 'string' || !/^[0-9a-f]{64}$/.test(account))) {
      throw fault('must hold accounts as 64 hexadecimal characters')
    }
    const peer = { url: url.replace(/\/$/, ''), account: account === undefined ? undefined : fromHex(account) }
    peers.set(rank as number, peer)
  }
  return peers
}

/** The addresses of the nodes, read again when the file changes. */
export class PeersFile {
  readonly #path: string
  readonly #nowMs: () => number
  readonly #onFault: (error: unknown) => void
  #peers: Map<number, Peer> = new Map()
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
    return this.#peers.get(rank)?.url
  }

  /** Account of a rank, if the file names it. */
  accountOf(rank: number): Uint8Array | undefined {
    this.#look()
    return this.#peers.get(rank)?.account
  }

  /** All ranks that the file names. */
  ranks(): readonly number[] {
    this.#look()
    return [...this.#peers.keys()]
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
      this.#peers = version === '' ? new Map() : parsePeers(this.#path)
    } catch (error) {
      // The addresses known so far go on: a file that is being written is whole a moment later.
      this.#onFault(error)
    }
  }
}
