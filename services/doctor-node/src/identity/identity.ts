/** The node's doctor: keys made once, the account, and what the verified ledger says of it. */
import { join } from 'node:path'
import type { Ledger } from '@healthblock/chain/block'
import { isLicenceActive, licenceAt } from '@healthblock/chain/live-at'
import { userTables } from '@healthblock/chain/tables'
import {
  encodeBody,
  encodeTransactionLeaf,
  signingMessage,
  type TransactionBody,
  transactionId,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair, type KemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { comparisonWords } from '@healthblock/crypto/recovery-phrase'
import { generateSigningKey, parseVerifyingKey, type SigningKey, verifySignature } from '@healthblock/crypto/signature'
import { toBase58, toHex } from '@healthblock/encoding/bytes'
import { DoctorNodeError } from '../errors.ts'
import { type DoctorKeys, readKeysFile, writeKeysFile } from './keys-file.ts'

const roleDoctor = 2

/** Where the doctor stands: without keys, not on record, on record, allowed to practise. */
export type IdentityState = 'none' | 'pending' | 'registered' | 'licensed'

/** The doctor of this node, once there are keys. */
export interface Doctor {
  /** 32 bytes. */
  readonly account: Uint8Array
  readonly name: string
  readonly op: SigningKey
  /** Newest last. */
  readonly kems: readonly KemKeyPair[]
}

/** What people see of the doctor. */
export interface IdentityView {
  readonly name: string
  readonly account: string
  readonly did: string
  /** Six words by which a patient compares the envelope key. */
  readonly words: readonly string[]
  readonly state: IdentityState
}

/** Makes and keeps the identity. */
export class Identity {
  readonly #path: string
  readonly #ledger: Ledger
  readonly #nowMs: () => number
  #keys: DoctorKeys | undefined
  #doctor: Doctor | undefined

  /**
   * Reads the keys, if there are some.
   *
   * @param options - `isUsed`: this node has taken grants or said something already, so that it must have a doctor.
   * @throws {DoctorNodeError} `ERR_KEYS_CORRUPT` if they are damaged, or missing although they must be there.
   */
  constructor(options: { dir: string; ledger: Ledger; isUsed: boolean; nowMs: () => number }) {
    this.#path = join(options.dir, 'keys')
    this.#ledger = options.ledger
    this.#nowMs = options.nowMs
    this.#keys = readKeysFile(this.#path)
    if (this.#keys === undefined && options.isUsed) {
      const message = `${this.#path} is missing: restore it from a backup of this folder`
      throw new DoctorNodeError(message, { code: 'ERR_KEYS_CORRUPT', path: this.#path })
    }
  }

  /** The doctor, if there are keys. */
  get doctor(): Doctor | undefined {
    if (this.#doctor === undefined && this.#keys !== undefined) {
      const { name, op, kems, register } = this.#keys
      this.#doctor = { account: this.#accountOf(register), name, op, kems }
    }
    return this.#doctor
  }

  /** @throws {DoctorNodeError} `ERR_IDENTITY_NONE`. */
  requireDoctor(): Doctor {
    const { doctor } = this
    if (doctor === undefined) throw new DoctorNodeError('this node has no doctor yet', { code: 'ERR_IDENTITY_NONE' })
    return doctor
  }

  /**
   * Makes the keys and the `register` body; for the same name again, the same body.
   *
   * @throws {DoctorNodeError} `ERR_IDENTITY_EXISTS` for another name.
   */
  create(options: { name: string; sponsor: Uint8Array }): { account: Uint8Array; body: Uint8Array; isNew: boolean } {
    const kept = this.#keys
    if (kept !== undefined) {
      const { account } = this.requireDoctor()
      if (kept.name !== options.name) {
        throw new DoctorNodeError('this node has another doctor already', {
          code: 'ERR_IDENTITY_EXISTS',
          account: toHex(account),
        })
      }
      return { account, body: kept.register, isNew: false }
    }
    const [root, op, kem] = [generateSigningKey(), generateSigningKey(), generateKemKeyPair()]
    const body: TransactionBody = {
      v: 1,
      t: 'register',
      role: roleDoctor,
      root: root.publicKey,
      op: op.publicKey,
      kem: kem.publicKey,
      suite: kemSuiteDefault,
      sponsor: options.sponsor,
      salt: randomBytes(16),
    }
    const keys = { name: options.name, root, op, kems: [kem], sponsor: options.sponsor, register: encodeBody(body) }
    // Durable before the account is shown: nobody sponsors an account whose keys could be lost.
    writeKeysFile(this.#path, keys)
    this.#keys = keys
    return { account: this.requireDoctor().account, body: keys.register, isNew: true }
  }

  /**
   * The signed `register`, with the sponsor's signature added: the same bytes for the same signature.
   *
   * @throws {DoctorNodeError} `ERR_IDENTITY_NONE`, `ERR_SPONSOR_UNKNOWN`, `ERR_SIGNATURE_WRONG`.
   */
  registration(signature: Uint8Array): Uint8Array {
    const { account } = this.requireDoctor()
    const { sponsor, register: bodyBytes, root, op } = this.#keys as DoctorKeys
    const sponsorKey = this.#ledger.accountKey(sponsor, 1)
    if (sponsorKey === undefined) {
      throw new DoctorNodeError('the sponsor is not known to this ledger', {
        code: 'ERR_SPONSOR_UNKNOWN',
        sponsor: toHex(sponsor),
      })
    }
    const message = signingMessage({ ledgerId: this.#ledger.ledgerId, chain: 'userchain', bodyBytes })
    try {
      verifySignature({ signature, message, key: parseVerifyingKey(sponsorKey) })
    } catch (cause) {
      const text = "this is not the sponsor's signature of this registration"
      throw new DoctorNodeError(text, { code: 'ERR_SIGNATURE_WRONG' }, { cause })
    }
    return encodeTransactionLeaf({
      bodyBytes,
      signatures: [
        { account, key: 0, signature: root.sign(message) },
        { account, key: 1, signature: op.sign(message) },
        { account: sponsor, key: 1, signature },
      ],
    })
  }

  /** Where the doctor stands on the verified ledger. */
  state(): IdentityState {
    const { doctor } = this
    if (doctor === undefined) return 'none'
    const state = this.#ledger.state('userchain')
    if (userTables.account.get(state, doctor.account) === undefined) return 'pending'
    const licence = licenceAt(state, doctor.account, this.#ledger.head('userchain').size)
    return licence !== undefined && isLicenceActive(licence, this.#nowMs()) ? 'licensed' : 'registered'
  }

  /** What people see. */
  view(): IdentityView {
    const { doctor } = this
    if (doctor === undefined) return { name: '', account: '', did: '', words: [], state: 'none' }
    const kem = doctor.kems.at(-1) as KemKeyPair
    return {
      name: doctor.name,
      account: toHex(doctor.account),
      // Multibase base58btc of multicodec 0xed01 and the key.
      did: `did:key:z${toBase58(Uint8Array.of(0xed, 0x01, ...doctor.op.publicKey))}`,
      words: comparisonWords(kem.publicKey),
      state: this.state(),
    }
  }

  #accountOf(bodyBytes: Uint8Array): Uint8Array {
    return transactionId({ ledgerId: this.#ledger.ledgerId, chain: 'userchain', bodyBytes })
  }
}
