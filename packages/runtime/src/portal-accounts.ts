/** People who log in at a node whose secrets are not their own: doctors, auditors, administrators. A patient's passphrase opens a vault instead. */
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { join } from 'node:path'
import { RuntimeError } from './errors.ts'
import { readFileIfPresent, writeFileDurably } from './files.ts'
import { type OpenPortalSession, portalSessionLimits } from './portal-routes.ts'
import { checkTotp } from './totp.ts'
import { TryLimit } from './try-limit.ts'

/** Cost of one guess: 32 MiB, three passes (OWASP Password Storage, 2023, scrypt N = 2^15, r = 8, p = 3). */
const cost = { N: 2 ** 15, r: 8, p: 3, maxmem: 64 * 2 ** 20 }
const sessionsMax = 64

/** Someone who may log in. Salt, hash and second factor are base64. */
interface PortalAccount {
  readonly name: string
  readonly role: string
  readonly salt: string
  readonly hash: string
  readonly totp?: string
  readonly lastStep?: number
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

/** Accounts of a portal (`portal.json` in the node's folder) and the sessions that are open. */
export class PortalAccounts {
  readonly #path: string
  readonly #nowMs: () => number
  readonly #limit: TryLimit
  readonly #sessions = new Map<string, LiveSession>()
  #accounts: readonly PortalAccount[]
  #turn: Promise<unknown> = Promise.resolve()

  /** @param options - `dir`: the node's folder. */
  constructor(options: { dir: string; nowMs: () => number }) {
    this.#path = join(options.dir, 'portal.json')
    this.#nowMs = options.nowMs
    this.#limit = new TryLimit({ nowMs: options.nowMs })
    const file = readFileIfPresent(this.#path)
    this.#accounts = file === undefined ? [] : (JSON.parse(Buffer.from(file).toString('utf8')) as PortalAccount[])
  }

  /** Adds somebody, or gives a new passphrase or role; open sessions of that name end. */
  async set(person: { name: string; role: string; passphrase: string }): Promise<void> {
    const salt = randomBytes(16)
    const hash = await hashOf(person.passphrase, salt)
    const account = {
      name: person.name,
      role: person.role,
      salt: salt.toString('base64'),
      hash: hash.toString('base64'),
    }
    this.#write([...this.#accounts.filter(({ name }) => name !== person.name), account])
    for (const session of this.#sessions.values()) if (session.name === person.name) this.close(session.id)
  }

  /** Turns the second factor on (a secret of 20 bytes) or off. */
  setSecondFactor(name: string, secret: Uint8Array | undefined): void {
    this.#write(
      this.#accounts.map((account) => {
        if (account.name !== name) return account
        const { totp: _, lastStep: __, ...rest } = account
        return secret === undefined ? rest : { ...rest, totp: Buffer.from(secret).toString('base64') }
      }),
    )
  }

  /** True if the person logs in with a code as well. */
  hasSecondFactor(name: string): boolean {
    return this.#accounts.some((account) => account.name === name && account.totp !== undefined)
  }

  /**
   * Takes a code of the person's app, once, for what is not a login. `secret`: of an app that is not in use yet.
   *
   * @throws {RuntimeError} `ERR_CODE_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  takeCode(name: string, code: string, secret?: Uint8Array): void {
    const key = `code ${name}`
    this.#limit.begin(key)
    const account = this.#accounts.find((candidate) => candidate.name === name)
    const kept = account?.totp === undefined ? undefined : Buffer.from(account.totp, 'base64')
    const used = secret ?? kept
    const lastStep = secret === undefined ? account?.lastStep : undefined
    const step = used === undefined ? undefined : checkTotp({ secret: used, code, nowMs: this.#nowMs(), lastStep })
    if (step === undefined) throw new RuntimeError('the code is wrong, or was used', { code: 'ERR_CODE_WRONG' })
    this.#limit.succeed(key)
    if (secret !== undefined) return
    this.#write(this.#accounts.map((other) => (other.name === name ? { ...other, lastStep: step } : other)))
  }

  /** Names and roles, and whether a second factor is on. */
  list(): { name: string; role: string; secondFactor: boolean }[] {
    return this.#accounts.map(({ name, role, totp }) => ({ name, role, secondFactor: totp !== undefined }))
  }

  /**
   * Opens a session. A name that is not here costs the same time as one that is.
   *
   * @throws {RuntimeError} `ERR_PASSPHRASE_WRONG`, `ERR_TOO_MANY_TRIES`; `ERR_CODE_NEEDED`, `ERR_CODE_WRONG` with a second factor.
   */
  async open(options: {
    name: string
    passphrase: string
    code?: string | undefined
    source: string
  }): Promise<OpenPortalSession> {
    const { name, passphrase, code, source } = options
    const key = `${name} ${source}`
    const takeBack = this.#limit.begin(key)
    const account = this.#accounts.find((candidate) => candidate.name === name)
    // One at a time: each try takes memory while it lasts.
    const attempt = this.#turn.then(() =>
      hashOf(passphrase, Buffer.from(account?.salt ?? 'AAAAAAAAAAAAAAAAAAAAAA==', 'base64')),
    )
    this.#turn = attempt.catch(() => {})
    const hash = await attempt
    if (account === undefined || !timingSafeEqual(hash, Buffer.from(account.hash, 'base64'))) {
      throw new RuntimeError('the name or the passphrase is wrong', { code: 'ERR_PASSPHRASE_WRONG' })
    }
    this.#checkCode(account, code, takeBack)
    this.#limit.succeed(key)
    return this.#begin(account)
  }

  #checkCode(account: PortalAccount, code: string | undefined, takeBack: () => void): void {
    if (account.totp === undefined) return
    if (code === undefined || code === '') {
      takeBack()
      throw new RuntimeError('the code of the authenticator app is needed', { code: 'ERR_CODE_NEEDED' })
    }
    const step = checkTotp({
      ...{ secret: Buffer.from(account.totp, 'base64'), code, nowMs: this.#nowMs(), lastStep: account.lastStep },
    })
    if (step === undefined) throw new RuntimeError('the code is wrong, or was used', { code: 'ERR_CODE_WRONG' })
    this.#write(this.#accounts.map((other) => (other.name === account.name ? { ...other, lastStep: step } : other)))
  }

  #begin({ name, role }: PortalAccount): OpenPortalSession {
    const now = this.#nowMs()
    for (const [id, session] of this.#sessions) {
      if (this.#isOver(session, now) || this.#sessions.size >= sessionsMax) this.close(id)
    }
    const ended = new AbortController()
    const session: LiveSession = {
      ...{ id: randomBytes(32).toString('hex'), name, role, expiresAtMs: now + portalSessionLimits.longestMs },
      ...{ lastUsedMs: now, ended, end: ended.signal },
    }
    this.#sessions.set(session.id, session)
    return session
  }

  #isOver(session: LiveSession, now: number): boolean {
    return now > session.expiresAtMs || now > session.lastUsedMs + portalSessionLimits.idleMs
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
