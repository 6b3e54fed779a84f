/**
 * Security keys and passkeys (W3C Web Authentication Level 3, §7.1 and §7.2), as a second factor: what a browser answers is checked here
 * with the platform's own cryptography. Attestation is not asked for, so nothing in the answer to a registration is signed; the key is
 * taken in the form that the browser gives it (SubjectPublicKeyInfo), and no CBOR is read.
 */
import { createHash, createPublicKey, type KeyObject, timingSafeEqual, verify } from 'node:crypto'
import { equalBytes, fromBase64Url, toBase64Url } from '@healthblock/encoding/bytes'
import { type KeyFault, RuntimeError } from '../errors.ts'
import type { FastifyRequest } from '../http/http-app.ts'

/** COSE numbers of the algorithms that are taken, as they are offered to browsers: ES256, EdDSA, RS256. */
export const keyAlgorithms = [-7, -8, -257] as const

/** A key that somebody registered. */
export interface SecurityKey {
  /** The credential id that the key chose: 1 to 1,023 bytes. */
  readonly id: Uint8Array
  /** SubjectPublicKeyInfo, DER. */
  readonly publicKey: Uint8Array
  /** COSE number, one of {@link keyAlgorithms}. */
  readonly algorithm: number
  /** The owner's own name for it. */
  readonly name: string
  /** Where it is good: {@link KeyPage.place} of the page that registered it. */
  readonly place: string
  /** Unix ms. */
  readonly addedMs: number
  /** The last count that it gave; keys that do not count stay at 0. */
  readonly counter: number
}

/** The address of the page that asks, as keys see it. */
export interface KeyPage {
  /** Scheme, host and port. */
  readonly origin: string
  /** The name that keys are bound to: the host without its port. */
  readonly rpId: string
  /** What must be the same when a key is used: the origin, without its port on `localhost`, where ports come and go. */
  readonly place: string
}

/** A browser's answer to `navigator.credentials.create`. */
export interface KeyRegistration {
  readonly id: Uint8Array
  readonly clientData: Uint8Array
  readonly authenticatorData: Uint8Array
  readonly publicKey: Uint8Array
  readonly algorithm: number
}

/** A browser's answer to `navigator.credentials.get`. */
export interface KeyAssertion {
  readonly id: Uint8Array
  readonly clientData: Uint8Array
  readonly authenticatorData: Uint8Array
  readonly signature: Uint8Array
}

const flags = { present: 0x01, verified: 0x04, attested: 0x40 } as const
/** rpIdHash, flags, counter. */
const headSize = 37
const idSizeMax = 1023
const rsaBitsMin = 2048

function wrong(reason: KeyFault): RuntimeError {
  return new RuntimeError(`the answer of the security key does not hold (${reason})`, { code: 'ERR_KEY_WRONG', reason })
}

function sha256(bytes: Uint8Array | string): Buffer {
  return createHash('sha256').update(bytes).digest()
}

/**
 * Where the page of a request stands, or undefined if browsers use no keys there: at a numeric address, and at one without TLS that is not
 * `localhost`. On `localhost` the port must be the one that is listened on: pages of other programs share that name.
 */
export function keyPageOf(request: FastifyRequest): KeyPage | undefined {
  const isSecure = request.protocol === 'https'
  let url: URL
  try {
    url = new URL(`${isSecure ? 'https' : 'http'}://${request.host ?? ''}`)
  } catch {
    return undefined
  }
  const { origin, hostname } = url
  if (hostname === 'localhost') {
    const port = Number(url.port === '' ? (isSecure ? 443 : 80) : url.port)
    if (!isSecure && port !== request.socket.localPort) return undefined
    return { origin, rpId: hostname, place: `${url.protocol}//${hostname}` }
  }
  const isNumber = /^[\d.]+$/.test(hostname) || hostname.startsWith('[')
  return isSecure && !isNumber ? { origin, rpId: hostname, place: origin } : undefined
}

/** The challenge that an answer says it is for; nothing is believed yet. @throws {RuntimeError} `ERR_KEY_WRONG`. */
export function challengeOf(clientData: Uint8Array): Uint8Array {
  const { challenge } = parseClientData(clientData)
  try {
    return fromBase64Url(String(challenge))
  } catch {
    throw wrong('challenge')
  }
}

function parseClientData(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (typeof value === 'object' && value !== null) return value as Record<string, unknown>
  } catch {
    // Told below: whatever the cause, it is not what a browser writes.
  }
  throw wrong('form')
}

interface Expected {
  readonly challenge: Uint8Array
  readonly page: KeyPage
}

function checkClientData(bytes: Uint8Array, type: string, { challenge, page }: Expected): void {
  const data = parseClientData(bytes)
  if (data.type !== type) throw wrong('type')
  if (data.challenge !== toBase64Url(challenge)) throw wrong('challenge')
  // A page in another site's frame asks in that site's name.
  if (data.origin !== page.origin || data.crossOrigin === true || data.topOrigin !== undefined) throw wrong('origin')
}

/** @returns The counter. */
function checkHead(bytes: Uint8Array, { page }: Expected): number {
  if (bytes.length < headSize) throw wrong('form')
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  if (!timingSafeEqual(view.subarray(0, 32), sha256(page.rpId))) throw wrong('place')
  const set = view[32] as number
  if ((set & flags.present) === 0) throw wrong('presence')
  if ((set & flags.verified) === 0) throw wrong('verification')
  return view.readUInt32BE(33)
}

/** The key object of an SPKI whose kind is that of the algorithm. @throws {RuntimeError} `ERR_KEY_WRONG`. */
function keyOf(spki: Uint8Array, algorithm: number): KeyObject {
  let key: KeyObject
  try {
    key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
  } catch {
    throw wrong('form')
  }
  const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = key
  const isRight =
    (algorithm === -7 && kind === 'ec' && details?.namedCurve === 'prime256v1') ||
    (algorithm === -8 && kind === 'ed25519') ||
    (algorithm === -257 && kind === 'rsa' && (details?.modulusLength ?? 0) >= rsaBitsMin)
  if (!isRight) throw wrong('algorithm')
  return key
}

/**
 * Checks a registration.
 *
 * @throws {RuntimeError} `ERR_KEY_WRONG` with what does not hold.
 */
export function verifyRegistration(
  answer: KeyRegistration,
  expected: Expected,
): Pick<SecurityKey, 'id' | 'publicKey' | 'algorithm' | 'counter' | 'place'> {
  const { id, clientData, authenticatorData, publicKey, algorithm } = answer
  checkClientData(clientData, 'webauthn.create', expected)
  const counter = checkHead(authenticatorData, expected)
  // Behind the head: 16 bytes of the maker's number, the length of the id, the id.
  const at = headSize + 18
  const isAttested = ((authenticatorData[32] as number) & flags.attested) !== 0
  if (!isAttested || authenticatorData.length < at || id.length === 0 || id.length > idSizeMax) throw wrong('form')
  const size = ((authenticatorData[at - 2] as number) << 8) | (authenticatorData[at - 1] as number)
  if (size !== id.length || !equalBytes(authenticatorData.subarray(at, at + size), id)) throw wrong('form')
  keyOf(publicKey, algorithm)
  return { id, publicKey, algorithm, counter, place: expected.page.place }
}

/**
 * Checks that a registered key signed this challenge on this page, with its owner recognised.
 *
 * @returns The count to keep with the key.
 * @throws {RuntimeError} `ERR_KEY_WRONG` with what does not hold.
 */
export function verifyAssertion(answer: KeyAssertion, expected: Expected & { readonly key: SecurityKey }): number {
  const { clientData, authenticatorData, signature } = answer
  const { key, page } = expected
  if (key.place !== page.place) throw wrong('place')
  checkClientData(clientData, 'webauthn.get', expected)
  const counter = checkHead(authenticatorData, expected)
  const message = Buffer.concat([authenticatorData, sha256(clientData)])
  const digest = key.algorithm === -8 ? null : 'sha256'
  if (!verify(digest, message, keyOf(key.publicKey, key.algorithm), signature)) throw wrong('signature')
  // A count that does not grow is that of a copy (§6.1.1). Keys that never count give 0 for ever.
  if ((counter !== 0 || key.counter !== 0) && counter <= key.counter) throw wrong('counter')
  return counter
}
