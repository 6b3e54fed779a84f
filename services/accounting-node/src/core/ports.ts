/**
 * Everything that the commit path asks of the world. The core touches no clock, disk, network, register or queue but
 * through these, so that one seed can decide all of them. Each promise is in words; every implementation keeps it.
 */
import type { ChainName } from '@healthblock/chain/chains'

/** Time. */
export interface Clock {
  /** Unix time in ms. It may step; nothing but SEAL times and the rules about them depends on its being right. */
  nowMs(): number
  /** Ms since some moment before this process began. It never steps: patience, pauses and ages are measured by it. */
  elapsedMs(): number
  /** Resolves after `ms`, or at once when `signal` aborts. Never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

/**
 * One append-only file. One owner at a time; calls that change it are not made concurrently.
 *
 * When `append` or `replace` has resolved, the bytes survive the loss of power. When it has rejected, nobody knows: the
 * file holds the old bytes and perhaps a prefix or all of the new ones, and the owner must not use it again in this run.
 */
export interface AppendFile {
  /** Size in bytes of what is written. */
  size(): number
  /** Adds bytes at the end, durably: one sync. */
  append(bytes: Uint8Array): Promise<void>
  /** The bytes of [offset, offset + length). Synchronous: it reads what this process wrote or opened. */
  read(offset: number, length: number): Uint8Array
  /** Makes `bytes` the whole content, durably and atomically: a crash leaves the old content or the new. */
  replace(bytes: Uint8Array): Promise<void>
  /** Cuts the end off, durably. Only for what was never promised to anybody (a torn last record). */
  truncate(sizeBytes: number): Promise<void>
  close(): Promise<void>
}

/** A folder of one chain of one node. Names are paths below it with `/`. */
export interface Disk {
  /** Opens a file for appending, creating it (and its folders) if absent. */
  open(name: string): Promise<AppendFile>
  /** The whole content of a file, or undefined if there is none. */
  read(name: string): Promise<Uint8Array | undefined>
  /** Makes `bytes` the content of a file, atomically. Durable only if `durable`. */
  write(name: string, bytes: Uint8Array, options: { durable: boolean }): Promise<void>
  /** Names of the files right below a folder, ascending; empty if it is absent. */
  list(folder: string): Promise<string[]>
  /** Removes a file. Absent is no error. */
  remove(name: string): Promise<void>
}

/**
 * One value per chain in an engine that orders all calls of all nodes (linearizable). A call that rejects or times out is
 * unknown: it may have happened, may yet happen, or never. The engine may lose or roll back a value; the core notices.
 */
export interface HeadRegister {
  /** The value, or undefined if there is none. */
  read(chain: ChainName): Promise<Uint8Array | undefined>
  /** If the whole value is still `expected` (undefined: absent), makes it `next` and answers true; else answers false. Durable when true. */
  cas(chain: ChainName, expected: Uint8Array | undefined, next: Uint8Array): Promise<boolean>
}

/**
 * Micro-batches on the way to a leader, of one chain. It gives the order of proposals and nothing else: jobs may be lost,
 * repeated or reordered at any moment, and all of it wiped, without harm to more than the delay of a submission.
 */
export interface IntakeQueue {
  /**
   * Hands over one job.
   *
   * @throws {AccountingError} `ERR_QUEUE_FULL` or `ERR_QUEUE_AWAY`, within a second or two; the job may still arrive.
   */
  add(job: Uint8Array): Promise<void>
  /**
   * Takes 1 to `max` jobs in order as soon as there is one, and removes them from the queue. Answers none when `signal` aborts
   * or while the queue is away (then after a pause of its own). Only the leader calls it, never twice at once.
   */
  take(max: number, signal: AbortSignal): Promise<Uint8Array[]>
  /** Jobs that wait, as last known. */
  depth(): number
}

/** What one accounting node asks another (SPEC.md §2). */
export type PeerMethod =
  | 'stage'
  | 'collect'
  | 'decided'
  | 'cosignature'
  | 'published'
  | 'gossip'
  | 'block'
  | 'head'
  | 'trail'

/** Every method, in the order of SPEC.md §2. */
export const peerMethods: readonly PeerMethod[] = [
  'stage',
  'collect',
  'decided',
  'cosignature',
  'published',
  'gossip',
  'block',
  'head',
  'trail',
]

/** Calls to peers, of one node. A call may be lost, repeated, late or out of order, also when it rejects. */
export interface PeerNetwork {
  /** Ranks whose addresses are known, whatever the policy says: a node that is new or far behind asks them. */
  known?(): readonly number[]
  /**
   * Asks the node of `rank`; its answer proves nothing of itself.
   *
   * @throws {AccountingError} `ERR_PEER_UNREACHABLE` or `ERR_PEER_REFUSED`, after `timeoutMs` at the latest.
   */
  call(
    rank: number,
    chain: ChainName,
    method: PeerMethod,
    body: Uint8Array,
    options: { timeoutMs: number },
  ): Promise<Uint8Array>
}

/** What shows that a node did wrong, as an `evidence` transaction carries it (chain SPEC §6). */
export interface MetEvidence {
  readonly chain: ChainName
  readonly kind: number
  readonly notes: readonly Uint8Array[]
}

/** What happened, for logs and metrics. The core decides nothing by it. */
export type CoreEvent =
  | { kind: 'started'; chain: ChainName; height: number; size: number }
  | { kind: 'led'; chain: ChainName; term: number }
  | { kind: 'stepped-down'; chain: ChainName; term: number; reason: string }
  | { kind: 'decided'; chain: ChainName; height: number; size: number; transactions: number }
  | { kind: 'published'; chain: ChainName; size: number; cosigners: number }
  /** The switch to policy `k` is published: blocks after `size` are decided under it. */
  | { kind: 'policy'; chain: ChainName; k: number; size: number }
  | { kind: 'reproposed'; chain: ChainName; height: number; term: number; votes: number }
  /** A peer attested a block that nobody could show, and that the register does not name. */
  | { kind: 'claim-unproved'; chain: ChainName; peer: number; height: number }
  | { kind: 'register-rebuilt'; chain: ChainName; height: number; incarnation: number }
  | { kind: 'caught-up'; chain: ChainName; fromHeight: number; toHeight: number }
  | { kind: 'rolled-back'; chain: ChainName; size: number; sizeSigned: number }
  | { kind: 'stage-refused'; chain: ChainName; height: number; leader: number; reason: string }
  | { kind: 'dropped'; chain: ChainName; rule: string }
  | { kind: 'failed'; chain: ChainName; part: string; error: unknown }
  /** Opening a journal met a record that was whole once, and cut it off with what follows. `index`: the first leaf that it may touch. */
  | { kind: 'damaged'; chain: ChainName; file: JournalFile; index: number }
  /** A node signed two heads, or one that is not of this log. */
  | { kind: 'evidence'; chain: ChainName; evidence: MetEvidence }
  /** This core stopped for good: its disk failed in the middle of a write, or two proofs contradict each other. */
  | { kind: 'halted'; chain: ChainName; error: unknown }

/** The journals of a chain whose damage is told; paths below its folder. */
export type JournalFile = 'log/blocks' | 'staged/blocks' | 'promise'

/** Takes events as they happen. It must not throw. */
export type CoreObserver = (event: CoreEvent) => void
