/** Makes people and brings their accounts to life: keys, `register`, then `device` and the first `key`. */

import { join } from 'node:path'
import {
  encodeBody,
  encodeTransactionLeaf,
  signingMessage,
  signTransaction,
  type TransactionBody,
  transactionId,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { sha256 } from '@healthblock/crypto/hash'
import type { HotStoreContents } from '@healthblock/crypto/hot-store'
import { randomBytes } from '@healthblock/crypto/random'
import { generateRecoveryPhrase } from '@healthblock/crypto/recovery-phrase'
import { generateSigningKey, parseVerifyingKey, type SigningKey, verifySignature } from '@healthblock/crypto/signature'
import { createVault, passphraseLengthMin } from '@healthblock/crypto/vault'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { ensureFolder, writeFileDurably } from '@healthblock/runtime/files'
import type { Database } from '@healthblock/runtime/sqlite'
import { hotPart, newRoots } from '../consent/compose.ts'
import { UserNodeError } from '../errors.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import {
  consentValidityMs,
  type Person,
  type PersonStore,
  type PersonStream,
  standardStreams,
} from '../store/person.ts'
import type { Postings } from '../store/postings.ts'

/** A person whose account the sponsor has to sign for. */
export interface NewPerson {
  readonly person: Person
  /** The `register` body's bytes. */
  readonly body: Uint8Array
  /** 24 words, shown once. */
  readonly recoveryPhrase: string
}

interface Dependencies {
  readonly dir: string
  readonly database: Database
  readonly store: PersonStore
  readonly postings: Postings
  readonly ledger: LedgerView
  readonly nowMs: () => number
}

const rolePatient = 1

/** Path of a person's vault. */
export function vaultPath(dir: string, account: Uint8Array): string {
  return join(dir, 'people', toHex(account), 'vault')
}

/** Enrolment at this node. */
export class People {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Makes a person's keys, vault and hot store, and the `register` body.
   *
   * @throws {UserNodeError} `ERR_PERSON_EXISTS`, `ERR_PASSPHRASE_WEAK`.
   */
  async create(options: { name: string; passphrase: string; sponsor: Uint8Array }): Promise<NewPerson> {
    const { dir, database, store, ledger } = this.#deps
    if (store.all().some(({ name }) => name === options.name)) {
      throw new UserNodeError('a person of that name lives here already', {
        code: 'ERR_PERSON_EXISTS',
        person: options.name,
      })
    }
    if ([...options.passphrase.normalize('NFKC')].length < passphraseLengthMin) {
      throw new UserNodeError(`a passphrase has at least ${passphraseLengthMin} characters`, {
        code: 'ERR_PASSPHRASE_WEAK',
      })
    }
    const phrase = generateRecoveryPhrase()
    const root = phrase.rootKey()
    const op = generateSigningKey()
    const kem = generateKemKeyPair()
    const bodyBytes = encodeBody(registerBody(root, op, kem.publicKey, options.sponsor))
    const place = { ledgerId: ledger.ledgerId, chain: 'userchain' as const, bodyBytes }
    const account = transactionId(place)
    const made = this.#newKeys(account, options.name, { op, kemSeed: kem.exportSeed() })
    const vault = await createVault({
      contents: {
        rootSeed: root.exportSeed(),
        opSeed: op.exportSeed(),
        kemSeed: kem.exportSeed(),
        vaultKemSeed: made.vaultKemSeed,
        phraseEntropy: phrase.exportEntropy(),
        recoverySalts: [],
        nodes: made.roots,
        extra: new Uint8Array(0),
      },
      passphrase: options.passphrase,
    })
    ensureFolder(join(dir, 'people', toHex(account)))
    // The vault is durable before the row that makes the person exist.
    writeFileDurably(vaultPath(dir, account), vault.encode(), { mode: 0o600 })
    vault.close()
    const message = signingMessage(place)
    database.transaction(() =>
      this.#insert(made.person, options.sponsor, bodyBytes, [root.sign(message), op.sign(message)]),
    )
    store.add(made.person)
    return { person: made.person, body: bodyBytes, recoveryPhrase: phrase.words().join(' ') }
  }

  #newKeys(account: Uint8Array, name: string, keys: { op: SigningKey; kemSeed: Uint8Array }) {
    const { ledger, nowMs } = this.#deps
    const vaultKem = generateKemKeyPair()
    const first = epochOf(nowMs(), ledger.epochLengthMs)
    const kinds = Object.keys(standardStreams) as (keyof typeof standardStreams)[]
    const streams: PersonStream[] = kinds.map((kind) => ({ stream: randomBytes(8), kind }))
    const empty: HotStoreContents = {
      opSeed: keys.op.exportSeed(),
      kemSeed: keys.kemSeed,
      vaultKey: vaultKem.publicKey,
      generation: 1,
      first,
      streams: streams.map(({ stream, kind }) => ({ stream, kind: standardStreams[kind], class: 0, lastSequence: 0 })),
      nodes: [],
      grants: [],
      sealedRoots: [],
    }
    const draft: Person = {
      account,
      id: toHex(account),
      name,
      state: 'pending',
      hot: empty,
      opKey: keys.op,
      device: randomBytes(16),
      streams,
    }
    const roots = newRoots(draft, ledger.ledgerId, { generation: 1, first, grants: [] })
    draft.hot = { ...empty, nodes: hotPart(roots, first, ledger.epochLengthMs) }
    return { person: draft, roots, vaultKemSeed: vaultKem.exportSeed() }
  }

  #insert(person: Person, sponsor: Uint8Array, body: Uint8Array, [rootSignature, opSignature]: Uint8Array[]): void {
    const { database, store } = this.#deps
    database.run(
      `INSERT INTO person (account, name, state, sponsor, register, rootsig, opsig, device, credential, counter, hot)
       VALUES (?, ?, 'pending', ?, ?, ?, ?, ?, ?, 0, ?)`,
      ...[person.account, person.name, sponsor, body, rootSignature as Uint8Array, opSignature as Uint8Array],
      ...[person.device, randomBytes(32), store.sealHot(person.hot)],
    )
    for (const { stream, kind } of person.streams) {
      database.run(
        'INSERT INTO stream (account, stream, kind, sequence, epoch, class, classgen) VALUES (?, ?, ?, 0, 0, 0, 0)',
        ...[person.account, stream, kind],
      )
    }
  }

  /** The `register` body of a person who still waits for her sponsor: the same bytes each time. */
  registerBodyOf(person: Person): Uint8Array {
    return this.#row(person).register as Uint8Array
  }

  #row(person: Person) {
    const row = this.#deps.database.get(
      'SELECT sponsor, register, rootsig, opsig, credential FROM person WHERE account = ?',
      person.account,
    )
    if (row === undefined)
      throw new UserNodeError('nobody of that name lives here', { code: 'ERR_PERSON_UNKNOWN', person: person.name })
    return row
  }

  /**
   * Adds the sponsor's signature and posts the registration. Twice is once.
   *
   * @param sponsorKey - 32 bytes: the sponsor's op key, as genesis or the ledger has it.
   * @throws {UserNodeError} `ERR_SIGNATURE_WRONG`.
   */
  confirm(person: Person, signature: Uint8Array, sponsorKey: Uint8Array): void {
    const { database, store, postings, ledger, nowMs } = this.#deps
    // What was refused, for a sponsor who had no quota left for instance, is sent again when it is asked for again.
    const isRefused = postings.find(person.account, person.account)?.state === 'refused'
    if (person.state !== 'pending' && !isRefused) return
    const row = this.#row(person)
    const bodyBytes = row.register as Uint8Array
    const message = signingMessage({ ledgerId: ledger.ledgerId, chain: 'userchain', bodyBytes })
    try {
      verifySignature({ signature, message, key: parseVerifyingKey(sponsorKey) })
    } catch (cause) {
      throw new UserNodeError(
        "this is not the sponsor's signature of this registration",
        { code: 'ERR_SIGNATURE_WRONG' },
        { cause },
      )
    }
    const leaf = encodeTransactionLeaf({
      bodyBytes,
      signatures: [
        { account: person.account, key: 0, signature: row.rootsig as Uint8Array },
        { account: person.account, key: 1, signature: row.opsig as Uint8Array },
        { account: row.sponsor as Uint8Array, key: 1, signature },
      ],
    })
    try {
      database.transaction(() => {
        const [tx, account] = [person.account, person.account]
        if (isRefused) postings.renew({ tx, leaf }, nowMs())
        else postings.add({ tx, account, what: 'register', leaf, requires: undefined }, nowMs())
        store.writeState(person, 'registering')
      })
    } catch (error) {
      if (!isRefused) person.state = 'pending'
      throw error
    }
  }

  /** Posts the household's device with the standard streams. Inside nothing: it is its own transaction. */
  postDevice(person: Person): Uint8Array {
    const { database, store, postings, ledger, nowMs } = this.#deps
    return database.transaction(() => {
      const now = nowMs()
      const body: TransactionBody = {
        v: 1,
        t: 'device',
        a: person.account,
        n: store.nextCounter(person, { nowMs: now, recorded: ledger.lastCounter(person.account) }),
        x: now + consentValidityMs,
        dev: person.device,
        act: 1,
        streams: person.streams.map(({ stream }) => stream),
        cert: sha256(encodeUtf8('healthblock/1 household device\0'), person.hot.opSeed, person.device),
      }
      const transaction = signTransaction({
        ledgerId: ledger.ledgerId,
        chain: 'userchain',
        body,
        signers: [{ account: person.account, key: 1, signingKey: person.opKey }],
      })
      const tx = transactionId({ ledgerId: ledger.ledgerId, chain: 'userchain', bodyBytes: transaction.bodyBytes })
      postings.add(
        { tx, account: person.account, what: 'device', leaf: transaction.leaf, requires: person.account },
        now,
      )
      return tx
    })
  }

  /** What the person's device proves itself with: 64 hexadecimal characters. */
  deviceCredential(person: Person): string {
    return toHex(this.#row(person).credential as Uint8Array)
  }

  /** The person whose device has this credential. */
  byCredential(credential: string): Person | undefined {
    if (!/^[0-9a-f]{64}$/.test(credential)) return undefined
    const row = this.#deps.database.get('SELECT account FROM person WHERE credential = unhex(?)', credential)
    return row === undefined ? undefined : this.#deps.store.byAccount(row.account as Uint8Array)
  }
}

function registerBody(root: SigningKey, op: SigningKey, kem: Uint8Array, sponsor: Uint8Array): TransactionBody {
  return {
    v: 1,
    t: 'register',
    role: rolePatient,
    root: root.publicKey,
    op: op.publicKey,
    kem,
    suite: kemSuiteDefault,
    sponsor,
    salt: randomBytes(16),
  }
}
