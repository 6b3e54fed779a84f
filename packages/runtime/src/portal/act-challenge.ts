/**
 * What a security key signs: not a number alone, but the act that somebody is about to do. A signature for one grant is worth nothing for
 * another, on another page, or a second time.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto'
import { RuntimeError } from '../errors.ts'

/** A challenge is good for so long, once. */
const aliveMs = 5 * 60_000
/** Challenges that one holder has open at one time; the oldest goes first. */
const openMax = 8
const holdersMax = 1_000
/** Arrays and objects in one another. */
const depthMax = 16

/** What shows who acts; it is no part of the act. */
const evidenceFields = new Set(['code', 'key', 'phrase', 'passphrase'])

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** JSON in one form: keys in the order of their code units, no spaces, what is undefined left out. */
function canonicalJson(value: unknown, depth = 0): string {
  if (depth > depthMax) {
    const limit = { code: 'ERR_LIMIT_EXCEEDED', limit: 'depth', max: depthMax } as const
    throw new RuntimeError(`an act is nested at most ${depthMax} deep`, limit)
  }
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item, depth + 1)).join(',')}]`
  if (!isRecord(value)) return JSON.stringify(value) ?? 'null'
  const fields = Object.keys(value)
    .filter((name) => value[name] !== undefined)
    .sort()
  return `{${fields.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name], depth + 1)}`).join(',')}}`
}

/**
 * The digest of an act: SHA-256 of "healthblock/1 act", 0, its path, 0, and its body as JSON in one form, without what shows who acts
 * (`code`, `key`, `phrase`, `passphrase`).
 *
 * @throws {RuntimeError} `ERR_LIMIT_EXCEEDED` if it is nested deeper than 16.
 */
export function actDigest(path: string, body: unknown): Uint8Array {
  const fields = isRecord(body)
    ? Object.fromEntries(Object.entries(body).filter(([name]) => !evidenceFields.has(name)))
    : {}
  return createHash('sha256')
    .update(`healthblock/1 act\0${path}\0${canonicalJson(fields)}`)
    .digest()
}

interface Nonce {
  readonly bytes: Uint8Array
  readonly untilMs: number
}

function challengeFor(nonce: Uint8Array, digest: Uint8Array): Uint8Array {
  return createHash('sha256').update('healthblock/1 act challenge\0').update(nonce).update(digest).digest()
}

/** Challenges that wait for a key's answer, in memory: a restart ends them. */
export class ActChallenges {
  readonly #nowMs: () => number
  readonly #open = new Map<string, Nonce[]>()

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  /** A new challenge (32 bytes) for an act of a holder: a session, or a name at the door. */
  begin(holder: string, digest: Uint8Array): Uint8Array {
    const nonce = { bytes: new Uint8Array(randomBytes(32)), untilMs: this.#nowMs() + aliveMs }
    const open = [...this.#alive(holder), nonce].slice(-openMax)
    this.#open.delete(holder)
    if (this.#open.size >= holdersMax) this.#open.delete(this.#open.keys().next().value as string)
    this.#open.set(holder, open)
    return challengeFor(nonce.bytes, digest)
  }

  /** True if this is an open challenge of the holder for exactly this act; it is used up. */
  take(holder: string, digest: Uint8Array, challenge: Uint8Array): boolean {
    const open = this.#alive(holder)
    const at = open.findIndex(({ bytes }) => {
      const expected = challengeFor(bytes, digest)
      return expected.length === challenge.length && timingSafeEqual(expected, challenge)
    })
    if (at < 0) return false
    open.splice(at, 1)
    this.#open.set(holder, open)
    return true
  }

  #alive(holder: string): Nonce[] {
    return (this.#open.get(holder) ?? []).filter(({ untilMs }) => untilMs > this.#nowMs())
  }
}
