/**
 * Envelopes that left with a change of keys which the ledger did not take: it waited too long without a network, or was signed with a key that was
 * replaced. A later change takes its place, and what was sealed under its keys goes on record all the same; whoever has access needs them.
 */
import { type EnvelopeEntry, parseTransactionLeaf, signTransaction } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { Database } from '@healthblock/runtime/sqlite'
import type { LedgerView } from '../ledger-view.ts'
import type { OpStanding } from '../people/op-standing.ts'
import type { Person } from '../store/person.ts'
import type { Postings } from '../store/postings.ts'
import { isUnexpired, type KeyBody, packEnvelopes, userchainId } from './compose.ts'
import { isForeignGeneration, isOutrun } from './foreign.ts'

interface Dependencies {
  readonly database: Database
  readonly postings: Pick<Postings, 'add' | 'followers'>
  readonly ledger: LedgerView
  readonly standing: Pick<OpStanding, 'isOut'>
  readonly nowMs: () => number
}

/** Refused changes of keys that are looked through, the newest. */
const refusedMax = 4_096

/** Posts them. */
export class LeftEnvelopes {
  readonly #deps: Dependencies
  /** People of whom it was looked since a change of their keys was final. */
  readonly #looked = new Set<string>()

  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** A change of the person's keys is on record or refused: there may be some. */
  noteSettled(person: Person): void {
    this.#looked.delete(person.id)
  }

  /** Posts what is left of a person, once the newest keys of hers are on record. Soon done if there is nothing new. */
  fill(person: Person): void {
    const { database, postings, ledger, standing, nowMs } = this.#deps
    const { account, hot } = person
    if (this.#looked.has(person.id) || person.nextOp !== undefined || standing.isOut(person)) return
    const key = ledger.openedBy(account, hot.generation)
    if (key === undefined || isOutrun(this.#deps, person)) return
    const { first, rest } = packEnvelopes(this.#find(person))
    const signers = [{ account, key: 1, signingKey: person.opKey }]
    database.transaction(() => {
      for (const env of [first, ...rest]) {
        if (env.length === 0) continue
        const body = { v: 1, t: 'envelope', a: account, key, env } as const
        const { leaf, bodyBytes } = signTransaction({ ledgerId: ledger.ledgerId, chain: 'userchain', body, signers })
        const tx = userchainId(ledger.ledgerId, bodyBytes)
        postings.add({ tx, account, what: 'envelope', leaf, requires: undefined }, nowMs())
      }
    })
    this.#looked.add(person.id)
  }

  /** Of former generations of this node's own, for grants that are open: one for each grant and generation that has none on the ledger. */
  #find(person: Person): EnvelopeEntry[] {
    const { database, postings, ledger, nowMs } = this.#deps
    const { account, hot } = person
    const rows = database.all(
      "SELECT tx, body FROM consent WHERE account = ? AND state = 'refused' AND generation < ? ORDER BY generation DESC, changed DESC LIMIT ?",
      ...[account, hot.generation, refusedMax],
    )
    const isOpen = (gid: Uint8Array): boolean =>
      hot.grants.some((grant) => equalBytes(grant.grantId, gid) && isUnexpired(grant, nowMs())) &&
      ledger.isGrantRecorded(account, gid) &&
      !ledger.isGrantClosed(account, gid)
    const found = new Map<string, EnvelopeEntry>()
    for (const row of rows) {
      const { env } = decodeCbor(row.body as Uint8Array) as unknown as KeyBody
      const followers = postings.followers(row.tx as Uint8Array).flatMap((leaf) => {
        const { body } = parseTransactionLeaf(leaf)
        return body.t === 'envelope' ? body.env : []
      })
      for (const entry of [...env, ...followers]) {
        const [gid, generation] = entry
        const name = `${toHex(gid)} ${generation}`
        if (found.has(name) || generation >= hot.generation || !isOpen(gid)) continue
        if (ledger.hasEnvelope(account, gid, generation) || isForeignGeneration(this.#deps, account, generation))
          continue
        found.set(name, entry)
      }
    }
    return [...found.values()]
  }
}
