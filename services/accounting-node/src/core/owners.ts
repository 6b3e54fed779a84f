/** Whose a transaction is, for limits and turns: never a rule of validity. */
import type { Ledger } from '@healthblock/chain/block'
import { RecentMap } from '@healthblock/chain/recent-map'
import { userTables } from '@healthblock/chain/tables'
import type { Transaction } from '@healthblock/chain/transaction'
import { toHex } from '@healthblock/encoding/bytes'

/** Most accounts whose sponsor is remembered. */
const sponsorsMax = 16_384

/** Whose transaction it is. */
export interface Owner {
  /** Account in lower-case hex. */
  readonly account: string
  /** Account of whoever sponsored it, in lower-case hex; the account itself if nobody did. */
  readonly sponsor: string
}

/** Looks owners up in the state of this moment. */
export class Owners {
  readonly #ledger: Ledger
  /** Sponsors of accounts, both in hex. */
  readonly #sponsors = new RecentMap<string, string>(sponsorsMax)

  constructor(ledger: Ledger) {
    this.#ledger = ledger
  }

  /** The signer, or for a `register` the new account, which its `id` names; and who sponsors it. */
  of({ body }: Transaction, id: Uint8Array): Owner {
    if (body.t === 'register') return { account: toHex(id), sponsor: toHex(body.sponsor ?? id) }
    const account = 'a' in body && body.a instanceof Uint8Array ? body.a : id
    const name = toHex(account)
    let sponsor = this.#sponsors.get(name)
    if (sponsor === undefined) {
      const record = userTables.account.get(this.#ledger.state('userchain'), account)
      sponsor = toHex(record?.sponsor ?? account)
      // A sponsor is for ever; of an account that is not on record yet it is asked again.
      if (record !== undefined) this.#sponsors.set(name, sponsor)
    }
    return { account: name, sponsor }
  }
}
