/** Every change to a node's tables, as messages from the service's thread to the writer's. */

/** When an account's pins of a block were last set, by kind, and last taken away; Unix ms, 0 for never. */
export interface PinStamps {
  direct: number
  recursive: number
  removed: number
}

/** Somebody's claim on a block: it is kept while one exists. */
export interface Reference {
  /** 32-byte account. */
  account: Uint8Array
  /** When the claim was made, Unix ms; older claims than a release do not come back. */
  at: number
  /** When the account last said so again, by a put or otherwise, if it did since; a pin's times say it, too. */
  again?: number
  /** 0 no pin, 1 direct, 2 recursive. */
  pin: number
  /** Of one that was pinned or unpinned since; without it a pin is as old as the claim. */
  pins?: PinStamps
}

/** What the hand-off queue does at another node: the last four are an account's pins, and its claim without one. */
export const handoffKinds = { place: 1, release: 2, word: 3, refer: 4, direct: 5, recursive: 6, unpin: 7 } as const

/** Kinds of incidents: what was seen. */
export type IncidentKind = 'block-corrupt' | 'block-healed' | 'peer-served-wrong-bytes' | 'copy-not-proved'

/** One thing that the operator must know, as it is recorded. */
export interface IncidentEntry {
  at: number
  kind: IncidentKind
  digest: Uint8Array
  /** Store account of the node that is at fault, as far as known. */
  node: Uint8Array
  /** Store account of the node that served a good copy instead, if one did. */
  servedBy?: Uint8Array
}

/** Stores a block, or adds references to one that is there. */
export interface PutOperation {
  kind: 'put'
  digest: Uint8Array
  codec: number
  /** Empty where the bytes are kept elsewhere (`isExternal`). */
  bytes: Uint8Array
  size: number
  isExternal: boolean
  references: Reference[]
  /** From the block's own header if it is a sealed payload, or from its first leaf's if it is a node of a file. */
  owner?: Uint8Array
  writer?: Uint8Array
  stream?: Uint8Array
  sequence?: number
  /** Store accounts to which the block is still to be handed, and how long the queue waits before it does. */
  handoff: Uint8Array[]
  handoffDelayMs: number
  /** Recorded with the block if it was not here: it replaces a damaged copy. */
  incident?: IncidentEntry
  /** Bytes that one account may reference here; undefined where copies are placed or repaired, which no quota stops. */
  accountBytesMax?: number
  /** Bytes of all blocks of this node. */
  bytesMax: number
  now: number
}

/** An entry for the hand-off queue. */
export interface HandoffRequest {
  /** One of {@link handoffKinds}. */
  handoffKind: number
  digest: Uint8Array
  /** Store account that shall do it. */
  target: Uint8Array
  /** Whose reference is released, or pinned; zeros for a copy. */
  account: Uint8Array
  /** As which a block is pinned. */
  codec?: number
  /** When it was asked for, Unix ms: a release takes nothing that was put later. */
  at: number
  now: number
}

/** The word of an owner that a block is to go. */
export interface TombstoneEntry {
  digest: Uint8Array
  /** 32-byte account. */
  owner: Uint8Array
  /** When it was asked for, and when the bytes go, Unix ms. */
  at: number
  removeAt: number
  /** Of a block of a file that is erased: the digest of the file's root, and who wrote the file. */
  root?: Uint8Array
  writer?: Uint8Array
}

/** What another store says lies below the root of a file that is erased. */
export interface BelowEntry {
  digest: Uint8Array
  root: Uint8Array
  /** Whose the file is; earlier versions do not say it. */
  owner?: Uint8Array
  /** Who wrote it, from a store that has walked the file and does not keep the block; one that has it erased there says none. */
  writer?: Uint8Array
  /** When the root was erased, Unix ms; earlier versions do not say it. */
  at?: number
}

/** What one store tells another of an erasure, as it is kept (SPEC.md §3a). */
export interface WordEntry {
  digest: Uint8Array
  /** Whose word it is: for a file that Userchain erased its owner's. */
  account: Uint8Array
  at: number
  bytes: Uint8Array
}

/** Records of one stream that their owner erased, as Userchain has it. */
export interface ErasedRange {
  owner: Uint8Array
  stream: Uint8Array
  /** Sequences, both included. */
  first: number
  last: number
  at: number
  removeAt: number
}

/**
 * A reference that a request made which is taken back: only if no other word of the account is known of it.
 */
export interface Retraction {
  account: Uint8Array
  /** Of the request's last put of the block, Unix ms. */
  at: number
  /** Of the first one, be it of an earlier request that left it to this one. */
  since?: number
  /** When the request pinned the block. */
  pinnedAt?: number
}

/** All operations. */
export type Operation =
  | PutOperation
  | { kind: 'release'; digest: Uint8Array; account: Uint8Array; at: number; force: boolean }
  | ({ kind: 'retract'; digest: Uint8Array; now: number } & Retraction)
  | { kind: 'word'; word: WordEntry; targets: Uint8Array[]; now: number }
  | { kind: 'pin'; digest: Uint8Array; reference: Reference; codec: number; accountBytesMax?: number }
  | { kind: 'unpin'; digest: Uint8Array; account: Uint8Array; at: number }
  | { kind: 'tombstones'; entries: TombstoneEntry[]; word?: WordEntry; targets: Uint8Array[]; now: number }
  | { kind: 'vouch'; store: Uint8Array; entries: BelowEntry[]; storesNeeded: number; delayMs: number }
  | { kind: 'erase-range'; range: ErasedRange }
  | { kind: 'sweep'; now: number; releasesBefore: number; unheardMax: number }
  | { kind: 'removed'; digests: Uint8Array[] }
  | { kind: 'cursor'; name: string; value: Uint8Array }
  | { kind: 'checkpoint' }
  | { kind: 'quarantine'; digest: Uint8Array; incident: IncidentEntry }
  | { kind: 'incident'; incident: IncidentEntry }
  | ({ kind: 'handoff' } & HandoffRequest)
  | { kind: 'handoff-done'; entries: { id: number; at: number }[] }
  | { kind: 'copies-settled'; copies: { digest: Uint8Array; target: Uint8Array }[]; dueAt?: number }
  | { kind: 'handoff-retry'; id: number; nextAt: number }
  | { kind: 'handoff-wake'; target: Uint8Array; now: number }

const removeNothing: ReadonlySet<Operation['kind']> = new Set([
  ...(['put', 'pin', 'unpin', 'handoff', 'handoff-done', 'copies-settled', 'handoff-retry', 'handoff-wake'] as const),
])

/** True for a change after which no block's bytes are overwritten: its commit may be synced together with later ones. */
export function removesNothing({ kind }: Operation): boolean {
  return removeNothing.has(kind)
}

/** Why an operation was refused; nothing was changed. */
export type RefusalCode =
  | 'ERR_BLOCK_ERASED'
  | 'ERR_BLOCK_NOT_FOUND'
  | 'ERR_BLOCK_PINNED'
  | 'ERR_BLOCK_RELEASED'
  | 'ERR_BLOCK_SEALED'
  | 'ERR_NOT_PINNED'
  | 'ERR_QUOTA_EXCEEDED'
  | 'ERR_STORE_FULL'
  | 'ERR_STORE_FAILED'

/** What an operation did: `changed` says whether anything is different now, `deleted` whether a block went. */
export type Outcome = { ok: true; changed: boolean; deleted: number } | { ok: false; code: RefusalCode }
