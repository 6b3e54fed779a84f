/**
 * What the node does without being asked: seals, delivers, finishes enrolments, pursues receipts, opens diagnoses, renews
 * keys. One round at a time; each part may fail (no network, a full disk) without holding up the others.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { toHex } from '@healthblock/encoding/bytes'
import type { Logger } from '@healthblock/runtime/logger'
import type { Outbox } from '@healthblock/runtime/outbox'
import { isYetToCome, type PauseLimits, Pauses } from '@healthblock/runtime/pauses'
import type { Consent } from './consent/consent.ts'
import type { Erasures } from './consent/erasure.ts'
import type { Settlement } from './consent/settlement.ts'
import type { Reclaim } from './files/reclaim.ts'
import type { Uploads } from './files/uploads.ts'
import { epochOf, type LedgerView } from './ledger-view.ts'
import type { Devices } from './people/devices.ts'
import type { OpStanding } from './people/op-standing.ts'
import type { People } from './people/people.ts'
import type { Rekeys } from './people/rekey.ts'
import type { Sessions } from './people/sessions.ts'
import type { Diagnoses } from './reading/diagnoses.ts'
import type { Alarms } from './sealing/alarms.ts'
import type { Delivery } from './sealing/delivery.ts'
import type { SealingGate } from './sealing/gate.ts'
import type { Losses } from './sealing/losses.ts'
import type { Sealer } from './sealing/sealer.ts'
import type { Switches } from './sealing/switches.ts'
import { type Person, type PersonStore, type PersonStream, reachesPlace } from './store/person.ts'
import type { Postings } from './store/postings.ts'

interface Dependencies {
  readonly store: PersonStore
  readonly people: People
  readonly sessions: Pick<Sessions, 'endIdle'>
  readonly consent: Consent
  readonly rekeys: Pick<Rekeys, 'step'>
  readonly standing: Pick<OpStanding, 'look' | 'turnedAway'>
  readonly erasures: Pick<Erasures, 'again'>
  readonly settlement: Settlement
  readonly sealer: Sealer
  readonly losses: Losses
  readonly devices: Pick<Devices, 'foreign'>
  readonly alarms: Pick<Alarms, 'noticeForeign' | 'noticeDevice'>
  readonly uploads: Uploads
  readonly reclaim: Reclaim
  readonly switches: Switches
  readonly gate: Pick<SealingGate, 'open'>
  readonly delivery: Delivery
  readonly diagnoses: Diagnoses
  readonly postings: Postings
  readonly outbox: Pick<Outbox, 'find'>
  readonly ledger: LedgerView
  /** Catches up with the published ledgers, as far as somebody of the house may read them; true if nothing is left. */
  readonly refresh: () => Promise<boolean>
  /** True while every accounting node that answers turns this node away. */
  readonly isTurnedAway: () => boolean
  readonly logger: Logger
  readonly nowMs: () => number
}

const roundMs = 250
// Keys for 30 days are held; a rotation renews them when a third of that is left.
const renewBeforeMs = 10 * 86_400_000
// What came while the node was off can be opened for an hour; then the keys of more than a day ago go, hour by hour.
const forgetEveryMs = 3_600_000
const rememberMs = 86_400_000

/** Between answers to generations that somebody else opened: he opens them as often as he likes. */
const answerPauses: PauseLimits = { minMs: 1_000, maxMs: 3_600_000 }
/**
 * Roots that wait for the vault when such generations are not answered any more: half of what a hot store may hold (packages/crypto SPEC.md §7).
 * The other half is for what she does herself.
 */
const answeredRootsMax = 512

/** Between devices of an enrolment that are refused for the time: a clock that is wrong stays so for a while. */
const enrolmentPauses: PauseLimits = { minMs: 1_000, maxMs: 30_000 }

/** One that begins again may turn a reader away for a moment. */
const turnedAwayPatienceMs = 60_000

/** Refusals of a `device` that came at the wrong time. */
const timeRules = new Set(['device.counter', 'device.expiry'])

/** The node's own work. */
export class Household {
  readonly #deps: Dependencies
  /** Those who wait for the next round, and how often they were rung for. */
  readonly #waiting = new Set<() => void>()
  #rings = 0
  /** True once the node has caught up with the ledger since it started, or found that nobody lets it. */
  #hasLooked = false
  /** True once it has caught up. */
  #isCaughtUp = false
  /** People whose folder was an older copy, and whose uploads of that time are ended. */
  readonly #older = new Set<string>()
  /** Streams of which records may wait where they do not fit any more. */
  readonly #unfit = new Set<string>()
  /** The ledger's generation of a person when her streams were last among them. */
  readonly #fitted = new Map<string, number>()
  /** By person and op key: once root has replaced it, nothing is waited for. */
  readonly #answers: Pauses
  /** By person. */
  readonly #enrolments: Pauses
  /** Since when the ledger turns this node away. */
  #turnedAwayMs: number | undefined
  #forgetDueMs: number

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#answers = new Pauses(answerPauses, deps.nowMs)
    this.#enrolments = new Pauses(enrolmentPauses, deps.nowMs)
    this.#forgetDueMs = deps.nowMs() + forgetEveryMs
  }

  /** Begins the next round at once. */
  wake(): void {
    this.#rings++
    for (const ring of this.#waiting) ring()
  }

  /** Runs rounds until the signal is aborted. What is done in the house does not wait for a network that does not answer. */
  async run(signal: AbortSignal): Promise<void> {
    const rounds = [() => this.#roundAtHome(), () => this.#roundOutside()]
    await Promise.all(rounds.map((round) => this.#repeat(round, signal)))
  }

  async #repeat(round: () => Promise<void>, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const rings = this.#rings
      await round()
      if (rings !== this.#rings || signal.aborted) {
        // Requests and timers come in between, however often it is rung.
        await delay(0)
        continue
      }
      let ring = (): void => {}
      const rung = new Promise<void>((resolve) => {
        ring = resolve
        this.#waiting.add(ring)
      })
      await Promise.race([delay(roundMs, undefined, { signal }).catch(() => {}), rung])
      this.#waiting.delete(ring)
    }
  }

  /** One round of everything. Never throws. */
  async round(): Promise<void> {
    await this.#roundAtHome()
    await this.#roundOutside()
  }

  async #roundAtHome(): Promise<void> {
    const { store, sessions, settlement, delivery, outbox } = this.#deps
    await this.#attempt('sessions', async () => sessions.endIdle())
    await this.#attempt('look', () => this.#look())
    await this.#attempt('turned away', async () => this.#noticeTurnedAway())
    for (const person of store.all()) {
      // First: without a key for this hour nothing is sealed.
      await this.#attempt('keys', () => this.#keepKeys(person))
      for (const stream of person.streams) await this.#attempt('seal', async () => this.#seal(person, stream))
    }
    await this.#attempt('consent', () => settlement.resume((tx) => outbox.find(tx)))
    // A revocation goes on its way while blocks wait to be stored.
    await this.#attempt('hand over', async () => delivery.handOver())
    await this.#attempt('forget', () => this.#forget())
  }

  async #roundOutside(): Promise<void> {
    const { settlement, delivery, diagnoses, reclaim, refresh } = this.#deps
    await this.#attempt('catch up', async () => {
      this.#isCaughtUp ||= await refresh()
      if (this.#isCaughtUp) delivery.open()
    })
    await this.#attempt('deliver', () => delivery.step())
    await this.#attempt('reclaim', () => reclaim.step())
    await this.#attempt('receipts', () => settlement.pursue())
    await this.#attempt('diagnoses', () => diagnoses.open())
  }

  async #attempt(what: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#deps.logger.warn({ err: error, what }, 'left for the next round')
    }
  }

  /**
   * Before anything is sealed: the folder may be an older copy, with keys that were taken from a doctor since. Samples wait as long as the
   * ledger comes nearer; one that does not answer is not waited for.
   */
  async #look(): Promise<void> {
    if (this.#hasLooked) return
    const { ledger, refresh } = this.#deps
    const size = (): number | undefined => ledger.seen()?.[0]
    const before = size()
    this.#isCaughtUp = await refresh()
    this.#hasLooked = this.#isCaughtUp || size() === before
  }

  /** Tells everybody that no key of the house reads the ledger any longer: nothing else may be refused for days. */
  #noticeTurnedAway(): void {
    const { store, standing, isTurnedAway, nowMs } = this.#deps
    this.#turnedAwayMs = isTurnedAway() ? (this.#turnedAwayMs ?? nowMs()) : undefined
    if (this.#turnedAwayMs === undefined || Math.abs(nowMs() - this.#turnedAwayMs) < turnedAwayPatienceMs) return
    for (const person of store.all()) if (person.state === 'live') standing.turnedAway(person)
  }

  async #keepKeys(person: Person): Promise<void> {
    if (person.state === 'registering') await this.#progressEnrolment(person)
    if (person.state !== 'live') return
    const { consent, rekeys, standing, devices, gate, losses, ledger, alarms, nowMs } = this.#deps
    // Before anything else is taken over from the ledger: chunks that were sealed since the copy was made must not be sealed again.
    const behind = person.streams.filter(({ stream }) => losses.isBehind(person, stream))
    if (behind.length > 0 && !this.#endOldUploads(person)) return
    if (this.#hasLooked) gate.open(person)
    for (const { stream } of behind) losses.catchUp(person, stream)
    await rekeys.step(person)
    standing.look(person)
    for (const device of devices.foreign(person)) alarms.noticeDevice(person, device, { atMs: nowMs() })
    const adopted = consent.adopt(person)
    const generation = ledger.currentGeneration(person.account)
    const isBehindKeys = this.#deps.consent.isOutrun(person)
    // A new generation may be another's; after a start it is not known what was looked at.
    const isNew = this.#fitted.get(person.id) !== generation
    for (const { stream } of isNew ? person.streams : []) this.#unfit.add(toHex(stream))
    for (const stream of adopted) this.#unfit.add(toHex(stream))
    this.#fitted.set(person.id, generation)
    const notice = (): void => alarms.noticeForeign(person, { generation, atMs: nowMs() })
    if (behind.length > 0 || adopted.length > 0 || isBehindKeys) notice()
    const ended = await consent.endRefused(person)
    await consent.endLeft(person)
    const grants = this.#hasLooked ? await consent.adoptGrants(person, this.#isCaughtUp) : 0
    if (grants > 0) notice()
    else if (isBehindKeys && ended === 0 && this.#hasLooked) await this.#answer(person)
    await this.#renewKeys(person)
    consent.fillEnvelopes(person)
  }

  /** Changes keys that are not the current ones: at once, and then more and more rarely. */
  async #answer(person: Person): Promise<void> {
    const name = `${person.id} ${toHex(person.opKey.publicKey)}`
    if (this.#answers.isPausing(name) || person.hot.sealedRoots.length >= answeredRootsMax) return
    this.#answers.failed(name)
    await this.#deps.consent.rotate(person)
  }

  /**
   * Once the ledger turns out to be ahead of the folder: what was uploading when the copy was made must begin again. A folder cannot become an
   * older copy while its node runs: once is enough, and whoever has the op key ends no later upload by it.
   *
   * @returns false if a part of one is being taken just now: to be called again.
   */
  #endOldUploads(person: Person): boolean {
    if (this.#older.has(person.id)) return true
    const ended = person.streams.map((stream) => this.#deps.uploads.endAll(person, stream))
    if (!ended.every((isDone) => isDone)) return false
    this.#older.add(person.id)
    return true
  }

  #seal(person: Person, stream: PersonStream): void {
    if (person.state !== 'live' || !this.#hasLooked || this.#deps.consent.isOutrun(person)) return
    const { sealer, losses, switches } = this.#deps
    const name = toHex(stream.stream)
    if (this.#unfit.has(name) && losses.refit(person, stream.stream) === 0) this.#unfit.delete(name)
    losses.close(person, stream.stream)
    sealer.seal(person, stream, false)
    switches.tend(person, stream)
  }

  /** Once an hour the hot stores lose the keys of the past, which the vaults keep, and uploads that nobody goes on with end. */
  async #forget(): Promise<void> {
    const { store, consent, erasures, outbox, ledger, uploads, nowMs } = this.#deps
    if (isYetToCome(this.#forgetDueMs, { nowMs: nowMs(), lengthMs: forgetEveryMs })) return
    this.#forgetDueMs = nowMs() + forgetEveryMs
    const epoch = epochOf(nowMs() - rememberMs, ledger.epochLengthMs)
    for (const person of store.all()) {
      await consent.forget(person, epoch)
      erasures.again(person, (tx) => outbox.find(tx))
      for (const stream of person.streams) uploads.expire(person, stream)
    }
  }

  /** `register` is on the ledger: the device and the first generation follow, each once. */
  async #progressEnrolment(person: Person): Promise<void> {
    const { postings, people, consent, store, refresh } = this.#deps
    if (postings.find(person.account, person.account)?.state !== 'committed') return
    const posted = postings.of(person.account)
    const device = posted.findLast(({ what }) => what === 'device')
    if (device === undefined || this.#isOutOfTime(device)) {
      if (device !== undefined && this.#enrolments.isPausing(person.id)) return
      if (device !== undefined) this.#enrolments.failed(person.id)
      await refresh()
      people.postDevice(person)
      return
    }
    if (device.state !== 'committed') return
    const keys = posted.filter(({ what }) => what === 'key')
    if (keys.length === 0) {
      await refresh()
      await consent.begin(person)
      return
    }
    // One that was refused is signed again by the settlement.
    if (keys.some(({ state }) => state === 'committed')) store.writeState(person, 'live')
  }

  /** Refused for the clock of this node, which may be right by now; of an outbox whose file was lost it is not known why. */
  #isOutOfTime({ tx, state }: { tx: Uint8Array; state: string }): boolean {
    if (state !== 'refused') return false
    const rule = this.#deps.outbox.find(tx)?.rule
    return rule === undefined || timeRules.has(rule)
  }

  async #renewKeys(person: Person): Promise<void> {
    const { ledger, consent, nowMs } = this.#deps
    const { generation, nodes } = person.hot
    const epoch = epochOf(nowMs() + renewBeforeMs, ledger.epochLengthMs)
    // Nothing at all is reached after a month without power.
    if (person.streams.every(({ stream }) => reachesPlace(nodes, { stream, generation, epoch }))) return
    await consent.rotate(person)
  }
}
