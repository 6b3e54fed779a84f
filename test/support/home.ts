/** The parts of a user node that decide about keys and records, over a real database file and a real ledger in memory. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  type IotRecord,
  parseTransactionLeaf,
  signingMessage,
  signTransaction,
  transactionId,
} from '@healthblock/chain/transaction'
import { envelopeNodes, openEnvelope } from '@healthblock/crypto/envelope'
import { newHotStoreKey } from '@healthblock/crypto/hot-store'
import { epochKeyFrom, reachesEpoch, type TreeNode } from '@healthblock/crypto/key-tree'
import { openPayload, parsePayloadHeader } from '@healthblock/crypto/payload'
import { type OpenVault, openVault } from '@healthblock/crypto/vault'
import { createLogger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import { Consent } from '../../services/user-node/src/consent/consent.ts'
import { UserNodeEvents } from '../../services/user-node/src/events.ts'
import { createLedgerView } from '../../services/user-node/src/follower-view.ts'
import type { LedgerView } from '../../services/user-node/src/ledger-view.ts'
import { Devices } from '../../services/user-node/src/people/devices.ts'
import { OpStanding } from '../../services/user-node/src/people/op-standing.ts'
import { People, vaultPath } from '../../services/user-node/src/people/people.ts'
import { Alarms } from '../../services/user-node/src/sealing/alarms.ts'
import { SealingGate } from '../../services/user-node/src/sealing/gate.ts'
import { Losses } from '../../services/user-node/src/sealing/losses.ts'
import { Samples } from '../../services/user-node/src/sealing/samples.ts'
import { Sealer } from '../../services/user-node/src/sealing/sealer.ts'
import { Switches } from '../../services/user-node/src/sealing/switches.ts'
import { openNodeDatabase } from '../../services/user-node/src/store/node-db.ts'
import { type Person, PersonStore, type PersonStream } from '../../services/user-node/src/store/person.ts'
import { Postings } from '../../services/user-node/src/store/postings.ts'
import type { TestDoctor, TestLedger } from './ledger.ts'

const passphrase = 'correct horse battery'
/** Publication period. */
export const periodMs = 1000

/** A record that was sealed. */
export interface SealedRecord {
  readonly block: Uint8Array
  readonly sequence: number
  readonly generation: number
  readonly epoch: number
  readonly kind: number
  readonly size: number
}

/** One patient at home. */
export class TestHome {
  readonly world: TestLedger
  readonly dir: string
  readonly wrappingKey: Uint8Array
  database!: Database
  ledger!: LedgerView
  store!: PersonStore
  postings!: Postings
  consent!: Consent
  people!: People
  devices!: Devices
  sealer!: Sealer
  samples!: Samples
  alarms!: Alarms
  standing!: OpStanding
  losses!: Losses
  gate!: SealingGate
  switches!: Switches
  /** What the ledger's quorum said of the time since the node started. */
  ledgerMs: number | undefined

  constructor(world: TestLedger, dir: string) {
    this.world = world
    this.dir = dir
    this.wrappingKey = newHotStoreKey()
    this.open()
  }

  /** Opens everything from the files, as a restart does. */
  open(): void {
    const nowMs = (): number => this.world.nowMs
    const ledger = createLedgerView(this.world.ledger, nowMs)
    this.ledger = ledger
    this.database = openNodeDatabase(join(this.dir, 'node.db'))
    this.store = new PersonStore(this.database, this.wrappingKey)
    this.postings = new Postings(this.database)
    const logger = createLogger({ name: 'test', level: 'silent' })
    const events = new UserNodeEvents(logger)
    const { database } = this
    this.alarms = new Alarms({ database, events })
    this.standing = new OpStanding({ ledger, alarms: this.alarms, nowMs })
    const deps = { database, postings: this.postings, ledger, standing: this.standing, nowMs }
    this.consent = new Consent({ ...deps, people: this.store, events })
    this.people = new People({ ...deps, dir: this.dir, store: this.store })
    this.devices = new Devices({ ...deps, store: this.store })
    this.samples = new Samples(database, nowMs, () => this.ledgerMs)
    this.sealer = new Sealer({ database, samples: this.samples, ledger, periodMs, nowMs })
    this.gate = new SealingGate()
    this.losses = new Losses({ database, ledger, samples: this.samples, alarms: this.alarms, logger, nowMs })
    const { sealer, losses, alarms } = this
    this.switches = new Switches({ database, samples: this.samples, sealer, losses, alarms, periodMs, nowMs })
  }

  restart(): void {
    this.database.close()
    this.open()
  }

  person(): Person {
    return this.store.all()[0] as Person
  }

  stream(kind: 'ecg' | 'vitals'): PersonStream {
    return this.person().streams.find((stream) => stream.kind === kind) as PersonStream
  }

  /** Leaves that wait to be handed over, by kind, oldest first. */
  leaves(what: string): Uint8Array[] {
    return this.postings
      .unhanded()
      .filter((posting) => posting.what === what)
      .map(({ leaf }) => leaf)
  }

  /** Commits all that waits, in the order in which it was made; gives the leaves. */
  commitAll(): Uint8Array[] {
    const waiting = this.postings.unhanded()
    for (const posting of waiting) {
      this.world.commit(posting.leaf)
      this.confirm(posting.tx)
    }
    return waiting.map(({ leaf }) => leaf)
  }

  confirm(tx: Uint8Array): void {
    this.postings.markHanded(tx)
    this.postings.markFinal(tx, 'committed')
    this.database.run("UPDATE consent SET state = 'committed' WHERE tx = ?", tx)
  }

  async enrol(): Promise<OpenVault> {
    const { person, body } = await this.people.create({ name: 'anna', passphrase, sponsor: this.world.organisation })
    const message = signingMessage({ ledgerId: this.world.ledger.ledgerId, chain: 'userchain', bodyBytes: body })
    this.people.confirm(person, this.world.op.sign(message), this.world.op.publicKey)
    this.commitAll()
    this.people.postDevice(person)
    this.commitAll()
    await this.consent.begin(person)
    this.commitAll()
    this.store.writeState(person, 'live')
    return openVault({ file: readFileSync(vaultPath(this.dir, person.account)), passphrase })
  }

  /** A device brings one second of ECG, at 100 Hz if nothing else is said. */
  bring(rateHz = 100): void {
    const samples = Int16Array.from({ length: rateHz }, (_, i) => i)
    const form = { rateMilliHz: rateHz * 1000, leads: ['ii'], unit: 'mv', gainMilli: 200_000, baseline: 0 }
    this.samples.add(this.person(), this.stream('ecg').stream, {
      kind: 'ecg',
      startMs: this.world.nowMs,
      ...form,
      samples,
    })
  }

  /** Every record of a stream that is here, in order. */
  records(kind: 'ecg' | 'vitals' = 'ecg'): SealedRecord[] {
    const rows = this.database.all(
      'SELECT block, sequence, generation, epoch, kind, size FROM batch WHERE stream = ? ORDER BY sequence',
      this.stream(kind).stream,
    )
    return rows.map((row) => ({
      block: row.block as Uint8Array,
      sequence: Number(row.sequence),
      generation: Number(row.generation),
      epoch: Number(row.epoch),
      kind: Number(row.kind),
      size: Number(row.size),
    }))
  }

  /** Seals one second of ECG and returns its block. */
  seal(): SealedRecord {
    this.world.nowMs += 1000
    this.bring()
    const count = this.sealer.seal(this.person(), this.stream('ecg'), true)
    if (count !== 1) throw new Error(`${count} batches were sealed`)
    return this.records().at(-1) as SealedRecord
  }

  /** The IoT leaf of everything that was sealed, or closed by a gap, since the last. */
  iot(): Uint8Array {
    const person = this.person()
    const rows = this.database.all("SELECT * FROM batch WHERE state IN ('sealed', 'stored') ORDER BY stream, sequence")
    const r = rows.map((row): IotRecord => {
      const [sequence, generation, epoch, kind, size] = ['sequence', 'generation', 'epoch', 'kind', 'size'].map(
        (name) => Number(row[name]),
      ) as [number, number, number, number, number]
      return [row.stream as Uint8Array, sequence, generation, epoch, kind, size, row.cid as Uint8Array]
    })
    const { leaf, bodyBytes } = signTransaction({
      ledgerId: this.world.ledger.ledgerId,
      chain: 'userchain',
      body: { v: 1, t: 'iot', a: person.account, r },
      signers: [{ account: person.account, key: 1, signingKey: person.opKey }],
    })
    const tx = transactionId({ ledgerId: this.world.ledger.ledgerId, chain: 'userchain', bodyBytes })
    this.database.run("UPDATE batch SET state = 'posted', tx = ? WHERE state IN ('sealed', 'stored')", tx)
    return leaf
  }
}

/** Keys of one generation of a stream that somebody holds. */
export interface OpenedKeys {
  readonly stream: Uint8Array
  readonly generation: number
  readonly first: number
  readonly nodes: TreeNode[]
}

/** Every node that a doctor can open from the leaves of the ledger. */
export async function openAll(
  world: TestLedger,
  person: Person,
  doctor: TestDoctor,
  leaves: readonly Uint8Array[],
): Promise<OpenedKeys[]> {
  const held: OpenedKeys[] = []
  for (const leaf of leaves) {
    const { body } = parseTransactionLeaf(leaf)
    if (body.t !== 'key' && body.t !== 'envelope') continue
    for (const [grantId, generation, envelope] of body.env) {
      const place = { ledgerId: world.ledger.ledgerId, patient: person.account, grantId, generation }
      try {
        const context = { ...place, recipient: doctor.account }
        const contents = await openEnvelope({ keyPair: doctor.kem, context, envelope })
        for (const { stream, keys } of contents.streams) {
          held.push({ stream, generation, first: contents.first, nodes: envelopeNodes(contents, keys) })
        }
      } catch {
        // It is addressed to somebody else.
      }
    }
  }
  return held
}

/** Whether any node that is held opens the block: every one is tried, whatever generation it claims to be of. */
export function canOpen(held: readonly OpenedKeys[], block: Uint8Array): boolean {
  const header = parsePayloadHeader(block)
  return held.some(({ first, nodes }) => {
    if (!reachesEpoch({ nodes, first, epoch: header.epoch })) return false
    try {
      openPayload({ block, epochKey: epochKeyFrom({ nodes, first, epoch: header.epoch }), expected: header })
      return true
    } catch {
      return false
    }
  })
}
