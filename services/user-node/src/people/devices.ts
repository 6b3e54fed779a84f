/**
 * A person's devices as the ledger has them: her node's own, with the standard streams, and any that somebody else added in her name with a
 * stolen op key. Such a one is removed by her root key: its streams close, and never take a record again. That cannot be undone, so the own one,
 * whose end would end all her streams, is not removed here.
 */
import { rulesOfOwners } from '@healthblock/chain/rules'
import { parseTransactionLeaf, signTransaction, type TransactionBody } from '@healthblock/chain/transaction'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import { userchainId } from '../consent/compose.ts'
import { UserNodeError } from '../errors.ts'
import type { LedgerView } from '../ledger-view.ts'
import { consentValidityMs, type Person, type PersonStore } from '../store/person.ts'
import type { Postings } from '../store/postings.ts'
import type { Session } from './sessions.ts'

/** A device, as people see it. */
export interface DeviceView {
  /** 32 hexadecimal characters. */
  readonly device: string
  /** True for the one whose readings this node records. */
  readonly isOwn: boolean
  /** `removing`: the transaction is on its way. The own one is `removed` if a thief did that under rules before version 4. */
  readonly state: 'in force' | 'removing' | 'removed'
  readonly addedAt: string
  /** Open streams, and how many records the ledger has of each. */
  readonly streams: readonly { readonly stream: string; readonly kind: string | null; readonly records: number }[]
}

interface Dependencies {
  readonly database: Database
  readonly store: PersonStore
  readonly postings: Postings
  readonly ledger: LedgerView
  readonly nowMs: () => number
}

const actRemove = 2
const [keyRoot, keyOp] = [0, 1]
const noCert = new Uint8Array(32)

/** Lists and removes devices. */
export class Devices {
  readonly #deps: Dependencies
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** This node's own first, then those in force that it did not add, in the order in which they came. */
  list(person: Person): DeviceView[] {
    return [person.device, ...this.foreign(person)].flatMap((device) => this.#view(person, device) ?? [])
  }

  /** Devices in force that this node did not add; at most 16, for each has an open stream. */
  foreign(person: Person): Uint8Array[] {
    const found: Uint8Array[] = []
    for (const { device } of this.#deps.ledger.openStreams(person.account))
      if (![person.device, ...found].some((other) => equalBytes(other, device))) found.push(device)
    return found
  }

  /**
   * Removes a device: root signs it, and op as every consent (before version 4 of the rules op alone). When it returns, the transaction is durable
   * and on its way. Asked again while one is under way it is that one; after a refusal it is signed anew. While root replaces the op key it
   * follows that, signed with the new one.
   *
   * @param id - as {@link DeviceView.device}.
   * @throws {UserNodeError} `ERR_DEVICE_UNKNOWN`; `ERR_DEVICE_OWN` for this node's; `ERR_PERSON_PENDING` before the enrolment is finished.
   */
  remove({ person, vault }: Pick<Session, 'person' | 'vault'>, id: string): Uint8Array {
    const { database, store, postings, ledger, nowMs } = this.#deps
    if (person.state !== 'live')
      throw new UserNodeError('the enrolment is not finished yet', { code: 'ERR_PERSON_PENDING', person: person.name })
    const device = this.#find(person, id)
    const underWay = this.#removalOf(person, device)
    if (underWay !== undefined) return underWay
    const rekey = this.#rekeyUnderWay(person)
    const op = { account: person.account, key: keyOp, signingKey: rekey?.key ?? person.opKey }
    const root = { account: person.account, key: keyRoot, signingKey: signingKeyFromSeed(vault.contents.rootSeed) }
    return database.transaction(() => {
      const n = store.nextCounter(person, { nowMs: nowMs(), recorded: ledger.lastCounter(person.account) })
      const body: TransactionBody = {
        ...{ v: 1, t: 'device', a: person.account, n, x: nowMs() + consentValidityMs },
        ...{ dev: device, act: actRemove, streams: [], cert: noCert },
      }
      const signers = ledger.rules() >= rulesOfOwners ? [root, op] : [op]
      const transaction = signTransaction({ ledgerId: ledger.ledgerId, chain: 'userchain', body, signers })
      const tx = userchainId(ledger.ledgerId, transaction.bodyBytes)
      const { leaf } = transaction
      postings.add({ tx, account: person.account, what: 'device', leaf, requires: rekey?.tx }, nowMs())
      return tx
    })
  }

  #find(person: Person, id: string): Uint8Array {
    if (id === toHex(person.device)) {
      const words =
        'this is the device of her own node: its streams would end for ever, and none of her readings could be recorded any more'
      throw new UserNodeError(words, { code: 'ERR_DEVICE_OWN' })
    }
    const found = this.foreign(person).find((device) => toHex(device) === id)
    if (found !== undefined) return found
    throw new UserNodeError('there is no such device in force: the list of devices says which there are', {
      ...{ code: 'ERR_DEVICE_UNKNOWN', device: id },
    })
  }

  #view(person: Person, device: Uint8Array): DeviceView | undefined {
    const { ledger } = this.#deps
    const { account } = person
    const record = ledger.device(account, device)
    if (record === undefined) return undefined
    const open = ledger.openStreams(account).filter((stream) => equalBytes(stream.device, device))
    const removing = this.#removalOf(person, device) === undefined ? 'in force' : 'removing'
    return {
      device: toHex(device),
      isOwn: equalBytes(device, person.device),
      state: record.isRemoved ? 'removed' : removing,
      addedAt: new Date(record.addedAtMs).toISOString(),
      streams: open.map(({ stream }) => ({
        stream: toHex(stream),
        kind: person.streams.find((own) => equalBytes(own.stream, stream))?.kind ?? null,
        records: ledger.lastRecord(account, stream).sequence,
      })),
    }
  }

  /** The removal of a device that has no answer yet. */
  #removalOf({ account }: Person, device: Uint8Array): Uint8Array | undefined {
    const rows = this.#deps.database.all(
      "SELECT tx, leaf FROM posting WHERE account = ? AND what = 'device' AND state = 'pending' LIMIT 64",
      account,
    )
    const found = rows.find(({ leaf }) => {
      const { body } = parseTransactionLeaf(leaf as Uint8Array)
      return body.t === 'device' && body.act === actRemove && equalBytes(body.dev, device)
    })
    return found?.tx as Uint8Array | undefined
  }

  /** The op key that root puts in force, and by which transaction. */
  #rekeyUnderWay(person: Person): { key: SigningKey; tx: Uint8Array } | undefined {
    const { store, postings } = this.#deps
    const tx = person.nextOp === undefined ? undefined : store.nextOpBy(person)
    if (person.nextOp === undefined || tx === undefined) return undefined
    return postings.find(person.account, tx)?.state === 'refused' ? undefined : { key: person.nextOp, tx }
  }
}
