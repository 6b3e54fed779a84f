/**
 * Grants, rotations, revocations. The decisive moment of each is one transaction of `node.db`: new hot store, cuts,
 * signed `key` transaction. Before it nothing has happened; after it the node seals under the new generation only, and
 * the outbox gets the transaction however often the process is killed (packages/chain SPEC.md §6, design rule U).
 */
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import { cutAheadMax, generationStepMax } from '@healthblock/chain/rules'
import {
  type Cut,
  type EnvelopeEntry,
  type encodeBody,
  parseTransactionLeaf,
  signTransaction,
  type Transaction,
} from '@healthblock/chain/transaction'
import type { HeldNodes, LiveGrant } from '@healthblock/crypto/hot-store'
import { wipeNodes } from '@healthblock/crypto/key-tree'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { type OpenVault, sealRoots } from '@healthblock/crypto/vault'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { Database } from '@healthblock/runtime/sqlite'
import { UserNodeError } from '../errors.ts'
import type { UserNodeEvents } from '../events.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import type { OpStanding } from '../people/op-standing.ts'
import { consentValidityMs, type Person, type PersonStore } from '../store/person.ts'
import type { Postings } from '../store/postings.ts'
import {
  hotPart,
  isUnexpired,
  type KeyBody,
  keepEpochs,
  mergeHeld,
  newRoots,
  packEnvelopes,
  rotateHot,
  sealGrantEnvelope,
  shredHeld,
  userchainId,
} from './compose.ts'
import { adoptCuts, foreignCuts, isOutrun } from './foreign.ts'
import { ForeignGrants } from './foreign-grants.ts'
import { writeGrant } from './grant-row.ts'
import { LeftEnvelopes } from './left-envelopes.ts'
import { checkRequest, type GrantRequest } from './request.ts'
import { closesMax, isEndLeft, noteEnded, noteRecorded, unconfirmed } from './unconfirmed.ts'

/** Why a `key` transaction was made (packages/chain SPEC.md §6). */
export const reasons = { grant: 1, revoke: 2, rotate: 3, panic: 4, erase: 6 } as const

interface Parts {
  readonly generation: number
  readonly first: number
  readonly cuts: readonly Cut[]
  readonly closes: readonly Uint8Array[]
  readonly opens: KeyBody['open']
  readonly envelopes: readonly EnvelopeEntry[]
  /** For grants that are not known as committed: in transactions of their own, so that the `key` depends on none of them. */
  readonly late?: readonly EnvelopeEntry[]
  readonly why: number
}

/** What a rotation does besides. */
interface RotationExtras {
  /** Grants that get no keys any more, and are not closed. */
  readonly dropped?: readonly LiveGrant[]
  /** Grants that this node did not have. */
  readonly adopted?: readonly LiveGrant[]
  /** Becomes true together with the new keys. */
  readonly writeDown?: () => void
}

interface Dependencies {
  readonly database: Database
  readonly people: PersonStore
  readonly postings: Postings
  readonly ledger: LedgerView
  readonly standing: Pick<OpStanding, 'isOut'>
  readonly events: UserNodeEvents
  readonly nowMs: () => number
}

/** The consent of the household's people. One act of a person at a time; people do not wait for each other. */
export class Consent {
  readonly #deps: Dependencies
  readonly #queues = new Map<string, Promise<unknown>>()
  readonly #foreignGrants: ForeignGrants
  readonly #leftEnvelopes: LeftEnvelopes
  /** By person: the ledger's generation when its cuts were taken over last. */
  readonly #adoptedTo = new Map<string, number>()

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#foreignGrants = new ForeignGrants(deps)
    this.#leftEnvelopes = new LeftEnvelopes(deps)
  }

  /**
   * Grants access. The vault signs with the root key and knows the past.
   *
   * @returns The `key` transaction's id and the new grant's id.
   * @throws {UserNodeError} `ERR_DOCTOR_UNKNOWN`, `ERR_GRANT_INVALID`.
   */
  grant(person: Person, vault: OpenVault, request: GrantRequest): Promise<{ tx: Uint8Array; grantId: Uint8Array }> {
    return this.#inTurn(person, () => this.#grant(person, vault, request))
  }

  /**
   * Closes grants and rotates. Needs no vault. When it returns, the new generation is durable and in use.
   *
   * @throws {UserNodeError} `ERR_GRANT_NONE` if none of them is open.
   */
  revoke(person: Person, isClosed: (grant: LiveGrant) => boolean): Promise<{ tx: Uint8Array; changedAtMs: number }> {
    return this.#inTurn(person, async () => {
      const closing = person.hot.grants.filter(isClosed)
      if (closing.length === 0)
        throw new UserNodeError('there is no open access to end: the list of grants says what there is', {
          code: 'ERR_GRANT_NONE',
        })
      return this.#rotate(person, closing, reasons.revoke)
    })
  }

  /** A rotation to the same grantees: before the hot store's keys run out, or on request. `generation` is the new one. */
  rotate(
    person: Person,
    why: typeof reasons.rotate | typeof reasons.erase = reasons.rotate,
  ): Promise<{ tx: Uint8Array; changedAtMs: number; generation: number }> {
    return this.#inTurn(person, () => this.#rotate(person, [], why))
  }

  /**
   * Destroys the keys of a period, in the vault first and then, in one transaction with what `record` writes, in the hot
   * store. It takes its turn with grants and rotations. Nothing brings these keys back.
   *
   * @param period.generationMax - newest generation whose keys go.
   * @param save - makes the vault durable.
   * @returns what `record` gave.
   */
  shred(
    person: Person,
    vault: OpenVault,
    period: { streams: readonly Uint8Array[]; fromEpoch: number; untilEpoch: number; generationMax: number },
    save: () => void,
    record: () => Uint8Array | undefined,
  ): Promise<Uint8Array | undefined> {
    return this.#inTurn(person, async () => {
      const { database, people } = this.#deps
      const before = vault.contents
      const inVault = shredHeld(before.nodes, period)
      vault.contents = { ...before, nodes: inVault.kept }
      try {
        save()
      } catch (error) {
        // Nothing was destroyed, and what is saved next must not do it unasked.
        vault.contents = before
        throw error
      }
      const inHot = shredHeld(person.hot.nodes, period)
      const hot = { ...person.hot, nodes: inHot.kept }
      const recorded = database.transaction(() => {
        people.writeHot(person, hot)
        return record()
      })
      person.hot = hot
      for (const nodes of [...inVault.gone, ...inHot.gone]) wipeNodes(nodes)
      return recorded
    })
  }

  /** The hot store forgets the keys of epochs before `epoch`: a thief of the disk is to get the present, not the past. */
  forget(person: Person, epoch: number): Promise<void> {
    return this.#inTurn(person, async () => {
      const { database, people } = this.#deps
      const hot = { ...person.hot, nodes: keepEpochs(person.hot.nodes, { from: epoch }) }
      database.transaction(() => people.writeHot(person, hot))
      person.hot = hot
    })
  }

  /**
   * The ledger refused the transaction that opened these grants: no rotation renews them, and the keys change, since who was to put it on
   * record has had its envelopes, with those in use.
   */
  drop(person: Person, tx: Uint8Array): Promise<void> {
    return this.#inTurn(person, async () => {
      const rows = this.#deps.database.all(
        'SELECT gid FROM grants WHERE account = ? AND tx = ? LIMIT 4096',
        ...[person.account, tx],
      )
      const gone = new Set(rows.map(({ gid }) => toHex(gid as Uint8Array)))
      const dropped = person.hot.grants.filter(({ grantId }) => gone.has(toHex(grantId)))
      if (dropped.length > 0) await this.#rotate(person, [], reasons.rotate, { dropped })
    })
  }

  /**
   * Ends grants that were refused and that are on the ledger all the same: she takes them for grants that never lived. A change of keys of which that
   * is so counts as on record.
   *
   * @returns how many there were.
   */
  endRefused(person: Person): Promise<number> {
    return this.#inTurn(person, async () => {
      const { database } = this.#deps
      noteRecorded(this.#deps, person, this.#deps.nowMs())
      const alive = this.#foreignGrants.refusedAlive(person)
      if (alive.length === 0) return 0
      const writeDown = (): void => {
        for (const { tx } of alive) database.run("UPDATE consent SET state = 'committed' WHERE tx = ?", tx)
      }
      await this.#rotate(person, alive, reasons.revoke, { writeDown })
      return alive.length
    })
  }

  /** Ends grants on the ledger for which an earlier change of keys had no room. Their keys were taken away with that one. */
  endLeft(person: Person): Promise<void> {
    return this.#inTurn(person, async () => {
      if (isEndLeft(this.#deps.database, person.account, person.hot.generation))
        await this.#rotate(person, [], reasons.revoke)
    })
  }

  /** As {@link isOutrun}: nothing is sealed until these keys were changed. */
  isOutrun(person: Person): boolean {
    return isOutrun(this.#deps, person)
  }

  /**
   * Takes over cuts that the ledger has and this node does not (`foreign.ts`). Waits for nothing.
   *
   * @returns the streams that were changed: what waits of them may have to be sealed anew.
   */
  adopt(person: Person): Uint8Array[] {
    const { database, ledger } = this.#deps
    const since = this.#adoptedTo.get(person.id) ?? 1
    const changed = database.transaction(() => adoptCuts(this.#deps, person, since))
    this.#adoptedTo.set(person.id, Math.max(1, ledger.currentGeneration(person.account)))
    return changed
  }

  /**
   * Takes over grants that are open on the ledger and that this node does not know, if it is time to look for them (`foreign-grants.ts`). They
   * are listed and can be ended like the others. If there are any, the keys change, and they get the new ones, all in one durable step.
   *
   * @param isCaughtUp - true once this node had caught up with the ledger since it started.
   * @returns how many there were.
   */
  adoptGrants(person: Person, isCaughtUp: boolean): Promise<number> {
    return this.#inTurn(person, async () => {
      const look = this.#foreignGrants.look(person, isCaughtUp)
      if (look === undefined) return 0
      const { live } = look
      const writeDown = (): void => this.#foreignGrants.writeDown(person, look)
      if (live.length === 0) this.#deps.database.transaction(writeDown)
      else await this.#rotate(person, [], reasons.rotate, { adopted: live, writeDown })
      this.#foreignGrants.remember(person, look)
      return live.length
    })
  }

  /** Posts what whoever has access lacks of generations whose change of keys the ledger did not take (`left-envelopes.ts`). */
  fillEnvelopes(person: Person): void {
    this.#leftEnvelopes.fill(person)
  }

  /** A change of the person's keys is on record or refused: envelopes may be left. */
  noteSettled(person: Person): void {
    this.#leftEnvelopes.noteSettled(person)
  }

  /** Another op key is in force: from now on it signs. */
  replaceOp(person: Person, op: SigningKey): Promise<void> {
    return this.#inTurn(person, async () => {
      const { database, people } = this.#deps
      const hot = { ...person.hot, opSeed: op.exportSeed() }
      database.transaction(() => people.writeHot(person, hot))
      person.hot = hot
      person.opKey = op
    })
  }

  /** The first generation of a new account: no cut, no envelope. Its roots are in vault and hot store already. */
  begin(person: Person): Promise<Uint8Array> {
    return this.#inTurn(person, async () => {
      const { generation, first } = person.hot
      const parts: Parts = { generation, first, cuts: [], closes: [], opens: [], envelopes: [], why: reasons.rotate }
      return this.#deps.database.transaction(() => this.#record(person, parts, [])).tx
    })
  }

  /**
   * Signs the newest rotation again after it was refused (a counter overtaken, an expiry passed): the same generation and
   * envelopes, every cut and close that is not on record, a new counter. Grants are not signed again without their owner. Nothing happens
   * if another one of that generation is under way or on record, or if the ledger would refuse it again: the generation is somebody else's, or
   * the op key is not in force; then the keys change (`Household`). If so many were made without a network that the ledger does not take the
   * newest at once (too many generations, or cuts too far ahead), one between comes first: it closes and cuts all the same, and the newest
   * follows when it is on record.
   */
  reissue(person: Person): Promise<void> {
    return this.#inTurn(person, async () => {
      const { database, postings, ledger, standing, nowMs } = this.#deps
      const { grants } = person.hot
      const generation = this.#newestTaken(person)
      if (generation <= ledger.currentGeneration(person.account) || standing.isOut(person)) return
      const other = "SELECT 1 FROM consent WHERE account = ? AND generation = ? AND state IN ('pending', 'committed')"
      if (database.get(other, person.account, generation) !== undefined) return
      const row = database.get(
        "SELECT tx, body FROM consent WHERE account = ? AND generation = ? AND state = 'refused' ORDER BY changed DESC LIMIT 1",
        ...[person.account, generation],
      )
      if (row === undefined) return
      const body = decodeCbor(row.body as Uint8Array) as unknown as KeyBody
      // A generation that begins in the future, by a clock that was ahead: the next one repeats what it closed and cut.
      if (body.first > epochOf(nowMs(), ledger.epochLengthMs) + 1) {
        await this.#rotate(person, [], body.why)
        return
      }
      const followers = postings.followers(row.tx as Uint8Array).flatMap((leaf) => {
        const follower = parseTransactionLeaf(leaf).body
        return follower.t === 'envelope' ? follower.env : []
      })
      const isLive = ([gid]: EnvelopeEntry): boolean => grants.some(({ grantId }) => equalBytes(grantId, gid))
      const envelopes = generation === person.hot.generation ? [...body.env, ...followers].filter(isLive) : []
      const parts: Parts = { generation, first: body.first, cuts: [], closes: [], opens: [], envelopes, why: body.why }
      database.transaction(() => this.#record(person, parts, []))
    })
  }

  /**
   * Moves roots that the hot store sealed into the vault. Only once `save` has made the vault durable are the sealed copies given up.
   * It takes its turn with grants and rotations: what one of them adds meanwhile would be lost.
   */
  absorbRoots(person: Person, vault: OpenVault, save: () => void): Promise<void> {
    return this.#inTurn(person, async () => {
      const { database, people } = this.#deps
      const sealed = person.hot.sealedRoots
      if (sealed.length === 0) return
      let nodes = vault.contents.nodes
      for (const each of sealed) nodes = mergeHeld(nodes, await vault.openRoots(each))
      vault.contents = { ...vault.contents, nodes }
      save()
      const sealedRoots = person.hot.sealedRoots.filter((each) => !sealed.includes(each))
      const hot = { ...person.hot, sealedRoots }
      database.transaction(() => people.writeHot(person, hot))
      person.hot = hot
    })
  }

  async #inTurn<T>(person: Person, act: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(person.id) ?? Promise.resolve()
    const mine = before.then(act, act)
    this.#queues.set(
      person.id,
      mine.catch(() => {}),
    )
    return mine
  }

  async #rotate(
    person: Person,
    closing: readonly Pick<LiveGrant, 'grantId'>[],
    why: number,
    { dropped = [], adopted = [], writeDown }: RotationExtras = {},
  ): Promise<{ tx: Uint8Array; changedAtMs: number; generation: number }> {
    const { database, people, ledger, nowMs, events } = this.#deps
    const generation = Math.max(person.hot.generation, ledger.currentGeneration(person.account)) + 1
    const first = epochOf(nowMs(), ledger.epochLengthMs)
    const isHeld = ({ grantId }: LiveGrant): boolean =>
      person.hot.grants.some((grant) => equalBytes(grant.grantId, grantId))
    const grants = [...person.hot.grants, ...adopted.filter((grant) => !isHeld(grant))].filter(
      (grant) =>
        !closing.some(({ grantId }) => equalBytes(grantId, grant.grantId)) &&
        !dropped.includes(grant) &&
        isUnexpired(grant, nowMs()) &&
        // A folder restored from an older copy may hold grants that have ended since.
        !ledger.isGrantClosed(person.account, grant.grantId),
    )
    const roots = newRoots(person, ledger.ledgerId, { generation, first, grants })
    const sealedRoots = await sealRoots({ vaultKey: person.hot.vaultKey, roots })
    const envelopes: EnvelopeEntry[] = []
    const late: EnvelopeEntry[] = []
    for (const grant of grants) {
      const entry = await sealGrantEnvelope(this.#envelopeRequest(person, grant, { generation, first, nodes: roots }))
      // A rotation never waits for an older grant: its higher counter voids one that is not on record yet.
      if (entry !== undefined) (this.#isRecorded(person, grant) ? envelopes : late).push(entry)
    }
    const hot = rotateHot(person.hot, {
      generation,
      first,
      nodes: hotPart(roots, first, ledger.epochLengthMs),
      grants,
      sealedRoots,
    })
    // From here to the end of the transaction nothing waits, so no batch is sealed between the cut and the switch.
    const changedAtMs = nowMs()
    const { tx } = database.transaction(() => {
      const cuts = this.#cutsAt(person)
      const closes = closing.map(({ grantId }) => grantId)
      const recorded = this.#record(person, { generation, first, cuts, closes, opens: [], envelopes, late, why }, [])
      const { closed } = recorded
      noteEnded(database, person.account, { generation, atMs: changedAtMs, ending: closes, closed })
      writeDown?.()
      people.writeHot(person, hot)
      return recorded
    })
    person.hot = hot
    for (const { nodes } of roots) for (const node of nodes) node.key.fill(0)
    if (closing.length > 0)
      events.emit({
        type: 'revocation',
        account: person.id,
        atMs: changedAtMs,
        transaction: toHex(tx),
        step: 'changed',
      })
    return { tx, changedAtMs, generation }
  }

  /** The newest of this node's generations that the ledger takes now, or once records of its current generation are there. */
  #newestTaken(person: Person): number {
    const { database, ledger } = this.#deps
    const current = ledger.currentGeneration(person.account)
    let newest = Math.min(person.hot.generation, current + generationStepMax)
    for (const { stream } of person.streams) {
      const recorded = ledger.lastRecord(person.account, stream).sequence
      const taken = Math.max(
        recorded + cutAheadMax,
        ledger.cutOf(person.account, stream, Math.max(0, current - 1)) ?? 0,
      )
      const row = database.get(
        'SELECT min(generation) AS cut FROM cut WHERE account = ? AND stream = ? AND generation >= ? AND last > ?',
        ...[person.account, stream, current, taken],
      )
      // A key of one generation more would bring that cut.
      if (row?.cut != null) newest = Math.min(newest, Math.max(current + 1, Number(row.cut)))
    }
    return newest
  }

  #isRecorded(person: Person, { grantId }: LiveGrant): boolean {
    return this.#deps.ledger.isGrantRecorded(person.account, grantId)
  }

  /** The cut of the generation that is about to end, written down, for every open data stream. */
  #cutsAt(person: Person): Cut[] {
    const { database, ledger } = this.#deps
    // Ahead of this node only if its folder was restored from an older copy.
    const generation = Math.max(person.hot.generation, ledger.currentGeneration(person.account))
    return person.streams.map(({ stream }): Cut => {
      const row = database.get('SELECT sequence FROM stream WHERE account = ? AND stream = ?', person.account, stream)
      const recorded = ledger.lastRecord(person.account, stream).sequence
      const before = ledger.cutOf(person.account, stream, generation - 1) ?? 0
      const last = Math.max(Number(row?.sequence ?? 0), recorded, before)
      database.run(
        'INSERT INTO cut (account, stream, generation, last) VALUES (?, ?, ?, ?)',
        person.account,
        stream,
        generation,
        last,
      )
      return [stream, generation, last]
    })
  }

  async #grant(
    person: Person,
    vault: OpenVault,
    request: GrantRequest,
  ): Promise<{ tx: Uint8Array; grantId: Uint8Array }> {
    const { database, people, ledger, nowMs } = this.#deps
    const grant = checkRequest(person, request, this.#deps)
    const { generation, first } = person.hot
    const diagnosisStream = diagnosisStreamId({
      ledgerId: ledger.ledgerId,
      patient: person.account,
      doctor: grant.recipient,
    })
    let nodes = vault.contents.nodes
    const isKnown = nodes.some((held) => held.generation === generation && equalBytes(held.stream, diagnosisStream))
    const fresh: HeldNodes[] = isKnown
      ? []
      : newRoots({ ...person, streams: [] }, ledger.ledgerId, { generation, first, grants: [grant] })
    nodes = mergeHeld(nodes, fresh)
    const envelopes = await this.#envelopesOfHistory(person, grant, nodes)
    const open: KeyBody['open'][number] = [
      grant.grantId,
      grant.recipient,
      request.streams,
      grant.from,
      grant.until,
      grant.rights,
      request.purpose ?? 0,
    ]
    const hot = {
      ...person.hot,
      nodes: mergeHeld(person.hot.nodes, hotPart(fresh, epochOf(nowMs(), ledger.epochLengthMs), ledger.epochLengthMs)),
      grants: [...person.hot.grants, grant],
      sealedRoots:
        fresh.length === 0
          ? person.hot.sealedRoots
          : [...person.hot.sealedRoots, await sealRoots({ vaultKey: person.hot.vaultKey, roots: fresh })],
    }
    const root = signingKeyFromSeed(vault.contents.rootSeed)
    const { tx } = database.transaction(() => {
      const parts: Parts = { generation, first, cuts: [], closes: [], opens: [open], envelopes, why: reasons.grant }
      const recorded = this.#record(person, parts, [root])
      writeGrant(database, person.account, {
        ...{ ...grant, streams: request.streams, purpose: request.purpose ?? 0 },
        ...{ openedAtMs: nowMs(), tx: recorded.tx },
      })
      people.writeHot(person, hot)
      return recorded
    })
    person.hot = hot
    vault.contents = { ...vault.contents, nodes }
    return { tx, grantId: grant.grantId }
  }

  async #envelopesOfHistory(person: Person, grant: LiveGrant, nodes: readonly HeldNodes[]): Promise<EnvelopeEntry[]> {
    const firsts = new Map<number, number>()
    for (const held of nodes) firsts.set(held.generation, held.first)
    const generations = [...firsts.keys()].sort((a, b) => a - b)
    const entries: EnvelopeEntry[] = []
    for (const [position, generation] of generations.entries()) {
      const first = firsts.get(generation) as number
      const next = generations[position + 1]
      // The hour in which the keys changed holds records of both generations.
      const endEpoch = next === undefined ? undefined : (firsts.get(next) as number) + 1
      const entry = await sealGrantEnvelope({
        ...this.#envelopeRequest(person, grant, { generation, first, nodes }),
        endEpoch,
      })
      if (entry !== undefined) entries.push(entry)
    }
    return entries
  }

  #envelopeRequest(
    person: Person,
    grant: LiveGrant,
    place: { generation: number; first: number; nodes: readonly HeldNodes[] },
  ) {
    const { database, ledger } = this.#deps
    return {
      person,
      ledgerId: ledger.ledgerId,
      epochLengthMs: ledger.epochLengthMs,
      grant,
      ...place,
      endEpoch: undefined,
      classOf: (stream: Uint8Array): number => {
        const row = database.get(
          'SELECT class, classgen FROM stream WHERE account = ? AND stream = ?',
          person.account,
          stream,
        )
        return row !== undefined && Number(row.classgen) === place.generation ? Number(row.class) : 0
      },
    }
  }

  /** Signs a `key` (and the `envelope`s that do not fit into it) and writes them down. Inside the caller's transaction. */
  #record(
    person: Person,
    parts: Parts,
    roots: readonly SigningKey[],
  ): { tx: Uint8Array; closed: readonly Uint8Array[] } {
    const { database, people, ledger, nowMs } = this.#deps
    const seen = ledger.seen()
    if (seen === undefined) {
      throw new UserNodeError('the ledger has not been seen yet: try again when the network is there', {
        code: 'ERR_PERSON_PENDING',
        person: person.name,
      })
    }
    const newest = person.hot.generation
    const pending = unconfirmed(this.#deps, person.account, { generation: parts.generation, newest })
    const n = people.nextCounter(person, { nowMs: nowMs(), recorded: ledger.lastCounter(person.account) })
    const { first, rest } = packEnvelopes(parts.envelopes)
    const body: KeyBody = {
      v: 1,
      t: 'key',
      a: person.account,
      n,
      x: nowMs() + consentValidityMs,
      gen: parts.generation,
      first: parts.first,
      cut: [...pending.cuts, ...foreignCuts(this.#deps, person, parts.generation)],
      // What finds no room is left to the next one, which takes it once this one is on record (`endLeft`).
      close: uniqueIds([...pending.closes, ...parts.closes]).slice(0, closesMax),
      open: parts.opens,
      env: first,
      why: parts.why,
      seen,
    }
    const transaction = this.#sign(person, body, roots)
    const tx = userchainId(ledger.ledgerId, transaction.bodyBytes)
    this.#post(person, 'key', tx, transaction, undefined)
    const late = (parts.late ?? []).map((entry) => [entry])
    for (const env of [...rest, ...late]) {
      const envelope = this.#sign(person, { v: 1, t: 'envelope', a: person.account, key: tx, env }, [])
      this.#post(person, 'envelope', userchainId(ledger.ledgerId, envelope.bodyBytes), envelope, tx)
    }
    database.run(
      "INSERT INTO consent (tx, account, generation, opens, closes, body, state, changed) VALUES (?, ?, ?, ?, ?, ?, 'pending', ?)",
      ...[tx, person.account, parts.generation, parts.opens.length, body.close.length, transaction.bodyBytes, nowMs()],
    )
    return { tx, closed: body.close }
  }

  #sign(person: Person, body: Parameters<typeof encodeBody>[0], roots: readonly SigningKey[]): Transaction {
    return signTransaction({
      ledgerId: this.#deps.ledger.ledgerId,
      chain: 'userchain',
      body,
      signers: [
        { account: person.account, key: 1, signingKey: person.opKey },
        ...roots.map((signingKey) => ({ account: person.account, key: 0, signingKey })),
      ],
    })
  }

  #post(
    person: Person,
    what: 'key' | 'envelope',
    tx: Uint8Array,
    transaction: Transaction,
    requires: Uint8Array | undefined,
  ): void {
    this.#deps.postings.add({ tx, account: person.account, what, leaf: transaction.leaf, requires }, this.#deps.nowMs())
  }
}

function uniqueIds(ids: readonly Uint8Array[]): Uint8Array[] {
  return ids.filter((id, position) => ids.findIndex((other) => equalBytes(other, id)) === position)
}
