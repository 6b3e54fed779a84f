/** Blocks that one request brings and that belong together: they are kept when all of it is through, or given up again. */
import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyRequest } from 'fastify'
import { type Caller, callerOf } from '../access/bearer.ts'
import { type Bringer, kept, type Said } from '../claims.ts'
import type { Made } from '../replication/pins.ts'
import type { BlockId } from '../store/block-id.ts'
import { msAfter } from '../store/pin-stamps.ts'
import type { KuboRouteParts } from './parts.ts'

/** One request's blocks for one account. */
export class Upload implements Bringer {
  readonly #parts: KuboRouteParts
  readonly #account: Uint8Array
  readonly #caller: Caller
  /** By the digests in hex. */
  readonly #said = new Map<string, Said>()
  /** References to what lies below roots that were pinned. */
  readonly #made: Made[] = []
  /** Puts, by the digests in hex: those of one block come one after the other. */
  readonly #underWay = new Map<string, Promise<void>>()

  constructor(parts: KuboRouteParts, request: Pick<FastifyRequest, 'headers' | 'principal'>) {
    this.#parts = parts
    this.#account = request.principal.account
    this.#caller = callerOf(request)
  }

  /**
   * Stores a block, as one of {@link whole}. What the request has brought before is not said again, unless it was given up
   * since: the account may have put it at another store meanwhile, and that is not to be taken back with this request's words.
   *
   * Throws as {@link Files.putBlock}.
   */
  async put(id: BlockId, bytes: Uint8Array): Promise<void> {
    const name = toHex(id.digest)
    const before = this.#underWay.get(name)
    const stored = before === undefined ? this.#bring(name, id, bytes) : before.then(() => this.#bring(name, id, bytes))
    this.#underWay.set(name, stored)
    try {
      await stored
    } finally {
      if (this.#underWay.get(name) === stored) this.#underWay.delete(name)
    }
  }

  async #bring(name: string, id: BlockId, bytes: Uint8Array): Promise<void> {
    const { store, files, now } = this.#parts
    const account = this.#account
    const { claims } = files
    if (this.#holds(this.#said.get(name), id)) return
    // What another request has said is gone by then, or known to be kept.
    await claims.left(account, id.digest)
    const holder = claims.take(account, id.digest, this)
    const had = store.keptSince(id.digest, account) !== undefined
    // What was put before and may go, by this request or by one that leaves it to this one: the next word is later.
    const known = this.#said.get(name) ?? (holder === undefined ? undefined : holder.newOf(name))
    const at = Math.max(now(), msAfter(this.#releasedAt(id)), msAfter(known?.at ?? 0))
    // What was given up since is nobody's to take back.
    const before = known !== undefined && this.#releasedAt(id) < known.at ? known : undefined
    const since = before?.since ?? at
    const said: Said = { ...before, id, since, at, isNew: before?.isNew === true || !had, isStored: false }
    this.#said.set(name, said)
    const onLater = (later: number): void => {
      said.at = Math.max(said.at, later)
    }
    await files.putClaimed(id, bytes, {
      reference: { account, at, pin: 0 },
      tokenOf: () => this.#caller.token,
      onLater,
    })
    said.isStored = true
  }

  /** True of what was said and is kept by that, by the codec with which it comes: that tells whose a file's node is. */
  #holds(said: Said | undefined, id: BlockId): boolean {
    return said?.isStored === true && said.id.codec === id.codec && this.#releasedAt(id) < said.at
  }

  #releasedAt({ digest }: BlockId): number {
    return this.#parts.store.releasedAt(digest, this.#account) ?? 0
  }

  /** What may be taken back of a block, by its digest in hex. */
  newOf(name: string): Said | undefined {
    const said = this.#said.get(name)
    return said?.isNew === true ? said : undefined
  }

  /** Pins a root with all below it, as one of {@link whole}. Throws as {@link Files.pinTree}. */
  async pin(root: BlockId, signal: AbortSignal): Promise<void> {
    const broughtAt = (id: BlockId): number | undefined => this.#broughtAt(id)
    const { made, at } = await this.#parts.files.pinTree(root, this.#caller, signal, broughtAt)
    for (const one of made) this.#made.push(one)
    this.#pinned(root, at)
  }

  /** Pins a block that was put, as one of {@link whole}. Throws as {@link Pins.add}. */
  async pinAlone(id: BlockId, mode: number): Promise<void> {
    this.#pinned(id, await this.#parts.replicator.pins.add(id, this.#caller, mode, this.#broughtAt(id)))
  }

  #broughtAt({ digest }: BlockId): number | undefined {
    return this.newOf(toHex(digest))?.at
  }

  #pinned({ digest }: BlockId, pinnedAt: number): void {
    const said = this.#said.get(toHex(digest))
    if (said) said.pinnedAt = pinnedAt
  }

  /**
   * The lines of a request that may break off anywhere, also because nobody reads them any more: unless they come to
   * their end, what was brought is nobody's, and does not count on a quota.
   */
  async *whole<T>(lines: AsyncIterable<T>): AsyncGenerator<T> {
    const { claims } = this.#parts.files
    let isWhole = false
    claims.begin(this)
    try {
      yield* lines
      for (const { id, isStored } of this.#said.values()) {
        if (isStored) claims.keep(this.#account, id.digest, this)
        else claims.leave(this.#account, id.digest, this)
      }
      isWhole = true
    } finally {
      if (!isWhole) await this.#giveUp()
      claims.end(this)
    }
  }

  async #giveUp(): Promise<void> {
    // Whoever puts several at once does not wait for the others when one fails, or when the body breaks off.
    await Promise.allSettled(this.#underWay.values())
    const { files, replicator } = this.#parts
    const { claims } = files
    await replicator.pins.takeBack(this.#made, this.#caller)
    for (const said of this.#said.values()) {
      const { id, since, at, pinnedAt } = said
      // From then on nobody leaves this one anything of the block any more.
      const heir = claims.leave(this.#account, id.digest, this)
      if (heir === kept || !said.isNew) continue
      if (heir !== undefined) {
        heir.inherit(said)
        continue
      }
      const made = { ...this.#caller, since, at, ...(pinnedAt === undefined ? {} : { pinnedAt }) }
      const takeBack = (): Promise<void> => replicator.retract(id, made).catch(() => {})
      await claims.takeBack(this.#account, id.digest, takeBack)
    }
  }

  /** Another request has brought what this one has, too, and has ended: what it said of the block goes with what this one did. */
  inherit(theirs: Said): void {
    const mine = this.#said.get(toHex(theirs.id.digest))
    // What was given up since is nobody's to take back.
    if (mine === undefined || this.#releasedAt(theirs.id) >= theirs.at) return
    mine.isNew = true
    mine.since = Math.min(mine.since, theirs.since)
    mine.at = Math.max(mine.at, theirs.at)
    const pinnedAt = mine.pinnedAt ?? theirs.pinnedAt
    if (pinnedAt !== undefined) mine.pinnedAt = pinnedAt
  }
}
