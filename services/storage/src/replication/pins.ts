/**
 * Accounts' pins at all stores. Every store that has a block keeps its pins: a store that was away, or gets the block later,
 * is told by the durable hand-off queue, and by every repair that looks at it (`src/store/pin-stamps.ts`: in what order it
 * hears of them does not matter).
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Caller } from '../access/bearer.ts'
import type { Member } from '../access/members.ts'
import type { BlockBackend } from '../backend.ts'
import { isStorageError, StorageError } from '../errors.ts'
import { type BlockId, encodeBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { PinEntry, PinsListed } from '../store/entries.ts'
import { handoffKinds, type Reference } from '../store/operations.ts'
import { msAfter, pinOf, referenceAheadMsMax, timelyReference } from '../store/pin-stamps.ts'
import { isFinal } from './final-refusal.ts'
import type { NodeClient } from './node-client.ts'

const pinsPageSize = 1000
/** A pin's kind that holds what is below it, too. */
export const recursivePin = 2
/** Most pins that one listing gathers. */
export const pinsListedMax = 100_000
/** In place of a pin's kind: the block is kept for the account, and no pin is shown. */
const referenceOnly = 3
/** As what the hand-off queue tells of a pin, by its kind. */
const pinHandoffs = [handoffKinds.unpin, handoffKinds.direct, handoffKinds.recursive, handoffKinds.refer] as const

/** A store that was told of a pin. */
interface PinTold {
  member: Member
  /** As {@link Pins.setHere}; 0 of one that was not reached. */
  answer: number
  /** Why it was not reached, or could not do it. */
  error?: unknown
}

/** What a store answers about an account's pin; anything above is the time of a later word, which holds there. */
export const pinAnswers = { absent: 0, done: 1, noted: 2 } as const

/** What one store answered, or why it did not. */
export interface Told<T> {
  member: Member
  done: T | false
  error?: unknown
}

/** A reference that a request has made, and takes back if it fails later on. */
export interface Made {
  id: BlockId
  /** Unix ms. */
  at: number
}

/** What {@link Pins} works with. */
export interface PinsOptions {
  backend: BlockBackend
  store: BlockStore
  client: NodeClient
  /** This store's account. */
  account: Uint8Array
  now: () => number
  /** Called when the hand-off queue has grown. */
  onHandoff: () => void
  /** The members that shall hold a block. */
  placed: (digest: Uint8Array) => Member[]
  /** Does something for each store, this one among them. */
  everywhere: <T>(act: (member: Member) => Promise<T>) => Promise<Told<T>[]>
  /** As `everywhere`, but that those which are away are not waited for, unless no other one does it. */
  whereUp: <T>(act: (member: Member) => Promise<T>) => Promise<Told<T>[]>
  /** Takes back a reference that was made at that very time. */
  retract: (id: BlockId, made: Caller & { at: number }) => Promise<void>
  /** The latest word of an account on a block that is being taken back just now, Unix ms; 0 for none. */
  takenBack: (digest: Uint8Array, account: Uint8Array) => number
}

/** Sets, takes away and lists pins. */
export class Pins {
  readonly #options: PinsOptions

  constructor(options: PinsOptions) {
    this.#options = options
  }

  #isSelf(member: Member): boolean {
    return equalBytes(member.account, this.#options.account)
  }

  /**
   * Pins for an account at every store that has the block. If one of them refuses, as for a quota, nothing of it stays.
   *
   * @param broughtAt - when the same request has put the block: then it is pinned as of that time.
   * @returns when, Unix ms.
   * @throws {StorageError} `ERR_BLOCK_NOT_FOUND` if none has; `ERR_QUOTA_EXCEEDED`, `ERR_BLOCK_ERASED`, `ERR_BLOCK_RELEASED`.
   */
  async add(id: BlockId, caller: Caller, mode: number, broughtAt?: number): Promise<number> {
    const { store } = this.#options
    // What the account keeps already is on its quota.
    const isKept = broughtAt !== undefined || store.keptSince(id.digest, caller.account) !== undefined
    const made = isKept ? [] : [await this.refer(id, caller)]
    try {
      return await this.#setPin(id, {
        account: caller.account,
        at: broughtAt ?? this.#nowOf(id, caller.account),
        pin: mode,
      })
    } catch (error) {
      await this.takeBack(made, caller)
      throw error
    }
  }

  /**
   * Removes an account's pin at every store.
   *
   * @throws {StorageError} `ERR_NOT_PINNED` if there was none.
   */
  async remove(id: BlockId, account: Uint8Array): Promise<void> {
    await this.#setPin(id, { account, at: this.#options.now(), pin: 0 })
  }

  /**
   * Keeps a block for an account at every store that has it, without a pin; or at none, if one of them refuses.
   *
   * @throws {StorageError} as {@link add}.
   */
  async refer(id: BlockId, caller: Caller): Promise<Made> {
    let made: Made = { id, at: this.#nowOf(id, caller.account) }
    // What is said twice is not taken back as the word of one request: the second time stands alone.
    const onLater = async (at: number): Promise<void> => {
      await this.takeBack([made], caller)
      made = { id, at }
    }
    try {
      await this.#setPin(id, { account: caller.account, at: made.at, pin: referenceOnly }, onLater)
      return made
    } catch (error) {
      await this.takeBack([made], caller)
      throw error
    }
  }

  /** Now, or after what is being taken back: that is said at other stores, too, until it is over. */
  #nowOf({ digest }: BlockId, account: Uint8Array): number {
    const { now, takenBack } = this.#options
    const at = takenBack(digest, account)
    return at === 0 ? now() : Math.max(now(), msAfter(at))
  }

  /** Gives up what {@link refer} has made, but for what the account kept before or has put since. */
  async takeBack(made: readonly Made[], caller: Caller): Promise<void> {
    for (const { id, at } of made) await this.#options.retract(id, { ...caller, at }).catch(() => {})
  }

  /**
   * Stores that cannot be reached, or that are to get the block and do not have it yet, are told later.
   *
   * @param asked.at - when; or 1 ms after what a store has heard, Unix ms: then it is said again, after `onLater`. @returns when in the end.
   */
  async #setPin(id: BlockId, asked: Reference, onLater?: (at: number) => Promise<void>): Promise<number> {
    const { account, pin } = asked
    let { at } = asked
    const latest = at + referenceAheadMsMax
    let answers = await this.#tellPin(id, { account, at, pin })
    // Of the future no other store is believed; what this one has was set by its own clock.
    const isBelievable = ({ member, answer }: PinTold): boolean => answer < latest || this.#isSelf(member)
    const later = Math.max(0, ...answers.filter(isBelievable).map(({ answer }) => answer))
    const wasDone = answers.some(({ answer }) => answer === pinAnswers.done)
    if (later >= at) {
      // By another store's clock the account has asked for the opposite later than now: it has asked for this last.
      at = Math.max(msAfter(later), this.#nowOf(id, account))
      await onLater?.(at)
      answers = await this.#tellPin(id, { account, at, pin })
    }
    const cid = encodeBlockId(id)
    if (wasDone || answers.some(({ answer }) => answer === pinAnswers.done)) {
      await this.#tellPinLater(id, { account, at, pin }, answers)
      return at
    }
    // What this store could not do is not said to be nowhere.
    const own = answers.find(({ member }) => this.#isSelf(member))
    if (own?.error !== undefined) throw own.error
    if (pin === 0) throw new StorageError('not pinned or pinned indirectly', { code: 'ERR_NOT_PINNED', cid })
    if (answers.some(({ answer }) => answer > pinAnswers.noted)) {
      const message = `pin: by the clock of a store ${cid} was given up later than now: put it again, or ask again later`
      throw new StorageError(message, { code: 'ERR_BLOCK_RELEASED', cid })
    }
    throw new StorageError(`ipld: could not find ${cid}`, { code: 'ERR_BLOCK_NOT_FOUND', cid })
  }

  async #tellPin(id: BlockId, reference: Reference): Promise<PinTold[]> {
    const told = await this.#options.whereUp(async (member) =>
      this.#isSelf(member) ? await this.setHere(id, reference) : await this.#options.client.pin(member, id, reference),
    )
    const final = told.find(({ error }) => error !== undefined && isFinal(error))
    if (final) throw final.error
    return told.map(({ member, done, error }) => ({ member, answer: done || 0, error }))
  }

  async #tellPinLater(id: BlockId, { account, at, pin }: Reference, answers: readonly PinTold[]): Promise<void> {
    const { store, onHandoff } = this.#options
    const handoffKind = pinHandoffs[pin] as number
    const placed = this.#options.placed(id.digest)
    const isLeft = ({ member, answer, error }: PinTold): boolean =>
      error !== undefined ||
      (answer === pinAnswers.absent && placed.some((one) => equalBytes(one.account, member.account)))
    const left = answers.filter(isLeft)
    for (const { member } of left) {
      await store.enqueueHandoff({
        handoffKind,
        digest: id.digest,
        target: member.account,
        account,
        at,
        codec: id.codec,
      })
    }
    if (left.length > 0) onHandoff()
  }

  /**
   * Pins or unpins here. Throws as {@link BlockStore.pin}.
   *
   * @param enforceQuota - false where another store tells what was done elsewhere.
   * @returns one of {@link pinAnswers}, or when the opposite was done that came after it, Unix ms.
   */
  async setHere(id: BlockId, reference: Reference, enforceQuota = true): Promise<number> {
    const { backend, store } = this.#options
    // A clock that was ahead may have set what is here: what is asked for after that counts, too.
    const removed = store.releasedAt(id.digest, reference.account) ?? 0
    const here = store.pinStampsOf(id.digest, reference.account) ?? { direct: 0, recursive: 0, removed }
    const { account, at, pin } = timelyReference(reference, this.#options.now(), here)
    try {
      if (pin === 0) {
        if (await backend.unpin(id.digest, account, at)) return pinAnswers.done
      } else {
        await backend.pin(id, { account, at, pin: pin === referenceOnly ? 0 : pin }, enforceQuota)
      }
    } catch (error) {
      if (isStorageError(error, 'ERR_BLOCK_NOT_FOUND') || isStorageError(error, 'ERR_NOT_PINNED')) {
        return pinAnswers.absent
      }
      const releasedAt = store.releasedAt(id.digest, account)
      if (isStorageError(error, 'ERR_BLOCK_RELEASED') && releasedAt !== undefined) return releasedAt
      throw error
    }
    const stamps = store.pinStampsOf(id.digest, account)
    if (pin === referenceOnly || stamps === undefined) return pinAnswers.done
    if (pin === 0) return pinOf(stamps) === 0 ? pinAnswers.noted : Math.max(stamps.direct, stamps.recursive)
    return stamps.removed >= at ? stamps.removed : pinAnswers.done
  }

  /** Adds what another store says of a pin to what is known of it here; of a block that is not here it says it with its copy. */
  async note(id: BlockId, reference: Reference): Promise<void> {
    try {
      await this.#options.backend.pin(id, timelyReference(reference, this.#options.now()), false)
    } catch (error) {
      const over = ['ERR_BLOCK_NOT_FOUND', 'ERR_BLOCK_ERASED', 'ERR_BLOCK_RELEASED'] as const
      if (!over.some((code) => isStorageError(error, code))) throw error
    }
  }

  /** All pins of an account at the stores that can be reached, or its recursive ones, in the order of digests; at most {@link pinsListedMax}. */
  async list(account: Uint8Array, kind: PinsListed = 'all'): Promise<PinEntry[]> {
    const { backend, client } = this.#options
    const found = new Map<string, PinEntry>()
    await this.#options.everywhere(async (member) => {
      let after: Uint8Array = new Uint8Array(0)
      while (found.size < pinsListedMax) {
        const page = this.#isSelf(member)
          ? backend.pins(account, after, pinsPageSize, kind)
          : await client.pins(member, account, after, kind)
        for (const pin of page) {
          const name = toHex(pin.digest)
          const isMore = pin.pin > (found.get(name)?.pin ?? 0)
          if (isMore && (kind === 'all' || pin.pin === recursivePin)) found.set(name, pin)
        }
        // Others' requests come between any two pages.
        await nextTurn()
        const last = page.at(-1)
        if (!last || page.length < pinsPageSize) return true
        after = last.digest
      }
      return true
    })
    return [...found.keys()].sort().map((key) => found.get(key) as PinEntry)
  }
}
