/**
 * A person's op key, which lies in the hot store of her household, is replaced by her root key, which does not: a thief of the household's disk
 * is shut out, whatever he did with op until then. The new key waits, sealed as the hot store is, until the ledger has it in force; then it
 * takes the place of the old one, and everything that the old hot store could open ends with a rotation.
 */
import { type encodeBody, signTransaction } from '@healthblock/chain/transaction'
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { userchainId } from '../consent/compose.ts'
import type { Consent } from '../consent/consent.ts'
import { UserNodeError } from '../errors.ts'
import type { LedgerView } from '../ledger-view.ts'
import { consentValidityMs, type Person, type PersonStore } from '../store/person.ts'
import type { Postings } from '../store/postings.ts'
import type { Session, Sessions } from './sessions.ts'

interface Dependencies {
  readonly database: Database
  readonly store: PersonStore
  readonly postings: Postings
  readonly ledger: LedgerView
  readonly consent: Consent
  readonly sessions: Pick<Sessions, 'saveVault'>
  readonly nowMs: () => number
}

/** Why: op may be in other hands. */
const why = 1

/** Replaces op keys. */
export class Rekeys {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /**
   * Signs the `update` with root. When it returns, the new key is durable in vault and node, and the transaction on its way. Asked again while
   * one is under way it is that one; after a refusal it is signed anew, for the same key. One that is on record and not in force was replaced in
   * its turn, before this folder was copied back: then it is yet another key.
   *
   * @returns id of the `update`.
   * @throws {UserNodeError} `ERR_PERSON_PENDING` before the enrolment is finished.
   */
  begin(session: Session): Uint8Array {
    const { database, store, postings, ledger, sessions, nowMs } = this.#deps
    const { person, vault } = session
    if (person.state !== 'live')
      throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: person.name })
    const underWay = store.nextOpBy(person)
    const state = underWay && postings.find(person.account, underWay)?.state
    if (underWay !== undefined && (state === 'pending' || this.#isInForce(person, person.nextOp))) return underWay
    const { contents } = vault
    // What else the vault has, an older copy of it for instance, may be a key that was replaced: the ledger takes none twice.
    const next = (state === 'refused' ? person.nextOp : undefined) ?? generateSigningKey()
    vault.contents = { ...contents, opSeed: next.exportSeed() }
    sessions.saveVault(session)
    return database.transaction(() => {
      const n = store.nextCounter(person, { nowMs: nowMs(), recorded: ledger.lastCounter(person.account) })
      const body: Parameters<typeof encodeBody>[0] = {
        ...{ v: 1, t: 'update', a: person.account, n, x: nowMs() + consentValidityMs, op: next.publicKey, why },
      }
      const signingKey = signingKeyFromSeed(contents.rootSeed)
      const signers = [{ account: person.account, key: 0, signingKey }]
      const transaction = signTransaction({ ledgerId: ledger.ledgerId, chain: 'userchain', body, signers })
      const tx = userchainId(ledger.ledgerId, transaction.bodyBytes)
      store.writeNextOp(person, next, tx)
      const { leaf } = transaction
      postings.add({ tx, account: person.account, what: 'update', leaf, requires: undefined }, nowMs())
      return tx
    })
  }

  /** Once the new key is in force on the ledger it is this node's, and the keys of all streams change. Call it often. */
  async step(person: Person): Promise<void> {
    const { store, consent } = this.#deps
    const next = person.nextOp
    if (next === undefined || !this.#isInForce(person, next)) return
    await consent.replaceOp(person, next)
    // A crash before the last line rotates once more, which harms nothing.
    await consent.rotate(person)
    store.clearNextOp(person)
  }

  #isInForce({ account }: Person, key: SigningKey | undefined): boolean {
    const inForce = this.#deps.ledger.opKey(account)
    return key !== undefined && inForce !== undefined && equalBytes(inForce, key.publicKey)
  }
}
