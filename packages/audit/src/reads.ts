/**
 * Reads without a grant: what storage nodes signed for a patient of who fetched her blocks, held against the grants on record. A store that
 * keeps silent about a fetch is not noticed.
 */
import type { Ledger } from '@healthblock/chain/block'
import { grantRights } from '@healthblock/chain/live-at'
import { userTables } from '@healthblock/chain/tables'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import {
  type BlockFetch,
  parseFetchAnswer,
  parseFetchEvidence,
  readFetchEvidence,
} from '@healthblock/runtime/fetch-page'
import type { FindingList } from './report.ts'
import type { AuditedBlock } from './rules.ts'

/** How far a store's clock may be from that of the ledger's blocks. */
export const readClockMs = 60_000

/** Roles whose accounts fetch blocks as a part of their work and can open none: organisation, node, auditor, store. */
const rolesAtWork: ReadonlySet<number> = new Set([3, 4, 7, 9])
const storeRole = 9
const storeKeyRole = 2

/** What is on record of a block: a record of a patient's stream, or a doctor's entry about her. */
type Recorded = { readonly index: number; readonly height: number } & (
  | { readonly kind: 'record'; readonly stream: Uint8Array; readonly sequence: number; readonly epoch: number }
  | { readonly kind: 'entry'; readonly doctor: Uint8Array }
)

interface Fetched extends BlockFetch {
  readonly patient: Uint8Array
  readonly store: Uint8Array
}

/** A grant that a `key` transaction opened; whether it is closed, the state says. */
interface Opened {
  readonly gid: Uint8Array
  readonly to: Uint8Array
}

/** Judges fetches. Take every block, Userchain whole before Docchain; then `check`. It holds what the given pages name, and nothing else. */
export class ReadCheck {
  readonly #ledger: Ledger
  readonly #evidence: readonly Uint8Array[]
  /** Hex of the digests that the pages name: unverified, so that blocks can be taken as they come. */
  readonly #wanted = new Set<string>()
  readonly #patients = new Set<string>()
  readonly #recorded = new Map<string, Recorded>()
  readonly #opened = new Map<string, Opened[]>()

  /** @param evidence - pages, each as `encodeFetchEvidence` writes it. */
  constructor(ledger: Ledger, evidence: readonly Uint8Array[]) {
    this.#ledger = ledger
    this.#evidence = evidence
    for (const bytes of evidence) this.#want(bytes)
  }

  #want(bytes: Uint8Array): void {
    try {
      const { account, answer } = parseFetchEvidence(bytes)
      const { fetches } = parseFetchAnswer(answer)
      this.#patients.add(toHex(account))
      for (const { digest } of fetches) this.#wanted.add(toHex(digest))
    } catch (error) {
      // It is said to be forged once all blocks are there.
      if (!isRuntimeError(error, 'ERR_EVIDENCE_INVALID')) throw error
    }
  }

  /** Takes the next block. */
  block({ chain, seal, firstIndex, transactions }: AuditedBlock): void {
    if (this.#patients.size === 0) return
    for (const [position, { body }] of transactions.entries()) {
      const place = { index: firstIndex + position, height: seal.h }
      if (chain === 'docchain') {
        if (body.t !== 'diagnosis' && body.t !== 'amend') continue
        this.#note(body.cid, { kind: 'entry', ...place, doctor: body.a })
      } else if (body.t === 'iot' && this.#patients.has(toHex(body.a))) {
        for (const [stream, sequence, , epoch, , , cid] of body.r)
          this.#note(cid, { kind: 'record', ...place, stream, sequence, epoch })
      } else if (body.t === 'key' && this.#patients.has(toHex(body.a))) {
        const patient = toHex(body.a)
        const opened = body.open.map(([gid, to]) => ({ gid, to }))
        this.#opened.set(patient, [...(this.#opened.get(patient) ?? []), ...opened])
      }
    }
  }

  #note(digest: Uint8Array, recorded: Recorded): void {
    const name = toHex(digest)
    if (this.#wanted.has(name)) this.#recorded.set(name, recorded)
  }

  /** Adds a finding for each read without a grant. Returns in words what was checked, and what could not be. */
  check(findings: FindingList): string {
    if (this.#evidence.length === 0) return 'reads without a grant: no signed fetch log was given (--fetches)'
    const fetches = new Map<string, Fetched>()
    const stores = new Set<string>()
    for (const [number, bytes] of this.#evidence.entries()) {
      const page = this.#read(bytes)
      if (page === undefined) {
        const message = `page ${number} of the fetches is not what a storage node of this ledger signed`
        findings.add({ code: 'fetches.forged', index: number, message })
        continue
      }
      stores.add(toHex(page.store))
      for (const one of page.fetches) {
        fetches.set(`${toHex(page.store)} ${one.ms} ${toHex(one.account)} ${toHex(one.digest)}`, {
          ...one,
          patient: page.account,
          store: page.store,
        })
      }
    }
    let unknown = 0
    for (const fetched of fetches.values()) {
      const recorded = this.#recorded.get(toHex(fetched.digest))
      if (recorded === undefined) unknown++
      else this.#judge(fetched, recorded, findings)
    }
    const words = `${fetches.size} fetches, as ${stores.size} storage nodes signed them, were held against the grants on record; what a store left out is not noticed`
    return unknown === 0 ? words : `${words}; ${unknown} were of blocks that no entry names`
  }

  #read(bytes: Uint8Array) {
    try {
      const evidence = parseFetchEvidence(bytes)
      const place = { ledgerId: this.#ledger.ledgerId, storeKeysOf: (account: Uint8Array) => this.#keysOf(account) }
      return { account: evidence.account, ...readFetchEvidence(evidence, place) }
    } catch (error) {
      if (!isRuntimeError(error, 'ERR_EVIDENCE_INVALID')) throw error
      return undefined
    }
  }

  /** The keys that a store has had, newest first: one that was replaced signed what it signed. */
  #keysOf(account: Uint8Array): Uint8Array[] {
    const state = this.#ledger.state('userchain')
    if (userTables.account.get(state, account)?.role !== storeRole) return []
    const newest = userTables.keyHead.get(state, account, storeKeyRole) ?? -1
    const keys: Uint8Array[] = []
    for (let k = newest; k >= 0; k--) {
      const record = userTables.key.get(state, account, storeKeyRole, k)
      if (record !== undefined) keys.push(record.key)
    }
    return keys
  }

  #judge(fetched: Fetched, recorded: Recorded, findings: FindingList): void {
    const { account, patient, ms, store } = fetched
    if (equalBytes(account, patient)) return
    const role = userTables.account.get(this.#ledger.state('userchain'), account)?.role
    if (role !== undefined && rolesAtWork.has(role)) return
    if (recorded.kind === 'entry' ? equalBytes(recorded.doctor, account) : this.#isGranted(fetched, recorded)) return
    const what =
      recorded.kind === 'entry'
        ? `a diagnosis by ${toHex(recorded.doctor).slice(0, 16)}`
        : `record ${recorded.sequence} of stream ${toHex(recorded.stream)}`
    const when = new Date(ms).toISOString()
    const message = `account ${toHex(account)} fetched ${what} of patient ${toHex(patient)} at ${when}, and no grant that was in force then allows it`
    findings.add({
      code: 'read.ungranted',
      chain: recorded.kind === 'entry' ? 'docchain' : 'userchain',
      height: recorded.height,
      index: recorded.index,
      node: toHex(store),
      subject: `${toHex(account)} ${ms}`,
      message,
    })
  }

  #isGranted(
    { account, patient, ms }: Fetched,
    { stream, epoch }: Extract<Recorded, { readonly kind: 'record' }>,
  ): boolean {
    const ledger = this.#ledger
    const state = ledger.state('userchain')
    const timeOf = (index: number): number => ledger.index('userchain').boundaryAfter(index)?.ms ?? 0
    return (this.#opened.get(toHex(patient)) ?? []).some(({ gid, to }) => {
      if (!equalBytes(to, account)) return false
      const grant = userTables.grant.get(state, patient, gid)
      if (grant === undefined || (grant.rights & grantRights.read) === 0) return false
      if (!grant.streams.some((granted) => equalBytes(granted, stream))) return false
      if (epoch < grant.from || epoch > Math.floor(grant.until / ledger.epochMs)) return false
      if (ms < timeOf(grant.o) - readClockMs || ms >= grant.until + readClockMs) return false
      return grant.c === undefined || ms <= timeOf(grant.c) + readClockMs
    })
  }
}
