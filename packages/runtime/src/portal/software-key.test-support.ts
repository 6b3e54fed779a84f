/** An authenticator in software, for tests: it answers as a browser with a security key does, and can be told to answer wrongly. */
import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { toBase64Url } from '@healthblock/encoding/bytes'
import type { KeyAssertion, KeyPage, KeyRegistration } from './webauthn.ts'

/** The address of a portal on this machine. */
export const localPage: KeyPage = { origin: 'http://localhost:8080', rpId: 'localhost', place: 'http://localhost' }

/** What an answer says otherwise than it should. */
export interface Lie {
  readonly type?: string
  readonly challenge?: Uint8Array
  readonly origin?: string
  readonly more?: Record<string, unknown>
  readonly rpId?: string
  readonly flags?: number
  readonly counter?: number
}

function pairOf(algorithm: number): { publicKey: KeyObject; privateKey: KeyObject } {
  if (algorithm === -7) return generateKeyPairSync('ec', { namedCurve: 'prime256v1' })
  return algorithm === -8 ? generateKeyPairSync('ed25519') : generateKeyPairSync('rsa', { modulusLength: 2048 })
}

/** A security key. */
export class SoftwareKey {
  readonly id = new Uint8Array(randomBytes(20))
  readonly algorithm: number
  readonly publicKey: Uint8Array
  readonly #privateKey: KeyObject
  counter = 0

  constructor(algorithm = -7) {
    const { publicKey, privateKey } = pairOf(algorithm)
    this.algorithm = algorithm
    this.publicKey = new Uint8Array(publicKey.export({ format: 'der', type: 'spki' }))
    this.#privateKey = privateKey
  }

  /** Answers `navigator.credentials.create`. */
  register(challenge: Uint8Array, lie: Lie = {}): KeyRegistration {
    const head = this.#head({ flags: 0x45, ...lie })
    const size = Uint8Array.of(0, this.id.length)
    return {
      id: this.id,
      publicKey: this.publicKey,
      algorithm: this.algorithm,
      clientData: this.#clientData('webauthn.create', challenge, lie),
      authenticatorData: new Uint8Array(Buffer.concat([head, new Uint8Array(16), size, this.id])),
    }
  }

  /** Answers `navigator.credentials.get`, and counts. */
  answer(challenge: Uint8Array, lie: Lie = {}): KeyAssertion {
    this.counter++
    const authenticatorData = this.#head({ flags: 0x05, ...lie })
    const clientData = this.#clientData('webauthn.get', challenge, lie)
    const message = Buffer.concat([authenticatorData, createHash('sha256').update(clientData).digest()])
    const signature = new Uint8Array(sign(this.algorithm === -8 ? null : 'sha256', message, this.#privateKey))
    return { id: this.id, clientData, authenticatorData, signature }
  }

  #clientData(type: string, challenge: Uint8Array, lie: Lie): Uint8Array {
    const { type: said = type, challenge: other = challenge, origin = localPage.origin, more = {} } = lie
    const data = { type: said, challenge: toBase64Url(other), origin, crossOrigin: false, ...more }
    return new TextEncoder().encode(JSON.stringify(data))
  }

  #head({ rpId = localPage.rpId, flags = 0, counter = this.counter }: Lie): Uint8Array {
    const head = Buffer.alloc(37)
    createHash('sha256').update(rpId).digest().copy(head)
    head[32] = flags
    head.writeUInt32BE(counter, 33)
    return new Uint8Array(head)
  }
}

/** An answer with its bytes as they travel in JSON. */
export function inJson<T extends object>(answer: T): Record<string, unknown> {
  const entries = Object.entries(answer)
  return Object.fromEntries(
    entries.map(([name, value]) => [name, value instanceof Uint8Array ? toBase64Url(value) : value]),
  )
}
