/**
 * What Docchain reads from Userchain: its state as of an anchor of size `s`, whatever came later (SPEC.md §5, §6). Only records that
 * are opened and closed by index are read here, never a head, so the answer for an anchor is the same for ever.
 */
import { byteText } from '@healthblock/encoding/bytes'
import { CommittedState, type StateReader } from './state.ts'
import {
  type AlgorithmRecord,
  type ErasedRecord,
  type GrantRecord,
  type KeyRecord,
  type LicenceRecord,
  type Lifetime,
  type PolicyRecord,
  type RulesRecord,
  userTables,
} from './tables.ts'

/** Rights of a grant, as bits. */
export const grantRights = { read: 1, diagnose: 2, write: 4, live: 8 } as const

/** In force at size `s`: opened before, and not closed before (SPEC.md §5). */
export function inForceAt(record: Lifetime, s: number): boolean {
  return record.o < s && (record.c === undefined || record.c >= s)
}

/** Of records numbered from 0 in the order in which they opened: the newest that had opened before `s`, with its number. */
function newestBefore<T extends { readonly o: number }>(
  read: (k: number) => T | undefined,
  s: number,
): { k: number; record: T } | undefined {
  const opened = (k: number) => {
    const record = read(k)
    return record !== undefined && record.o < s ? record : undefined
  }
  let found = opened(0)
  if (found === undefined) return undefined
  let low = 0
  let high = 1
  for (let next = opened(high); next !== undefined; next = opened(high)) {
    found = next
    low = high
    high *= 2
  }
  while (high - low > 1) {
    const middle = (low + high) >>> 1
    const next = opened(middle)
    if (next === undefined) high = middle
    else {
      found = next
      low = middle
    }
  }
  return { k: low, record: found }
}

/** The account's key of role `r` (`keyRoles`) in force at `s`. */
export function keyAt(userchain: StateReader, account: Uint8Array, r: number, s: number): KeyRecord | undefined {
  const newest = newestBefore((k) => userTables.key.get(userchain, account, r, k), s)
  return newest !== undefined && inForceAt(newest.record, s) ? newest.record : undefined
}

/** The doctor's licence in force at `s`, whatever its state and dates. */
export function licenceAt(userchain: StateReader, doctor: Uint8Array, s: number): LicenceRecord | undefined {
  const newest = newestBefore((k) => userTables.licence.get(userchain, doctor, k), s)
  return newest !== undefined && inForceAt(newest.record, s) ? newest.record : undefined
}

/** The policy in force at `s` and its number. */
export function policyAt(userchain: StateReader, s: number): { k: number; policy: PolicyRecord } | undefined {
  const newest = newestBefore((k) => userTables.policy.get(userchain, k), s)
  return newest !== undefined && inForceAt(newest.record, s) ? { k: newest.k, policy: newest.record } : undefined
}

/** The newest version of the rules that was on record at `s` and begins at most at Userchain's height `height`. */
export function rulesAt(userchain: StateReader, s: number, height: number): RulesRecord | undefined {
  const newest = newestBefore((k) => userTables.rules.get(userchain, k), s)
  if (newest === undefined) return undefined
  for (let { k } = newest; k >= 0; k--) {
    const record = userTables.rules.get(userchain, k)
    if (record !== undefined && record.from <= height) return record
  }
  return undefined
}

/** The algorithm, if it was registered and not withdrawn at `s`. */
export function algorithmAt(userchain: StateReader, hash: Uint8Array, s: number): AlgorithmRecord | undefined {
  const record = userTables.algorithm.get(userchain, hash)
  return record !== undefined && inForceAt(record, s) ? record : undefined
}

/** Most erasures remembered of one state. */
const erasuresRememberedMax = 65_536

/** Erasures by stream, as far as they were read, of states that are only added to. */
const erasures = new WeakMap<CommittedState, { readonly streams: Map<string, ErasedRecord[]>; count: number }>()

/** All erasures of a stream, in the order in which they were committed: none ever changes, so each is read once. */
function erasuresOf(userchain: StateReader, patient: Uint8Array, stream: Uint8Array): readonly ErasedRecord[] {
  const known = userchain instanceof CommittedState ? rememberedOf(userchain) : { streams: new Map(), count: 0 }
  const name = `${byteText(patient)}${byteText(stream)}`
  const found: ErasedRecord[] = known.streams.get(name) ?? []
  for (;;) {
    const next = userTables.erased.get(userchain, patient, stream, found.length)
    if (next === undefined) return found
    if (found.length === 0) known.streams.set(name, found)
    found.push(next)
    known.count++
  }
}

function rememberedOf(userchain: CommittedState) {
  let known = erasures.get(userchain)
  if (known === undefined || known.count > erasuresRememberedMax) {
    known = { streams: new Map(), count: 0 }
    erasures.set(userchain, known)
  }
  return known
}

/** True if a record of the range was erased at `s`. */
export function isErasedAt(
  userchain: StateReader,
  range: { readonly patient: Uint8Array; readonly stream: Uint8Array; readonly from: number; readonly to: number },
  s: number,
): boolean {
  const { patient, stream, from, to } = range
  for (const erased of erasuresOf(userchain, patient, stream)) {
    // They are numbered in the order in which they were committed.
    if (erased.o >= s) return false
    if (erased.from <= to && from <= erased.to) return true
  }
  return false
}

/** True if the licence is active at time `timeMs`. */
export function isLicenceActive(licence: LicenceRecord, timeMs: number): boolean {
  return licence.state === 1 && licence.from <= timeMs && timeMs < licence.to
}

/** A grant to a doctor, asked for as of an anchor size and a time. */
export interface LiveQuestion {
  readonly patient: Uint8Array
  readonly gid: Uint8Array
  /** An anchor: size of a Userchain SEAL boundary. */
  readonly s: number
  /** The SEAL time of the chain that judges. */
  readonly timeMs: number
}

/**
 * The grant, if it is live at (s, timeMs): in force, not expired, and its doctor registered, with an active licence whose organisation is in
 * force. It says nothing about rights.
 *
 * @see SPEC.md §6, Docchain: Live
 */
export function liveAt(userchain: StateReader, question: LiveQuestion): GrantRecord | undefined {
  const { patient, gid, s, timeMs } = question
  const grant = userTables.grant.get(userchain, patient, gid)
  if (grant === undefined || !inForceAt(grant, s) || timeMs >= grant.until) return undefined
  const account = userTables.account.get(userchain, grant.to)
  if (account === undefined || account.o >= s) return undefined
  const licence = licenceAt(userchain, grant.to, s)
  if (licence === undefined || !isLicenceActive(licence, timeMs)) return undefined
  const organisation = userTables.organisation.get(userchain, licence.org)
  return organisation !== undefined && inForceAt(organisation, s) ? grant : undefined
}
