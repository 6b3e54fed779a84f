import { CryptoError } from '@healthblock/crypto/errors'
import { randomBytes } from '@healthblock/crypto/random'
import { type OpenVault, openVault } from '@healthblock/crypto/vault'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
import { GuessQueue } from '@healthblock/runtime/guess-queue'
import { portalSessionLimits } from '@healthblock/runtime/portal-session'
import { TryLimit } from '@healthblock/runtime/try-limit'
import type { Consent } from '../consent/consent.ts'
import { UserNodeError } from '../errors.ts'
import type { Person } from '../store/person.ts'
import { vaultPath } from './people.ts'

/** An open vault and whose it is. */
export interface Session {
  readonly id: string
  readonly person: Person
  readonly vault: OpenVault
  readonly expiresAtMs: number
  /** True if the holder of the API secret opened it: he may have the node read files of its host. */
  readonly isHosts: boolean
  /** Aborted when the session ends: what streams to it stops. */
  readonly end: AbortSignal
}

interface LiveSession extends Session {
  lastUsedMs: number
  readonly ended: AbortController
}

/** A person's open vault. All sessions of the person share it, so that none writes an older copy over what another one added. */
interface SharedVault {
  readonly vault: OpenVault
  sessionCount: number
}

/** A vault, and the bytes that it was opened from. */
interface OpenedFile {
  readonly file: Uint8Array
  readonly vault: OpenVault
}

const sessionsMax = 64

function sessionMissing(): UserNodeError {
  return new UserNodeError('there is no session: log in again', { code: 'ERR_SESSION_MISSING' })
}

/** Sessions by passphrase. While one lives, that person's vault is open in memory. */
export class Sessions {
  readonly #dir: string
  readonly #consent: Consent
  readonly #nowMs: () => number
  readonly #idleMs: number
  readonly #sessions = new Map<string, LiveSession>()
  readonly #vaults = new Map<string, SharedVault>()
  readonly #limit: TryLimit
  /** Each try takes 128 MiB of memory while it lasts. */
  readonly #guesses = new GuessQueue()

  /** @param options - `idleMs`: how long a session lives without a person's act. */
  constructor(options: { dir: string; consent: Consent; nowMs: () => number; idleMs?: number }) {
    this.#idleMs = options.idleMs ?? portalSessionLimits.idleMs
    this.#dir = options.dir
    this.#consent = options.consent
    this.#nowMs = options.nowMs
    this.#limit = new TryLimit({ nowMs: options.nowMs })
  }

  /**
   * Opens a person's vault. Wrong passphrases are limited to 5 in 15 minutes per person and source; open sessions stay.
   *
   * @param isHosts - true for the holder of the API secret.
   * @throws {UserNodeError} `ERR_PASSPHRASE_WRONG`, `ERR_VAULT_MISSING`; {RuntimeError} `ERR_TOO_MANY_TRIES`, `ERR_FILE_FAILED`.
   */
  async open(person: Person, passphrase: string, source: string, isHosts = false): Promise<Session> {
    const vault = await this.#openShared(person, passphrase, source)
    this.endIdle()
    for (const id of this.#sessions.keys()) if (this.#sessions.size >= sessionsMax) this.close(id)
    const now = this.#nowMs()
    const ended = new AbortController()
    const session: LiveSession = {
      id: toHex(randomBytes(32)),
      person,
      vault,
      expiresAtMs: now + portalSessionLimits.longestMs,
      isHosts,
      lastUsedMs: now,
      ended,
      end: ended.signal,
    }
    this.#sessions.set(session.id, session)
    try {
      await this.absorbRoots(session)
    } catch (error) {
      // Nobody hears of this session: it must not hold the vault open.
      this.close(session.id)
      throw error
    }
    return session
  }

  /**
   * Asks for the passphrase again before something that an open page alone must not do. Guesses count as those at the door.
   *
   * @throws as `open`.
   */
  async confirmPassphrase({ person }: Session, passphrase: string, source: string): Promise<void> {
    const { vault } = await this.#guess(person, passphrase, source)
    vault.close()
  }

  /**
   * Puts the person's vault under another passphrase; durable when it returns. All her other sessions end.
   *
   * @param change - `newPassphrase`: at least `passphraseLengthMin` characters; `demand`: called once the old one was right, throws unless the
   *   second factor was shown.
   * @throws as `open`; {UserNodeError} `ERR_SESSION_MISSING` if the session ended meanwhile; what `demand` throws.
   */
  async changePassphrase(
    session: Session,
    change: { passphrase: string; newPassphrase: string; source: string; demand: () => void },
  ): Promise<void> {
    const { passphrase, newPassphrase, source, demand } = change
    const { person, vault } = session
    await this.confirmPassphrase(session, passphrase, source)
    demand()
    try {
      // In the queue of guesses: none is made while the file is written anew.
      await this.#guesses.run(source, () =>
        vault.changePassphrase(newPassphrase, (file) => {
          this.find(session.id)
          this.#writeVault(person, file)
        }),
      )
    } catch (error) {
      // It closed the vault, or others have it open.
      throw session.end.aborted ? sessionMissing() : error
    }
    for (const { id, person: owner } of this.#sessions.values())
      if (owner.id === person.id && id !== session.id) this.close(id)
  }

  /**
   * A guess at a name that nobody has here: it is counted and takes as long as one at a person's vault, so that nobody learns who lives here.
   *
   * @param someone - whose vault is tried in vain.
   * @throws {UserNodeError} `ERR_PASSPHRASE_WRONG`; {RuntimeError} as `open`.
   */
  async openNobody(name: string, someone: Person, source: string): Promise<never> {
    const { vault } = await this.#guess(someone, toHex(randomBytes(32)), source, `nobody ${name}`)
    vault.close()
    throw new UserNodeError('the passphrase is wrong', { code: 'ERR_PASSPHRASE_WRONG' })
  }

  /** One counted guess. */
  async #guess(person: Person, passphrase: string, source: string, whose = person.id): Promise<OpenedFile> {
    const key = `${whose} ${source}`
    const takeBack = this.#limit.begin(key)
    try {
      const opened = await this.#guesses.run(source, () => this.#openVault(person, passphrase))
      this.#limit.succeed(key)
      return opened
    } catch (cause) {
      if (!(cause instanceof CryptoError)) {
        takeBack()
        throw cause
      }
      throw new UserNodeError('the passphrase is wrong', { code: 'ERR_PASSPHRASE_WRONG' }, { cause })
    }
  }

  async #openVault(person: Person, passphrase: string): Promise<OpenedFile> {
    const file = this.#readVault(person)
    return { file, vault: await openVault({ file, passphrase }) }
  }

  #readVault(person: Person): Uint8Array {
    const path = vaultPath(this.#dir, person.account)
    const file = readFileIfPresent(path)
    if (file !== undefined) return file
    const message = `the vault is missing: ${path} must be restored from a backup of this folder`
    throw new UserNodeError(message, { code: 'ERR_VAULT_MISSING', person: person.name })
  }

  /** The vault that other sessions of the person have open, else the one of the file as it is now. */
  async #openShared(person: Person, passphrase: string, source: string): Promise<OpenVault> {
    for (;;) {
      const { file, vault } = await this.#guess(person, passphrase, source)
      const shared = this.#vaults.get(person.id)
      if (shared === undefined && equalBytes(file, this.#readVault(person))) {
        this.#vaults.set(person.id, { vault, sessionCount: 1 })
        return vault
      }
      vault.close()
      if (shared === undefined) continue // A session wrote and ended meanwhile: what it wrote would be lost.
      shared.sessionCount++
      return shared.vault
    }
  }

  /** Moves roots that the hot store sealed meanwhile into the vault, and writes it. */
  absorbRoots(session: Session): Promise<void> {
    return this.#consent.absorbRoots(session.person, session.vault, () => this.saveVault(session))
  }

  /** Writes the open vault over its file. */
  saveVault({ person, vault }: Session): void {
    this.#writeVault(person, vault.encode())
  }

  #writeVault(person: Person, file: Uint8Array): void {
    writeFileDurably(vaultPath(this.#dir, person.account), file, { mode: 0o600 })
  }

  /**
   * The live session of an id. `isUse`: a person acts, which keeps it from growing idle.
   *
   * @throws {UserNodeError} `ERR_SESSION_MISSING` for none, or one that ended.
   */
  find(id: string, isUse = true): Session {
    const session = this.#sessions.get(id)
    const now = this.#nowMs()
    if (session === undefined || this.#isOver(session, now)) {
      if (session !== undefined) this.close(id)
      throw sessionMissing()
    }
    if (isUse) session.lastUsedMs = now
    return session
  }

  /** Ends a session, and closes the vault if no other session of the person has it open. */
  close(id: string): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    this.#sessions.delete(id)
    session.ended.abort()
    const shared = this.#vaults.get(session.person.id)
    if (shared === undefined || --shared.sessionCount > 0) return
    this.#vaults.delete(session.person.id)
    shared.vault.close()
  }

  /** Ends them all. */
  closeAll(): void {
    for (const id of [...this.#sessions.keys()]) this.close(id)
  }

  /** Ends those that are over: their vaults close although nobody asks for them any more. Call it often. */
  endIdle(): void {
    const now = this.#nowMs()
    for (const [id, session] of this.#sessions) if (this.#isOver(session, now)) this.close(id)
  }

  #isOver({ expiresAtMs, lastUsedMs }: LiveSession, now: number): boolean {
    return now > expiresAtMs || Math.abs(now - lastUsedMs) > this.#idleMs
  }
}
