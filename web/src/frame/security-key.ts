/** Asks the browser for a security key or a passkey (W3C Web Authentication). Bytes travel as base64url. */
import { fromBase64Url, toBase64Url } from '@healthblock/encoding/bytes'
import { ApiError } from './api.ts'

/** What a key is asked. */
export interface KeyQuestion {
  readonly challenge: string
  readonly rpId: string
  readonly keys: readonly string[]
}

/** What a new key is made for. */
export interface KeyOffer extends KeyQuestion {
  readonly user: { readonly id: string; readonly name: string }
}

/** A key's answer, as the node takes it. */
export type KeyAnswer = Readonly<Record<'id' | 'clientData' | 'authenticatorData' | 'signature', string>>

/** ES256, EdDSA, RS256. */
const algorithms = [-7, -8, -257] as const
const timeoutMs = 120_000

/** True where the browser has keys. It has none at an address that is a number. */
export function hasSecurityKeys(): boolean {
  return window.isSecureContext && typeof PublicKeyCredential === 'function'
}

/** The same portal at an address where browsers use keys, if this one is that of this machine in numbers. */
export function namedAddress(): string | undefined {
  const { hostname, port, protocol } = location
  return hostname === '127.0.0.1' || hostname === '[::1]' ? `${protocol}//localhost:${port}/` : undefined
}

const toBytes = (buffer: ArrayBuffer): string => toBase64Url(new Uint8Array(buffer))

function failed(code: string): ApiError {
  return new ApiError('the security key was not used', 0, { code })
}

/** The browser tells no more than that nothing came of it: no key at hand, or the reader turned away. */
async function asked<T>(work: Promise<Credential | null>): Promise<T> {
  try {
    const credential = await work
    if (credential !== null) return credential as unknown as T
  } catch (error) {
    if (error instanceof DOMException && error.name === 'InvalidStateError') throw failed('ERR_KEY_KNOWN')
  }
  throw failed('ERR_KEY_CANCELLED')
}

const descriptor = (id: string): PublicKeyCredentialDescriptor => ({ type: 'public-key', id: fromBase64Url(id) })

/** Has a key sign what it is asked. @throws {ApiError} `ERR_KEY_CANCELLED`. */
export async function askKey({ challenge, rpId, keys }: KeyQuestion): Promise<KeyAnswer> {
  const publicKey: PublicKeyCredentialRequestOptions = {
    ...{ challenge: fromBase64Url(challenge), rpId, allowCredentials: keys.map(descriptor) },
    ...{ userVerification: 'required', timeout: timeoutMs },
  }
  const credential = await asked<PublicKeyCredential>(navigator.credentials.get({ publicKey }))
  const response = credential.response as AuthenticatorAssertionResponse
  return {
    id: toBytes(credential.rawId),
    clientData: toBytes(response.clientDataJSON),
    authenticatorData: toBytes(response.authenticatorData),
    signature: toBytes(response.signature),
  }
}

/** Has a key make a new pair. @throws {ApiError} `ERR_KEY_CANCELLED`, `ERR_KEY_KNOWN`, `ERR_KEY_KIND`. */
export async function makeKey({ challenge, rpId, keys, user }: KeyOffer): Promise<Record<string, string | number>> {
  const publicKey: PublicKeyCredentialCreationOptions = {
    rp: { id: rpId, name: 'HealthBlock' },
    user: { id: fromBase64Url(user.id), name: user.name, displayName: user.name },
    challenge: fromBase64Url(challenge),
    pubKeyCredParams: algorithms.map((alg) => ({ type: 'public-key', alg })),
    excludeCredentials: keys.map(descriptor),
    authenticatorSelection: { userVerification: 'required', residentKey: 'discouraged' },
    attestation: 'none',
    timeout: timeoutMs,
  }
  const credential = await asked<PublicKeyCredential>(navigator.credentials.create({ publicKey }))
  const response = credential.response as AuthenticatorAttestationResponse
  const spki = response.getPublicKey()
  if (spki === null) throw failed('ERR_KEY_KIND')
  return {
    id: toBytes(credential.rawId),
    clientData: toBytes(response.clientDataJSON),
    authenticatorData: toBytes(response.getAuthenticatorData()),
    publicKey: toBytes(spki),
    algorithm: response.getPublicKeyAlgorithm(),
  }
}
