/** Which stores belong to this network: the interface that this service needs, and the implementation that reads a file. */
import { readFileSync, statSync } from 'node:fs'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { multiaddr } from '@multiformats/multiaddr'
import { StorageError } from '../errors.ts'

/** One store. */
export interface Member {
  /** 32-byte store account. */
  account: Uint8Array
  /** 32-byte Ed25519 key that signs its receipts and tokens. */
  storeKey: Uint8Array
  /** libp2p peer id as text. */
  peerId: string
  /** Base of its RPC, such as `http://127.0.0.1:5001`; empty while unknown. */
  url: string
  /** Multiaddrs of its swarm port without the peer id; empty while unknown. */
  addresses: string[]
}

/** The member list as this node has verified it. */
export interface Members {
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  /** All members, this node included, in the order of their accounts. */
  list(): readonly Member[]
  find(account: Uint8Array): Member | undefined
  findPeer(peerId: string): Member | undefined
  /** Calls `listener` after each change. @returns the function that ends it. */
  onChange(listener: () => void): () => void
}

/** This store among the members. @throws {StorageError} `ERR_MEMBERS_INVALID` if its key is not on the list. */
export function findSelf(members: Pick<Members, 'list'>, storeKey: Uint8Array): Member {
  const self = members.list().find((member) => equalBytes(member.storeKey, storeKey))
  if (self) return self
  const reason = "this node's store key is not on the list"
  throw new StorageError(reason, { code: 'ERR_MEMBERS_INVALID', reason })
}

interface MemberLine {
  account: string
  storeKey: string
  peerId: string
  url?: string
  addresses?: string[]
}

function isMultiaddr(text: string): boolean {
  try {
    multiaddr(text)
    return true
  } catch {
    return false
  }
}

const membersMax = 256
const reloadIntervalMs = 1000

function parseMember(line: MemberLine, index: number): Member {
  try {
    return parseLine(line)
  } catch (cause) {
    throw new TypeError(`member ${index + 1}: ${messageOf(cause)}`, { cause })
  }
}

function parseLine(line: MemberLine): Member {
  const account = fromHex(line.account)
  const storeKey = fromHex(line.storeKey)
  if (account.length !== 32 || storeKey.length !== 32) throw new TypeError('account or storeKey is not 32 bytes')
  if (typeof line.peerId !== 'string' || line.peerId.length > 128) throw new TypeError('no peer id')
  const { peerId, url = '', addresses = [] } = line
  if (url !== '' && !URL.canParse(url)) throw new TypeError('url is no URL')
  if (!Array.isArray(addresses) || !addresses.every(isMultiaddr))
    throw new TypeError('addresses is no list of multiaddrs')
  return { account, storeKey, peerId, url: url.replace(/\/$/, ''), addresses }
}

/**
 * Reads `{"ledgerId": hex32, "members": [{"account", "storeKey", "peerId", "url"?, "addresses"?}]}`.
 *
 * @throws {StorageError} `ERR_MEMBERS_INVALID`.
 */
export function parseMembers(text: string): { ledgerId: Uint8Array; members: Member[] } {
  try {
    const file = JSON.parse(text) as { ledgerId: string; members: MemberLine[] }
    const ledgerId = fromHex(file.ledgerId)
    if (ledgerId.length !== 32) throw new TypeError('ledgerId is not 32 bytes')
    if (!Array.isArray(file.members)) throw new TypeError('members is no list')
    if (file.members.length > membersMax) throw new TypeError('too many members')
    const members = file.members.map(parseMember)
    members.sort((a, b) => Buffer.compare(a.account, b.account))
    if (new Set(members.map((member) => toHex(member.account))).size !== members.length)
      throw new TypeError('an account is there twice')
    return { ledgerId, members }
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'unreadable'
    throw new StorageError(
      `the member list is not valid: ${reason}`,
      { code: 'ERR_MEMBERS_INVALID', reason },
      { cause },
    )
  }
}

/** The member list from a file, which is read again within a second of each change. */
export class FileMembers implements Members {
  readonly ledgerId: Uint8Array
  readonly #path: string
  readonly #listeners = new Set<() => void>()
  readonly #onInvalid: (error: Error) => void
  #members: Member[] = []
  #byAccount = new Map<string, Member>()
  #byPeer = new Map<string, Member>()
  #seen = ''
  readonly #timer: NodeJS.Timeout

  /**
   * @param onInvalid - told of a file that cannot be used; the last good list stays in force.
   * @throws {StorageError} `ERR_MEMBERS_INVALID` if the file cannot be used now.
   */
  constructor(path: string, onInvalid: (error: Error) => void) {
    this.#path = path
    this.#onInvalid = onInvalid
    this.ledgerId = this.#load()
    this.#timer = setInterval(() => this.reload(), reloadIntervalMs)
    this.#timer.unref()
  }

  /** Stops watching the file. */
  close(): void {
    clearInterval(this.#timer)
  }

  list(): readonly Member[] {
    return this.#members
  }

  find(account: Uint8Array): Member | undefined {
    return this.#byAccount.get(toHex(account))
  }

  findPeer(peerId: string): Member | undefined {
    return this.#byPeer.get(peerId)
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Reads the file again if it has changed. */
  reload(): void {
    try {
      if (this.#stamp() === this.#seen) return
      this.#load()
    } catch (error) {
      this.#onInvalid(error as Error)
      return
    }
    for (const listener of this.#listeners) listener()
  }

  #stamp(): string {
    const { mtimeMs, size, ino } = statSync(this.#path)
    return `${mtimeMs} ${size} ${ino}`
  }

  #load(): Uint8Array {
    let text: string
    try {
      this.#seen = this.#stamp()
      text = readFileSync(this.#path, 'utf8')
    } catch (cause) {
      const detail = { code: 'ERR_MEMBERS_INVALID', reason: 'unreadable' } as const
      throw new StorageError('the member list cannot be read', detail, { cause })
    }
    const { ledgerId, members } = parseMembers(text)
    if (this.ledgerId && toHex(ledgerId) !== toHex(this.ledgerId)) {
      const reason = 'another ledger'
      throw new StorageError(`the member list is of ${reason}`, { code: 'ERR_MEMBERS_INVALID', reason })
    }
    this.#members = members
    this.#byAccount = new Map(members.map((member) => [toHex(member.account), member]))
    this.#byPeer = new Map(members.map((member) => [member.peerId, member]))
    return ledgerId
  }
}
