import { readFileSync } from 'node:fs'
import { randomBytes } from '@healthblock/crypto/random'
import { type OpenVault, openVault } from '@healthblock/crypto/vault'
import { toHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import type { Consent } from '../consent/consent.ts'
import { UserNodeError } from '../errors.ts'
import { vaultPath } from './people.ts'
import type { Person } from './person.ts'

/** An open vault and whose it is. */
export interface Session {
  readonly id: string
  readonly person: Person
  readonly vault: OpenVault
  readonly expiresAtMs: number
}

interface LiveSession extends Session {
  lastUsedMs: number
}

const idleMs = 15 * 60_000
const longestMs = 12 * 3_600_000
const triesMax = 5
const triesWindowMs = 15 * 60_000
const sessionsMax = 64

/** Sessions by passphrase. While one lives, that person's vault is open in memory. */
export class Sessions {
  readonly #dir: string
  readonly #consent: Consent
  readonly #nowMs: () => number
  readonly #sessions = new Map<string, LiveSession>()
  readonly #failures = new Map<string, number[]>()
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: { dir: string; consent: Consent; nowMs: () => number }) {
    this.#dir = options.dir
    this.#consent = options.consent
    this.#nowMs = options.nowMs
  }

  /**
   * Opens a person's vault. Wrong passphrases are limited to 5 in 15 minutes per person and source; open sessions stay.
   *
   * @throws {UserNodeError} `ERR_PASSPHRASE_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  async open(person: Person, passphrase: string, source: string): Promise<Session> {
    const key = `${person.id} ${source}`
    this.#checkTries(key)
    // One at a time: each try takes 128 MiB of memory while it lasts.
    const attempt = this.#turn.then(() =>
      openVault({ file: readFileSync(vaultPath(this.#dir, person.account)), passphrase }),
    )
    this.#turn = attempt.catch(() => {})
    let vault: OpenVault
    try {
      vault = await attempt
    } catch (cause) {
      this.#failures.set(key, [...(this.#failures.get(key) ?? []), this.#nowMs()])
      throw new UserNodeError('the passphrase is wrong', { code: 'ERR_PASSPHRASE_WRONG' }, { cause })
    }
    this.#failures.delete(key)
    const now = this.#nowMs()
    const session: LiveSession = {
      id: toHex(randomBytes(32)),
      person,
      vault,
      expiresAtMs: now + longestMs,
      lastUsedMs: now,
    }
    this.#evict()
    this.#sessions.set(session.id, session)
    await this.absorbRoots(session)
    return session
  }

  #checkTries(key: string): void {
    const now = this.#nowMs()
    const recent = (this.#failures.get(key) ?? []).filter((at) => at > now - triesWindowMs)
    if (recent.length === 0) this.#failures.delete(key)
    else this.#failures.set(key, recent)
    if (recent.length >= triesMax) {
      const retryAfterSeconds = Math.ceil(((recent[0] as number) + triesWindowMs - now) / 1000)
      throw new UserNodeError(`too many wrong passphrases: try again in ${Math.ceil(retryAfterSeconds / 60)} minutes`, {
        code: 'ERR_TOO_MANY_TRIES',
        retryAfterSeconds,
      })
    }
  }

  /** Moves roots that the hot store sealed meanwhile into the vault, and writes it. */
  async absorbRoots(session: Session): Promise<void> {
    const count = session.person.hot.sealedRoots.length
    if (count === 0) return
    await this.#consent.takeOverRoots(session.person, session.vault)
    this.save(session)
    // Only after the vault is durable are the sealed copies given up.
    this.#consent.dropSealedRoots(session.person, count)
  }

  /** Writes the session's vault. */
  save(session: Session): void {
    writeFileDurably(vaultPath(this.#dir, session.person.account), session.vault.encode(), { mode: 0o600 })
  }

  /**
   * The live session of an id.
   *
   * @throws {UserNodeError} `ERR_SESSION_MISSING` for none, or one that ended.
   */
  find(id: string): Session {
    const session = this.#sessions.get(id)
    const now = this.#nowMs()
    if (session === undefined || now > session.expiresAtMs || now > session.lastUsedMs + idleMs) {
      if (session !== undefined) this.close(id)
      throw new UserNodeError('there is no session: log in again', { code: 'ERR_SESSION_MISSING' })
    }
    session.lastUsedMs = now
    return session
  }

  /** Ends a session and closes its vault. */
  close(id: string): void {
    this.#sessions.get(id)?.vault.close()
    this.#sessions.delete(id)
  }

  /** Ends them all. */
  closeAll(): void {
    for (const id of [...this.#sessions.keys()]) this.close(id)
  }

  #evict(): void {
    const now = this.#nowMs()
    for (const [id, session] of this.#sessions) {
      if (now > session.expiresAtMs || now > session.lastUsedMs + idleMs || this.#sessions.size >= sessionsMax)
        this.close(id)
    }
  }
}
