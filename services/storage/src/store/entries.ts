/** What a store is asked to keep, and what it tells of what it keeps. */
import type { IncidentEntry, Reference } from './operations.ts'

/** What is asked to be stored. */
export interface PutRequest {
  digest: Uint8Array
  codec: number
  bytes: Uint8Array
  references: Reference[]
  /** From the header of a sealed payload, or of the first leaf of a file. */
  owner?: Uint8Array
  writer?: Uint8Array
  stream?: Uint8Array
  sequence?: number
  handoff?: Uint8Array[]
  /** How long the queue leaves the hand-offs to whoever asks; 0 by default. */
  handoffDelayMs?: number
  /** Recorded with the block if it was not here: it replaces a damaged copy. */
  incident?: IncidentEntry
  /** False where copies are placed or repaired between nodes. */
  enforceQuota: boolean
}

/** One line of the hand-off queue. */
export interface HandoffEntry {
  id: number
  kind: number
  digest: Uint8Array
  target: Uint8Array
  account: Uint8Array
  at: number
  attempts: number
  /** As which a block is pinned; null of anything else. */
  codec: number | null
}

/** An incident as it is recorded; `id` grows. */
export interface Incident extends IncidentEntry {
  id: number
}

/** A pin of one account. */
export interface PinEntry {
  digest: Uint8Array
  codec: number
  pin: number
}

/** What a reference says of its pin that was set or taken away after it was made. */
export interface ChangedPin {
  id: { digest: Uint8Array; codec: number }
  reference: Reference
  /** Where the next page begins. */
  place: { block: number; account: number }
}

/** Which pins are asked for. */
export type PinsListed = 'all' | 'recursive'

/** What is known of a block without reading it. */
export interface BlockStat {
  size: number
  codec: number
  /** From the header of a sealed payload, or of the first leaf of a file. */
  owner?: Uint8Array
  writer?: Uint8Array
  stream?: Uint8Array
  sequence?: number
}
