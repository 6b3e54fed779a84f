/**
 * Where a person's second factor lies: the app's secret and her security keys in her vault, so that a thief of the disk adds none; how far
 * codes and keys have counted in `node.db`. The way back without phone and key is her recovery phrase, which nobody can read here any more
 * by then.
 */
import { timingSafeEqual } from 'node:crypto'
import { parseRecoveryPhrase } from '@healthblock/crypto/recovery-phrase'
import type { OpenVault } from '@healthblock/crypto/vault'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { RuntimeError } from '@healthblock/runtime/errors'
import { type FactorHolder, type Factors, isFactorOn } from '@healthblock/runtime/second-factor'
import type { Database } from '@healthblock/runtime/sqlite'
import type { SecurityKey } from '@healthblock/runtime/webauthn'
import { UserNodeError } from '../errors.ts'
import type { Session, Sessions } from './sessions.ts'

interface Dependencies {
  readonly database: Database
  readonly sessions: Sessions
}

/** A key as the vault has it (SPEC.md section 5): texts as UTF-8 bytes, the algorithm without its sign. */
interface VaultKey {
  readonly id: Uint8Array
  readonly key: Uint8Array
  readonly alg: number
  readonly name: Uint8Array
  readonly place: Uint8Array
  readonly ms: number
}

interface Extra {
  readonly totp?: Uint8Array
  readonly keys?: readonly VaultKey[]
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes)

function extraOf(vault: OpenVault): Extra {
  const { extra } = vault.contents
  return extra.length === 0 ? {} : (decodeCbor(extra) as unknown as Extra)
}

function keysOf(vault: OpenVault, counterOf: (id: Uint8Array) => number): SecurityKey[] {
  return (extraOf(vault).keys ?? []).map(({ id, key, alg, name, place, ms }) => ({
    ...{ id, publicKey: key, algorithm: -alg, name: text(name), place: text(place), addedMs: ms },
    counter: counterOf(id),
  }))
}

/** True once the vault holds a second factor. */
export function hasSecondFactor(vault: OpenVault): boolean {
  return isFactorOn({ ...extraOf(vault), keys: keysOf(vault, () => 0) })
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

/** Second factors of the people of the house. */
export class VaultFactors {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** The factor of a session's person. */
  holderOf(session: Session): FactorHolder {
    const { person } = session
    return {
      ...{ id: person.id, session: session.id, label: person.name },
      read: () => this.#read(session),
      write: (factors) => this.#write(session, factors),
    }
  }

  #read({ person, vault }: Session): Factors {
    const { database } = this.#deps
    const step = database.get('SELECT step FROM factor WHERE account = ?', person.account)?.step
    return {
      totp: extraOf(vault).totp,
      lastStep: step === undefined ? undefined : Number(step),
      keys: keysOf(vault, (id) => {
        const row = database.get('SELECT counter FROM securitykey WHERE account = ? AND id = ?', person.account, id)
        return Number(row?.counter ?? 0)
      }),
    }
  }

  #write(session: Session, { totp, lastStep, keys }: Factors): void {
    const { database, sessions } = this.#deps
    const { person, vault } = session
    // Counts first: after a crash in between a code or an answer is spent, never good twice.
    database.transaction(() => {
      database.run('DELETE FROM factor WHERE account = ?', person.account)
      database.run('DELETE FROM securitykey WHERE account = ?', person.account)
      if (lastStep !== undefined) database.run('INSERT INTO factor VALUES (?, ?)', person.account, lastStep)
      for (const { id, counter } of keys)
        database.run('INSERT INTO securitykey VALUES (?, ?, ?)', person.account, id, counter)
    })
    const extra = encodeExtra({
      ...(totp === undefined ? {} : { totp }),
      ...(keys.length === 0
        ? {}
        : {
            keys: keys.map(({ id, publicKey, algorithm, name, place, addedMs }) => ({
              ...{ id, key: publicKey, alg: -algorithm, name: encodeUtf8(name), place: encodeUtf8(place), ms: addedMs },
            })),
          }),
    })
    if (equalBytes(extra, vault.contents.extra)) return
    const before = vault.contents
    vault.contents = { ...before, extra }
    try {
      sessions.saveVault(session)
    } catch (error) {
      // What is not durable is not in force, and what is saved next must not make it so.
      vault.contents = before
      throw error
    }
  }

  /** @throws {UserNodeError} `ERR_REHEARSAL_MISSING` before the recovery phrase was rehearsed: it is the way back. */
  demandRehearsal({ person }: Session): void {
    const isRehearsed = this.#deps.database.get('SELECT 1 FROM rehearsal WHERE account = ?', person.account)
    if (isRehearsed !== undefined) return
    const message = 'write down and rehearse your recovery phrase first: without it a lost phone locks you out'
    throw new UserNodeError(message, { code: 'ERR_REHEARSAL_MISSING' })
  }

  /** @throws {RuntimeError} `ERR_CODE_WRONG` unless this is the person's recovery phrase. */
  checkPhrase({ vault }: Session, phrase: string): void {
    if (!isPhraseOf(vault, phrase))
      throw new RuntimeError('this is not your recovery phrase', { code: 'ERR_CODE_WRONG' })
  }
}

function encodeExtra(extra: Extra): Uint8Array {
  return Object.keys(extra).length === 0 ? new Uint8Array(0) : encodeCbor(extra as never)
}
