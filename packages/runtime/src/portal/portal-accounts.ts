/** People who log in at a node whose secrets are not their own: doctors, auditors, administrators. A patient's passphrase opens a vault instead. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import { readFileIfPresent, writeFileDurably } from '../disk/files.ts'
import { isRuntimeError, messageOf, RuntimeError } from '../errors.ts'
import { GuessQueue } from './guess-queue.ts'
import { type LoginRequest, type OpenPortalSession, portalSessionLimits } from './portal-session.ts'
import { type Act, type FactorHolder, type Factors, isFactorOn, SecondFactors } from './second-factor.ts'
import { TryLimit } from './try-limit.ts'
import type { SecurityKey } from './webauthn.ts'

/** Cost of one guess: 32 MiB, three passes (OWASP Password Storage, 2023, scrypt N = 2^15, r = 8, p = 3). */
const cost = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 }
const sessionsMax = 64

type KeptKey = Omit<SecurityKey, 'id' | 'publicKey'> & { readonly id: string; readonly publicKey: string }

/** Someone who may log in. Bytes are base64. */
interface PortalAccount {
  readonly name: string
  readonly role: string
  readonly salt: string
  readonly hash: string
  readonly totp?: string
  readonly lastStep?: number
  readonly keys?: readonly KeptKey[]
}

/** Who is to log in, and how. */
export interface NewPortalAccount {
  readonly name: string
  readonly role: string
  readonly passphrase: string
  /** True: a second factor that was on is forgotten; default false. */
  readonly endsSecondFactor?: boolean
}

interface LiveSession extends OpenPortalSession {
  lastUsedMs: number
  readonly ended: AbortController
}

function hashOf(passphrase: string, salt: Uint8Array): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase.normalize('NFKC'), salt, 32, cost, (error, key) =>
      error === null ? resolve(key) : reject(error),
    )
  })
}

const toText = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64')
const fromText = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'))

function factorsOf(account: PortalAccount | undefined): Factors {
  const { totp, lastStep, keys = [] } = account ?? {}
  return {
    ...(totp === undefined ? {} : { totp: fromText(totp) }),
    lastStep,
    keys: keys.map((key) => ({ ...key, id: fromText(key.id), publicKey: fromText(key.publicKey) })),
  }
}

function withFactors(account: PortalAccount, { totp, lastStep, keys }: Factors): PortalAccount {
  const { totp: _, lastStep: __, keys: ___, ...rest } = account
  const kept = keys.map((key) => ({ ...key, id: toText(key.id), publicKey: toText(key.publicKey) }))
  return {
    ...rest,
    ...(totp === undefined ? {} : { totp: toText(totp), ...(lastStep === undefined ? {} : { lastStep }) }),
    ...(kept.length === 0 ? {} : { keys: kept }),
  }
}

function readAccounts(path: string): readonly PortalAccount[] {
  const file = readFileIfPresent(path)
  if (file === undefined) return []
  try {
    return JSON.parse(Buffer.from(file).toString('utf8')) as PortalAccount[]
  } catch (cause) {
    const reason = messageOf(cause)
    const message = `${path} is damaged (${reason}): restore it, or move it away and enter anew who may log in`
    throw new RuntimeError(message, { code: 'ERR_FILE_FAILED', path, reason }, { cause })
  }
}

/** Accounts of a portal (`portal.json` in the node's folder) and the sessions that are open. */
export class PortalAccounts {
  /** Second factors of those who are here. */
  readonly factors: SecondFactors
  readonly #path: string
  readonly #nowMs: () => number
  readonly #limit: TryLimit
  readonly #sessions = new Map<string, LiveSession>()
  #accounts: readonly PortalAccount[]
  /** Each try takes memory while it lasts, and names can be made up. */
  readonly #guesses = new GuessQueue()

  /** @param options - `dir`: the node's folder. @throws {RuntimeError} `ERR_FILE_FAILED` for a file that cannot be read. */
  constructor(options: { dir: string; nowMs: () => number }) {
    this.#path = join(options.dir, 'portal.json')
    this.#nowMs = options.nowMs
    this.#limit = new TryLimit({ nowMs: options.nowMs })
    this.factors = new SecondFactors({ nowMs: options.nowMs })
    this.#accounts = readAccounts(this.#path)
  }

  /**
   * Adds somebody, or gives a new passphrase or role; open sessions of that name end. A second factor stays on unless `endsSecondFactor` is true:
   * the way back in for who lost the phone or the key.
   */
  async set(person: NewPortalAccount): Promise<void> {
    const { name, role, passphrase, endsSecondFactor = false } = person
    const salt = randomBytes(16)
    const hash = await hashOf(passphrase, salt)
    // What a code or a factor changed while this was made counts.
    const before = endsSecondFactor ? undefined : this.#accounts.find((account) => account.name === name)
    const account = { name, role, salt: toText(salt), hash: toText(hash) }
    this.#write([...this.#accounts.filter((other) => other.name !== name), withFactors(account, factorsOf(before))])
    for (const session of this.#sessions.values()) if (session.name === name) this.close(session.id)
  }

  /** The second factor of somebody, in a session. */
  holderOf({ name, id }: { name: string; id: string }): FactorHolder {
    const find = (): PortalAccount | undefined => this.#accounts.find((account) => account.name === name)
    return {
      id: name,
      session: id,
      label: name,
      read: () => factorsOf(find()),
      write: (factors) => {
        this.#write(this.#accounts.map((account) => (account.name === name ? withFactors(account, factors) : account)))
      },
    }
  }

  /** Names and roles, and whether a second factor is on. */
  list(): { name: string; role: string; secondFactor: boolean }[] {
    return this.#accounts.map((account) => {
      const { name, role } = account
      return { name, role, secondFactor: isFactorOn(factorsOf(account)) }
    })
  }

  /**
   * Opens a session. A name that is not here costs the same time as one that is.
   *
   * @throws {RuntimeError} `ERR_PASSPHRASE_WRONG`, `ERR_TOO_MANY_TRIES`; with a second factor `ERR_CODE_NEEDED`, which
   *   says what a security key may be asked, `ERR_CODE_WRONG`, `ERR_KEY_WRONG`.
   */
  async open({ name, passphrase, act, source }: LoginRequest): Promise<OpenPortalSession> {
    const { account, takeBack, succeed } = await this.#guess({ name, passphrase, source })
    this.#demandFactor({ name, source }, act, takeBack)
    succeed()
    return this.#begin(account)
  }

  /**
   * Gives the person of a session another passphrase; durable when it returns. All other sessions of that name end.
   *
   * @param change - `act`: the request, with the second factor if one is on.
   * @throws as `open`; `ERR_SESSION_MISSING` if the session ended meanwhile.
   */
  async changePassphrase(
    { id, name }: { id: string; name: string },
    change: { passphrase: string; newPassphrase: string; act: Act; source: string },
  ): Promise<void> {
    const { passphrase, newPassphrase, act, source } = change
    const { account, succeed } = await this.#guess({ name, passphrase, source })
    succeed()
    this.factors.demand(this.holderOf({ name, id }), act)
    const salt = randomBytes(16)
    const hash = await this.#guesses.run(source, () => hashOf(newPassphrase, salt))
    // An operator may have set another one meanwhile, which ended the session.
    const isSame = this.#accounts.some((other) => other.name === name && other.hash === account.hash)
    if (!isSame || this.find(id, true) === undefined)
      throw new RuntimeError('there is no session: log in again', { code: 'ERR_SESSION_MISSING' })
    const secret = { salt: toText(salt), hash: toText(hash) }
    this.#write(this.#accounts.map((other) => (other.name === name ? { ...other, ...secret } : other)))
    for (const session of this.#sessions.values())
      if (session.name === name && session.id !== id) this.close(session.id)
  }

  /** One counted guess, at whose end the account is the one that the passphrase is of. */
  async #guess({
    name,
    passphrase,
    source,
  }: Omit<LoginRequest, 'act'>): Promise<{ account: PortalAccount; takeBack: () => void; succeed: () => void }> {
    const key = `${name} ${source}`
    const takeBack = this.#limit.begin(key)
    const account = this.#accounts.find((candidate) => candidate.name === name)
    const salt = Buffer.from(account?.salt ?? 'AAAAAAAAAAAAAAAAAAAAAA==', 'base64')
    const hash = await this.#guesses
      .run(source, () => hashOf(passphrase, salt))
      .catch((error: unknown) => {
        // Nothing was tried.
        takeBack()
        throw error
      })
    // The passphrase may have been changed while this one was tried.
    const isCurrent = this.#accounts.some((other) => other.name === name && other.hash === account?.hash)
    if (account === undefined || !isCurrent || !timingSafeEqual(hash, Buffer.from(account.hash, 'base64'))) {
      throw new RuntimeError('the name or the passphrase is wrong', { code: 'ERR_PASSPHRASE_WRONG' })
    }
    return { account, takeBack, succeed: () => this.#limit.succeed(key) }
  }

  #demandFactor({ name, source }: { name: string; source: string }, act: Act, takeBack: () => void): void {
    // There is no session yet: challenges and guesses are those of the door and the source, so that a thief of the passphrase who guesses
    // codes does not lock the person out.
    const door = `${name} from ${source}`
    const holder = { ...this.holderOf({ name, id: door }), id: door }
    try {
      this.factors.demand(holder, act)
    } catch (error) {
      if (!isRuntimeError(error, 'ERR_CODE_NEEDED')) throw error
      takeBack()
      const keys = this.factors.question(holder, act)
      throw new RuntimeError(error.message, { code: 'ERR_CODE_NEEDED', ...(keys === undefined ? {} : { keys }) })
    }
  }

  #begin({ name, role }: PortalAccount): OpenPortalSession {
    const now = this.#nowMs()
    for (const [id, session] of this.#sessions) {
      if (this.#isOver(session, now) || this.#sessions.size >= sessionsMax) this.close(id)
    }
    const ended = new AbortController()
    const session: LiveSession = {
      id: randomBytes(32).toString('hex'),
      name,
      role,
      expiresAtMs: now + portalSessionLimits.longestMs,
      lastUsedMs: now,
      ended,
      end: ended.signal,
    }
    this.#sessions.set(session.id, session)
    return session
  }

  #isOver(session: LiveSession, now: number): boolean {
    const { idleMs } = portalSessionLimits
    return now > session.expiresAtMs || Math.abs(now - session.lastUsedMs) > idleMs
  }

  /** The live session of an id; `isUse` tells whether a person acts, which keeps it from growing idle. */
  find(id: string, isUse: boolean): OpenPortalSession | undefined {
    const session = this.#sessions.get(id)
    const now = this.#nowMs()
    if (session === undefined) return undefined
    if (this.#isOver(session, now)) {
      this.close(id)
      return undefined
    }
    if (isUse) session.lastUsedMs = now
    return session
  }

  /** Ends a session: what streams to it stops. */
  close(id: string): void {
    this.#sessions.get(id)?.ended.abort()
    this.#sessions.delete(id)
  }

  #write(accounts: readonly PortalAccount[]): void {
    writeFileDurably(this.#path, `${JSON.stringify(accounts, undefined, 2)}\n`, { mode: 0o600 })
    this.#accounts = accounts
  }
}
