import { CryptoError } from '@healthblock/crypto/errors'
import { randomBytes } from '@healthblock/crypto/random'
import { type OpenVault, openVault } from '@healthblock/crypto/vault'
import { toHex } from '@healthblock/encoding/bytes'
import { readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
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

/** A person's open vault. All sessions of the person share it, so that none writes an older copy over what another one added. */
interface SharedVault {
  readonly vault: OpenVault
  sessionCount: number
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
  readonly #vaults = new Map<string, SharedVault>()
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
   * @throws {UserNodeError} `ERR_PASSPHRASE_WRONG`, `ERR_TOO_MANY_TRIES`, `ERR_VAULT_MISSING`; {RuntimeError} `ERR_FILE_FAILED`.
   */
  async open(person: Person, passphrase: string, source: string): Promise<Session> {
    const key = `${person.id} ${source}`
    this.#checkTries(key)
    // Counted before it is tried: guesses that come together are as many as they are.
    const triedMs = this.#nowMs()
    this.#failures.set(key, [...(this.#failures.get(key) ?? []), triedMs])
    // One at a time: each try takes 128 MiB of memory while it lasts.
    const attempt = this.#turn.then(() => this.#openVault(person, passphrase))
    this.#turn = attempt.catch(() => {})
    let opened: OpenVault
    try {
      opened = await attempt
    } catch (cause) {
      if (!(cause instanceof CryptoError)) {
        this.#forgetTry(key, triedMs)
        throw cause
      }
      throw new UserNodeError('the passphrase is wrong', { code: 'ERR_PASSPHRASE_WRONG' }, { cause })
    }
    this.#failures.delete(key)
    this.#evict()
    const now = this.#nowMs()
    const session: LiveSession = {
      id: toHex(randomBytes(32)),
      person,
      vault: this.#share(person, opened),
      expiresAtMs: now + longestMs,
      lastUsedMs: now,
    }
    this.#sessions.set(session.id, session)
    await this.absorbRoots(session)
    return session
  }

  async #openVault(person: Person, passphrase: string): Promise<OpenVault> {
    const path = vaultPath(this.#dir, person.account)
    const file = readFileIfPresent(path)
    if (file === undefined) {
      const message = `the vault is missing: ${path} must be restored from a backup of this folder`
      throw new UserNodeError(message, { code: 'ERR_VAULT_MISSING', person: person.name })
    }
    return openVault({ file, passphrase })
  }

  /** The vault that other sessions of the person have open, else this one. */
  #share(person: Person, opened: OpenVault): OpenVault {
    const shared = this.#vaults.get(person.id)
    if (shared === undefined) {
      this.#vaults.set(person.id, { vault: opened, sessionCount: 1 })
      return opened
    }
    opened.close()
    shared.sessionCount++
    return shared.vault
  }

  /** A try that said nothing about the passphrase does not count. */
  #forgetTry(key: string, triedMs: number): void {
    const tries = [...(this.#failures.get(key) ?? [])]
    tries.splice(tries.indexOf(triedMs), 1)
    this.#failures.set(key, tries)
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
  absorbRoots(session: Session): Promise<void> {
    return this.#consent.absorbRoots(session.person, session.vault, () => this.saveVault(session))
  }

  /** Writes the open vault over its file. */
  saveVault({ person, vault }: Session): void {
    writeFileDurably(vaultPath(this.#dir, person.account), vault.encode(), { mode: 0o600 })
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

  /** Ends a session, and closes the vault if no other session of the person has it open. */
  close(id: string): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    this.#sessions.delete(id)
    const shared = this.#vaults.get(session.person.id)
    if (shared === undefined || --shared.sessionCount > 0) return
    this.#vaults.delete(session.person.id)
    shared.vault.close()
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
