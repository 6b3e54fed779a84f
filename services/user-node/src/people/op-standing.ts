/**
 * Whether the op key that a node has for a person is the one in force. It is not in a folder that is an older copy than a rekey: all that it
 * signs is refused, and so is the token with which it would read why. Nothing is signed with it again and again; her root key brings the node
 * back, by another op key.
 */
import { parseTransactionLeaf, signingMessage } from '@healthblock/chain/transaction'
import { parseVerifyingKey, verifySignature } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { type PauseLimits, Pauses } from '@healthblock/runtime/pauses'
import type { LedgerView } from '../ledger-view.ts'
import type { Alarms } from '../sealing/alarms.ts'
import type { Person } from '../store/person.ts'

interface Dependencies {
  readonly ledger: Pick<LedgerView, 'ledgerId' | 'opKey'>
  readonly alarms: Pick<Alarms, 'noticeReplaced'>
  readonly nowMs: () => number
}

/** Between tries with a key of which the ledger says that it is not in force: one gateway may have said so alone. */
const triesMs: PauseLimits = { minMs: 30_000, maxMs: 3_600_000 }
const keyOp = 1

/** Of everybody in the house. */
export class OpStanding {
  readonly #deps: Dependencies
  /** By person and key. */
  readonly #tries: Pauses

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#tries = new Pauses(triesMs, deps.nowMs)
  }

  /** True while what this key signs would be refused: the ledger has another one in force, or refused this one just now. */
  isOut(person: Person): boolean {
    return this.#isOther(person) || this.#tries.isPausing(nameOf(person))
  }

  /** Tells her if the ledger has a key in force that is none of this node's. */
  look(person: Person): void {
    if (this.#isOther(person)) this.#tell(person)
  }

  /** Every accounting node that answers turns this node away with each key of the house: hers is not in force, or the clock is wrong. */
  turnedAway(person: Person): void {
    this.#tell(person)
  }

  /** The ledger took something that this key signed. */
  taken(person: Person): void {
    this.#tries.succeeded(nameOf(person))
  }

  /** The ledger refused a transaction. What a key signed that was replaced since says nothing of the one that took its place. */
  refused(person: Person, { leaf, rule }: { leaf: Uint8Array; rule: string | undefined }): void {
    if (person.state !== 'live' || rule?.endsWith('.signature') !== true || !this.#isSignedBy(person, leaf)) return
    this.#tries.failed(nameOf(person))
    this.#tell(person)
  }

  /** While root replaces the key, that one is not the newest is no news. */
  #tell(person: Person): void {
    if (person.nextOp === undefined) this.#deps.alarms.noticeReplaced(person, { atMs: this.#deps.nowMs() })
  }

  #isOther({ account, opKey }: Person): boolean {
    const inForce = this.#deps.ledger.opKey(account)
    return inForce !== undefined && !equalBytes(inForce, opKey.publicKey)
  }

  #isSignedBy({ account, opKey }: Person, leaf: Uint8Array): boolean {
    const { bodyBytes, signatures } = parseTransactionLeaf(leaf)
    const own = signatures.find((one) => one.key === keyOp && equalBytes(one.account, account))
    if (own === undefined) return false
    const message = signingMessage({ ledgerId: this.#deps.ledger.ledgerId, chain: 'userchain', bodyBytes })
    try {
      verifySignature({ signature: own.signature, message, key: parseVerifyingKey(opKey.publicKey) })
      return true
    } catch {
      return false
    }
  }
}

function nameOf({ id, opKey }: Person): string {
  return `${id} ${toHex(opKey.publicKey)}`
}
