/** The consent part of a user node over a database file and a ledger in memory: what decides how long a change of keys takes. */

import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { signingMessage } from '@healthblock/chain/transaction'
import { newHotStoreKey } from '@healthblock/crypto/hot-store'
import { type OpenVault, openVault } from '@healthblock/crypto/vault'
import { equalBytes } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import { noEnd } from '../../services/user-node/src/consent/compose.ts'
import { Consent } from '../../services/user-node/src/consent/consent.ts'
import { UserNodeEvents } from '../../services/user-node/src/events.ts'
import { createLedgerView } from '../../services/user-node/src/follower-view.ts'
import { OpStanding } from '../../services/user-node/src/people/op-standing.ts'
import { People, vaultPath } from '../../services/user-node/src/people/people.ts'
import { Alarms } from '../../services/user-node/src/sealing/alarms.ts'
import { openNodeDatabase } from '../../services/user-node/src/store/node-db.ts'
import { type Person, PersonStore } from '../../services/user-node/src/store/person.ts'
import { Postings } from '../../services/user-node/src/store/postings.ts'
import { type TestDoctor, TestLedger } from '../../test/support/ledger.ts'
import { temporaryFolder } from './folder.ts'

const passphrase = 'correct horse battery'

/** One patient, her node's files, and the doctors to whom she gives access to three streams. */
export class BenchHousehold {
  readonly world = new TestLedger(1_800_000_000_000)
  readonly #dir = temporaryFolder()
  readonly #database: Database
  readonly #store: PersonStore
  readonly #postings: Postings
  readonly #consent: Consent
  readonly #people: People
  #vault: OpenVault | undefined

  constructor() {
    const nowMs = (): number => this.world.nowMs
    const ledger = createLedgerView(this.world.ledger, nowMs)
    this.#database = openNodeDatabase(join(this.#dir, 'node.db'))
    this.#store = new PersonStore(this.#database, newHotStoreKey())
    this.#postings = new Postings(this.#database)
    const events = new UserNodeEvents(createLogger({ name: 'bench', level: 'silent' }))
    const deps = { database: this.#database, postings: this.#postings, ledger, nowMs }
    const standing = new OpStanding({ ledger, alarms: new Alarms({ database: this.#database, events }), nowMs })
    this.#consent = new Consent({ ...deps, standing, people: this.#store, events })
    this.#people = new People({ ...deps, dir: this.#dir, store: this.#store })
  }

  get #person(): Person {
    return this.#store.all()[0] as Person
  }

  /** Keys, account, device, first generation. */
  async enrol(): Promise<void> {
    const { world } = this
    const made = await this.#people.create({ name: 'anna', passphrase, sponsor: world.organisation })
    const message = signingMessage({ ledgerId: world.ledger.ledgerId, chain: 'userchain', bodyBytes: made.body })
    this.#people.confirm(made.person, world.op.sign(message), world.op.publicKey)
    this.commit()
    this.#people.postDevice(made.person)
    this.commit()
    await this.#consent.begin(made.person)
    this.commit()
    this.#store.writeState(made.person, 'live')
    this.#vault = await openVault({ file: readFileSync(vaultPath(this.#dir, made.person.account)), passphrase })
  }

  /** Gives a doctor the keys of three streams from now on. */
  async grant({ account }: TestDoctor): Promise<void> {
    const person = this.#person
    const vault = this.#vault as OpenVault
    await this.#consent.absorbRoots(person, vault, () => {})
    const streams = person.streams.filter(({ kind }) => kind !== 'profile').map(({ stream }) => stream)
    this.world.nowMs += 1
    await this.#consent.grant(person, vault, { to: account, streams, fromMs: this.world.nowMs, untilMs: noEnd })
    this.commit()
  }

  /** Takes the keys back from one doctor. When it returns they are changed, durably. */
  async revoke({ account }: TestDoctor): Promise<void> {
    this.world.nowMs += 1
    await this.#consent.revoke(this.#person, ({ recipient }) => equalBytes(recipient, account))
  }

  /** New keys for the same doctors. */
  async rotate(): Promise<void> {
    this.world.nowMs += 1
    await this.#consent.rotate(this.#person)
  }

  /** Commits what waits, and says how much it was. */
  commit(): { transactions: number; sizeBytes: number; entryBytesMax: number } {
    let transactions = 0
    let sizeBytes = 0
    let entryBytesMax = 0
    for (const { leaf, tx } of this.#postings.unhanded()) {
      this.world.commit(leaf)
      this.#postings.markHanded(tx)
      this.#postings.markFinal(tx, 'committed')
      this.#database.run("UPDATE consent SET state = 'committed' WHERE tx = ?", tx)
      transactions++
      sizeBytes += leaf.length
      entryBytesMax = Math.max(entryBytesMax, leaf.length)
    }
    return { transactions, sizeBytes, entryBytesMax }
  }

  /** Takes the files away. */
  close(): void {
    this.#database.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }
}
