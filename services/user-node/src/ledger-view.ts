import type { LogHead } from '@healthblock/chain/transaction'

/** What the patient's node reads from its own verified copy of Userchain before it lets anybody have keys. */
export interface LedgerView {
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  readonly epochLengthMs: number
  /** Newest SEAL boundary that this node has verified; undefined before the first. */
  seen(): LogHead | undefined
  /** A registered account with its KEM key in force; undefined if there is none. */
  account(account: Uint8Array): RegisteredAccount | undefined
  /** The role of a registered account (packages/chain SPEC.md §6); undefined if there is none. */
  roleOf(account: Uint8Array): number | undefined
  /** The patient's current generation on the ledger; 0 before the first. */
  currentGeneration(patient: Uint8Array): number
  /** The transaction that opened a generation on the ledger; undefined if none has. */
  openedBy(patient: Uint8Array, generation: number): Uint8Array | undefined
  /** The op key in force of an account, 32 bytes; undefined if there is none. */
  opKey(account: Uint8Array): Uint8Array | undefined
  /** The patient's open streams with the device that each came with and the generation in which it began, whichever node opened them; at most 16. */
  openStreams(patient: Uint8Array): { stream: Uint8Array; device: Uint8Array; generation: number }[]
  /** A device of the patient, in force or removed; undefined if there never was one. */
  device(patient: Uint8Array, device: Uint8Array): { addedAtMs: number; isRemoved: boolean } | undefined
  /** Version of the rules in Userchain's next block. */
  rules(): number
  /** The last sequence of a stream's generation, as a cut on the ledger has it; undefined if none has. */
  cutOf(patient: Uint8Array, stream: Uint8Array, generation: number): number | undefined
  /** The patient's last consent counter on the ledger; 0 before the first. */
  lastCounter(patient: Uint8Array): number
  /** True if the grant is on the ledger and has ended there. */
  isGrantClosed(patient: Uint8Array, grantId: Uint8Array): boolean
  /** When the grant came on the ledger, Unix ms of its block: from then on it is in force; undefined if it has not. */
  grantRecordedAtMs(patient: Uint8Array, grantId: Uint8Array): number | undefined
  /** When the grant ended on the ledger, Unix ms of its block; undefined if it has not. */
  grantClosedAtMs(patient: Uint8Array, grantId: Uint8Array): number | undefined
  /** True if the grant is, or was, on the ledger. */
  isGrantRecorded(patient: Uint8Array, grantId: Uint8Array): boolean
  /** True if the ledger has an envelope of the grant with the keys of a generation. */
  hasEnvelope(patient: Uint8Array, grantId: Uint8Array, generation: number): boolean
  /** The patient's grants that have not been closed on the ledger. The whole state is read: for rare questions. */
  openGrants(patient: Uint8Array): GrantOnRecord[]
  /** Sequence and epoch of the newest record of a stream on the ledger; zeros before the first. */
  lastRecord(patient: Uint8Array, stream: Uint8Array): { sequence: number; epoch: number }
  /** Bytes of each block of a stream in a generation, as its first record fixed it; undefined before that. */
  blockSize(patient: Uint8Array, stream: Uint8Array, generation: number): number | undefined
}

/** A grant as Userchain has it. */
export interface GrantOnRecord {
  readonly grantId: Uint8Array
  readonly recipient: Uint8Array
  /** Data streams, 8 bytes each. */
  readonly streams: readonly Uint8Array[]
  /** First epoch of the window. */
  readonly from: number
  /** Unix ms; 2^53 - 1 = never. */
  readonly until: number
  readonly rights: number
  readonly purpose: number
  /** Unix ms of its block. */
  readonly openedAtMs: number
}

/** An account as Userchain has it. */
export interface RegisteredAccount {
  /** SPEC.md §6 of packages/chain, `register`. */
  readonly role: number
  readonly suite: number
  /** 1,216 bytes. */
  readonly kemKey: Uint8Array
  /** For a doctor: a licence in force with state active, now. */
  readonly isLicensed: boolean
}

/** The epoch of a moment. */
export function epochOf(ms: number, epochLengthMs: number): number {
  return Math.floor(ms / epochLengthMs)
}
