/**
 * The second factor of a person: a time-based code that is asked for whenever somebody is to get keys, in every session, once it is on.
 * Its secret lies in her vault. The way back without the phone is her recovery phrase, which nobody can read here any more by then.
 */
import { timingSafeEqual } from 'node:crypto'
import { parseRecoveryPhrase } from '@healthblock/crypto/recovery-phrase'
import type { OpenVault } from '@healthblock/crypto/vault'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { Database } from '@healthblock/runtime/sqlite'
import { checkTotp, createTotpSecret, totpUri } from '@healthblock/runtime/totp'
import { TryLimit } from '@healthblock/runtime/try-limit'
import { UserNodeError } from '../errors.ts'
import type { Session, Sessions } from './sessions.ts'

interface Dependencies {
  readonly database: Database
  readonly sessions: Sessions
  readonly nowMs: () => number
}

/** What shows that it is the person herself: the phone's code, or the recovery phrase. */
export interface Evidence {
  readonly code?: string | undefined
  readonly phrase?: string | undefined
}

interface Extra {
  readonly totp?: Uint8Array
}

/** A secret that was shown and not confirmed is forgotten after so long. */
const offerMs = 10 * 60_000

function extraOf(vault: OpenVault): Extra {
  const { extra } = vault.contents
  return extra.length === 0 ? {} : (decodeCbor(extra) as unknown as Extra)
}

/** True once the vault holds a second factor. */
export function hasSecondFactor(vault: OpenVault): boolean {
  return extraOf(vault).totp !== undefined
}

function setTotp(vault: OpenVault, totp: Uint8Array | undefined): void {
  const { totp: _, ...others } = extraOf(vault)
  const extra = { ...others, ...(totp === undefined ? {} : { totp }) }
  vault.contents = {
    ...vault.contents,
    extra: Object.keys(extra).length === 0 ? new Uint8Array(0) : encodeCbor(extra),
  }
}

/** True if the phrase is the one that the vault was made from. */
function isPhraseOf(vault: OpenVault, phrase: string): boolean {
  try {
    return timingSafeEqual(parseRecoveryPhrase(phrase).exportEntropy(), vault.contents.phraseEntropy)
  } catch {
    // No phrase at all.
    return false
  }
}

/** Asks for, sets and removes second factors. */
export class SecondFactors {
  readonly #deps: Dependencies
  /** Guesses are counted for the person, wherever they come from: whoever guesses here knows her passphrase already. */
  readonly #limit: TryLimit
  /** By session: a secret that was shown and not confirmed yet. */
  readonly #offers = new Map<string, { secret: Uint8Array; untilMs: number }>()

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#limit = new TryLimit({ nowMs: deps.nowMs })
  }

  /** True once a code is asked for. */
  isOn({ vault }: Session): boolean {
    return hasSecondFactor(vault)
  }

  /**
   * Demands the code, if the factor is on. A code is good once.
   *
   * @throws {RuntimeError} `ERR_CODE_NEEDED`, `ERR_CODE_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  demand(session: Session, code: string | undefined): void {
    const { totp: secret } = extraOf(session.vault)
    if (secret === undefined) return
    if (code === undefined || code === '')
      throw new RuntimeError('the code of the authenticator app is needed', { code: 'ERR_CODE_NEEDED' })
    const { id } = session.person
    this.#limit.begin(id)
    this.#take(session, secret, code)
    this.#limit.succeed(id)
  }

  #take({ person }: Session, secret: Uint8Array, code: string): void {
    const { database, nowMs } = this.#deps
    const row = database.get('SELECT step FROM factor WHERE account = ?', person.account)
    const lastStep = row === undefined ? undefined : Number(row.step)
    const step = checkTotp({ secret, code, nowMs: nowMs(), lastStep })
    if (step === undefined) throw new RuntimeError('the code is wrong, or was used', { code: 'ERR_CODE_WRONG' })
    database.run('INSERT OR REPLACE INTO factor (account, step) VALUES (?, ?)', person.account, step)
  }

  /**
   * Offers a new secret; nothing is asked for before `confirm`.
   *
   * @throws {UserNodeError} `ERR_FACTOR_ON`; `ERR_REHEARSAL_MISSING` before the recovery phrase was rehearsed: it is the way back.
   */
  offer(session: Session): { uri: string } {
    if (this.isOn(session))
      throw new UserNodeError('a second factor is on already: end it first', { code: 'ERR_FACTOR_ON' })
    const isRehearsed = this.#deps.database.get('SELECT 1 FROM rehearsal WHERE account = ?', session.person.account)
    if (isRehearsed === undefined)
      throw new UserNodeError(
        'write down and rehearse your recovery phrase first: without it a lost phone locks you out',
        {
          code: 'ERR_REHEARSAL_MISSING',
        },
      )
    const secret = createTotpSecret()
    this.#offers.set(session.id, { secret, untilMs: this.#deps.nowMs() + offerMs })
    session.end.addEventListener('abort', () => this.#offers.delete(session.id), { once: true })
    return { uri: totpUri({ secret, account: session.person.name, issuer: 'HealthBlock' }) }
  }

  /**
   * Turns the offered factor on, with a code that shows that the phone has it.
   *
   * @throws {UserNodeError} `ERR_FACTOR_ON`, `ERR_FACTOR_NOT_OFFERED`; {RuntimeError} `ERR_CODE_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  confirm(session: Session, code: string): void {
    if (this.isOn(session)) throw new UserNodeError('a second factor is on already', { code: 'ERR_FACTOR_ON' })
    const offer = this.#offers.get(session.id)
    if (offer === undefined || offer.untilMs < this.#deps.nowMs())
      throw new UserNodeError('no second factor is being set up: begin again', { code: 'ERR_FACTOR_NOT_OFFERED' })
    this.#limit.begin(session.person.id)
    this.#deps.database.run('DELETE FROM factor WHERE account = ?', session.person.account)
    this.#take(session, offer.secret, code)
    setTotp(session.vault, offer.secret)
    this.#deps.sessions.saveVault(session)
    this.#offers.delete(session.id)
    this.#limit.succeed(session.person.id)
  }

  /**
   * Turns the factor off, with its code or the recovery phrase.
   *
   * @throws {RuntimeError} `ERR_CODE_NEEDED`, `ERR_CODE_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  remove(session: Session, { code, phrase }: Evidence): void {
    if (!this.isOn(session)) return
    if (phrase === undefined) this.demand(session, code)
    else {
      this.#limit.begin(session.person.id)
      if (!isPhraseOf(session.vault, phrase))
        throw new RuntimeError('this is not your recovery phrase', { code: 'ERR_CODE_WRONG' })
      this.#limit.succeed(session.person.id)
    }
    setTotp(session.vault, undefined)
    this.#deps.sessions.saveVault(session)
  }
}
