/**
 * The second factor of a person: the code of an authenticator app, or a security key that signs the very act. Where secrets lie is the
 * holder's business (a vault, a file of accounts); what is asked for, and when, is decided here, once.
 */
import { createHash } from 'node:crypto'
import { equalBytes, toBase64Url } from '@healthblock/encoding/bytes'
import { RuntimeError } from '../errors.ts'
import type { KeyQuestion } from '../key-question.ts'
import { ActChallenges, actDigest } from './act-challenge.ts'
import { checkTotp, createTotpSecret, totpUri } from './totp.ts'
import { TryLimit } from './try-limit.ts'
import {
  challengeOf,
  type KeyAssertion,
  type KeyPage,
  type KeyRegistration,
  type SecurityKey,
  verifyAssertion,
  verifyRegistration,
} from './webauthn.ts'

/** What somebody has set up. */
export interface Factors {
  /** Secret of the authenticator app, 20 bytes. */
  readonly totp?: Uint8Array | undefined
  /** Step of the last code that was taken. */
  readonly lastStep?: number | undefined
  readonly keys: readonly SecurityKey[]
}

/** Whose factor it is, and in which session. */
export interface FactorHolder {
  /** Guesses are counted for this, whatever the session: whoever guesses here knows the passphrase already. */
  readonly id: string
  /** Offers and challenges are good in this session only. */
  readonly session: string
  /** The name that app and key show. */
  readonly label: string
  read(): Factors
  /** Durable when it returns. */
  write(factors: Factors): void
}

/** What shows that it is the person herself. */
export interface Evidence {
  readonly code?: string | undefined
  readonly key?: KeyAssertion | undefined
}

/** What is about to be done, where, and what shows who does it. */
export interface Act {
  /** Path of the request. */
  readonly path: string
  readonly body: unknown
  readonly page: KeyPage | undefined
  readonly evidence: Evidence
}

/** What a page needs to register a key. */
export interface KeyOffer extends KeyQuestion {
  readonly user: { readonly id: string; readonly name: string }
}

/** How somebody's factor is shown. `isHere`: the key can be used at the address of the page that asks. */
export interface FactorView {
  readonly on: boolean
  readonly code: boolean
  readonly keys: readonly { id: string; name: string; addedAt: string; isHere: boolean }[]
  /** False where browsers use no keys. */
  readonly isKeyPossible: boolean
}

/** Keys of one person at most. */
export const securityKeysMax = 8
/** A secret that was shown and not confirmed is forgotten after so long. */
const offerMs = 10 * 60_000
const offersMax = 1_000
const issuer = 'HealthBlock'
/**
 * What an offer is bound to: what is set up while it is made. Whoever began before another factor was on has not shown that one. It is no
 * digest of an act, so that no question about an act registers anything.
 */
function offerDigest({ totp, keys }: Factors): Uint8Array {
  const hash = createHash('sha256').update(`healthblock/1 factor offer\0${totp === undefined ? 0 : 1}`)
  for (const { id } of keys) hash.update(`\0${toBase64Url(id)}`)
  return hash.digest()
}

/** True once something is asked for. */
export function isFactorOn({ totp, keys }: Factors): boolean {
  return totp !== undefined || keys.length > 0
}

/** Asks for, sets and removes second factors. */
export class SecondFactors {
  readonly #nowMs: () => number
  readonly #limit: TryLimit
  readonly #challenges: ActChallenges
  /** By session: a secret that was shown and not confirmed yet. */
  readonly #offers = new Map<string, { secret: Uint8Array; untilMs: number; offered: Uint8Array }>()

  constructor(options: { nowMs: () => number }) {
    this.#nowMs = options.nowMs
    this.#limit = new TryLimit({ nowMs: options.nowMs })
    this.#challenges = new ActChallenges(options.nowMs)
  }

  /** What is set up, for the screen of a page. */
  view(holder: FactorHolder, page: KeyPage | undefined): FactorView {
    const factors = holder.read()
    return {
      on: isFactorOn(factors),
      code: factors.totp !== undefined,
      keys: factors.keys.map(({ id, name, place, addedMs }) => ({
        id: toBase64Url(id),
        name,
        addedAt: new Date(addedMs).toISOString(),
        isHere: place === page?.place,
      })),
      isKeyPossible: page !== undefined,
    }
  }

  /** Counts a guess; forget it with what is returned. @throws {RuntimeError} `ERR_TOO_MANY_TRIES`. */
  count(holder: FactorHolder): () => void {
    this.#limit.begin(holder.id)
    return () => this.#limit.succeed(holder.id)
  }

  /** What a page asks a key for one act, or undefined if no key is good there. */
  question(holder: FactorHolder, act: Omit<Act, 'evidence'>): KeyQuestion | undefined {
    const { page } = act
    const keys = holder.read().keys.filter(({ place }) => place === page?.place)
    if (page === undefined || keys.length === 0) return undefined
    const challenge = this.#challenges.begin(holder.session, actDigest(act.path, act.body))
    return { challenge: toBase64Url(challenge), rpId: page.rpId, keys: keys.map(({ id }) => toBase64Url(id)) }
  }

  /**
   * Demands the factor, if one is on. A code is good once, a key's answer for this act alone.
   *
   * @throws {RuntimeError} `ERR_CODE_NEEDED`, `ERR_CODE_WRONG`, `ERR_KEY_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  demand(holder: FactorHolder, act: Act): void {
    const factors = holder.read()
    if (!isFactorOn(factors)) return
    const { code, key } = act.evidence
    const isCode = code !== undefined && code !== ''
    if (!isCode && key === undefined) throw new RuntimeError('the second factor is needed', { code: 'ERR_CODE_NEEDED' })
    const forget = this.count(holder)
    if (key !== undefined) this.#takeKey(holder, factors, act, key)
    else this.#takeCode(holder, factors, code as string)
    forget()
  }

  #takeKey(holder: FactorHolder, factors: Factors, { path, body, page }: Act, answer: KeyAssertion): void {
    const challenge = challengeOf(answer.clientData)
    const isOurs = this.#challenges.take(holder.session, actDigest(path, body), challenge)
    const key = factors.keys.find(({ id }) => equalBytes(id, answer.id))
    const reason = !isOurs ? 'challenge' : key === undefined ? 'unknown' : page === undefined ? 'place' : undefined
    if (reason !== undefined || key === undefined || page === undefined) {
      const message = 'the security key signed something else, or is not known here'
      throw new RuntimeError(message, { code: 'ERR_KEY_WRONG', reason: reason ?? 'unknown' })
    }
    const counter = verifyAssertion(answer, { challenge, page, key })
    holder.write({ ...factors, keys: factors.keys.map((other) => (other === key ? { ...key, counter } : other)) })
  }

  #takeCode(holder: FactorHolder, factors: Factors, code: string): void {
    const { totp: secret, lastStep } = factors
    const step = secret === undefined ? undefined : checkTotp({ secret, code, nowMs: this.#nowMs(), lastStep })
    if (step === undefined) throw new RuntimeError('the code is wrong, or was used', { code: 'ERR_CODE_WRONG' })
    holder.write({ ...factors, lastStep: step })
  }

  /** Offers a new secret; nothing is asked for before `confirmCode`. @throws {RuntimeError} `ERR_FACTOR_ON`. */
  offerCode(holder: FactorHolder): { uri: string } {
    const factors = holder.read()
    if (factors.totp !== undefined)
      throw new RuntimeError('an authenticator app is set up already: end it first', { code: 'ERR_FACTOR_ON' })
    const now = this.#nowMs()
    for (const [session, { untilMs }] of this.#offers) if (untilMs < now) this.#offers.delete(session)
    if (this.#offers.size >= offersMax) this.#offers.delete(this.#offers.keys().next().value as string)
    const secret = createTotpSecret()
    this.#offers.set(holder.session, { secret, untilMs: now + offerMs, offered: offerDigest(factors) })
    return { uri: totpUri({ secret, account: holder.label, issuer }) }
  }

  /**
   * Turns the offered app on, with a code that shows that the phone has it.
   *
   * @throws {RuntimeError} `ERR_FACTOR_ON`, `ERR_FACTOR_NOT_OFFERED`, `ERR_CODE_WRONG`, `ERR_TOO_MANY_TRIES`.
   */
  confirmCode(holder: FactorHolder, code: string): void {
    const factors = holder.read()
    const { keys, totp } = factors
    if (totp !== undefined) throw new RuntimeError('an authenticator app is set up already', { code: 'ERR_FACTOR_ON' })
    const offer = this.#offers.get(holder.session)
    if (offer === undefined || offer.untilMs < this.#nowMs() || !equalBytes(offer.offered, offerDigest(factors)))
      throw new RuntimeError('no app is being set up: begin again', { code: 'ERR_FACTOR_NOT_OFFERED' })
    const forget = this.count(holder)
    this.#takeCode(holder, { keys, totp: offer.secret }, code)
    this.#offers.delete(holder.session)
    forget()
  }

  /** Forgets the app. */
  removeCode(holder: FactorHolder): void {
    holder.write({ keys: holder.read().keys })
  }

  /** Begins to register a key. @throws {RuntimeError} `ERR_KEY_PLACE` where browsers use none, `ERR_LIMIT_EXCEEDED`. */
  offerKey(holder: FactorHolder, page: KeyPage | undefined): KeyOffer {
    const factors = holder.read()
    const { keys } = factors
    if (page === undefined)
      throw new RuntimeError('browsers use no security keys at this address', { code: 'ERR_KEY_PLACE' })
    if (keys.length >= securityKeysMax) {
      const limit = { limit: 'security keys', max: securityKeysMax }
      throw new RuntimeError(`at most ${securityKeysMax} keys`, { code: 'ERR_LIMIT_EXCEEDED', ...limit })
    }
    const challenge = this.#challenges.begin(holder.session, offerDigest(factors))
    const here = keys.filter(({ place }) => place === page.place)
    return {
      challenge: toBase64Url(challenge),
      rpId: page.rpId,
      keys: here.map(({ id }) => toBase64Url(id)),
      user: { id: toBase64Url(actDigest('user', { id: holder.id })), name: holder.label },
    }
  }

  /** Takes the new key. @throws {RuntimeError} `ERR_KEY_WRONG`, `ERR_KEY_PLACE`. */
  addKey(holder: FactorHolder, page: KeyPage | undefined, added: { name: string; answer: KeyRegistration }): void {
    const factors = holder.read()
    if (page === undefined)
      throw new RuntimeError('browsers use no security keys at this address', { code: 'ERR_KEY_PLACE' })
    const challenge = challengeOf(added.answer.clientData)
    const isKnown = factors.keys.some(({ id }) => equalBytes(id, added.answer.id))
    if (!this.#challenges.take(holder.session, offerDigest(factors), challenge) || isKnown) {
      const message = 'no key is being set up: begin again'
      throw new RuntimeError(message, { code: 'ERR_KEY_WRONG', reason: isKnown ? 'form' : 'challenge' })
    }
    const key = verifyRegistration(added.answer, { challenge, page })
    holder.write({ ...factors, keys: [...factors.keys, { ...key, name: added.name, addedMs: this.#nowMs() }] })
  }

  /** Gives a key another name. @throws {RuntimeError} `ERR_NOT_FOUND`. */
  renameKey(holder: FactorHolder, id: string, name: string): void {
    this.#withKey(holder, id, (key) => [{ ...key, name }])
  }

  /** Forgets a key. @throws {RuntimeError} `ERR_NOT_FOUND`. */
  removeKey(holder: FactorHolder, id: string): void {
    this.#withKey(holder, id, () => [])
  }

  #withKey(holder: FactorHolder, id: string, change: (key: SecurityKey) => SecurityKey[]): void {
    const factors = holder.read()
    if (!factors.keys.some((key) => toBase64Url(key.id) === id))
      throw new RuntimeError('there is no such key', { code: 'ERR_NOT_FOUND', what: 'key' })
    holder.write({
      ...factors,
      keys: factors.keys.flatMap((key) => (toBase64Url(key.id) === id ? change(key) : [key])),
    })
  }
}
