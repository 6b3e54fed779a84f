/**
 * What a leader has read from jobs and no block holds yet. It is read as soon as it comes and verified in turns, a small piece at a time, no
 * more than the next block takes: so nobody waits behind all that somebody else has sent. While everything fits, it stays in the order in
 * which it came.
 */
import type { Transaction } from '@healthblock/chain/transaction'
import { FairQueue } from './fair-queue.ts'
import type { Owner } from './owners.ts'
import type { PooledTransaction } from './pool.ts'

/** Transactions that are verified by one call while several sponsors have some, and while one is alone. */
const pieceMaxShared = 64
const pieceMaxAlone = 1_024
/** Calls at one time: the threads are kept busy, and a newcomer waits for few. */
const piecesAtOnceMax = 2

/** One that may go into a block. */
export interface Candidate {
  readonly transaction: Transaction
  readonly owner: Owner
  readonly sinceMs: number
  /** Order of arrival. */
  readonly number: number
  /** Where the pool has it, if it was adopted from there. */
  readonly entry?: PooledTransaction
}

/** What the candidates need. */
export interface CandidatesOptions {
  /** Verifies signatures ahead; decides nothing, so it never rejects. */
  readonly verify: (transactions: readonly Transaction[]) => Promise<void>
  /** Called when some are ready. */
  readonly onReady: () => void
}

function change(counts: Map<string, number>, { owner: { sponsor } }: Candidate, by: number): void {
  const count = (counts.get(sponsor) ?? 0) + by
  if (count === 0) counts.delete(sponsor)
  else counts.set(sponsor, count)
}

/** The candidates of one leader. */
export class Candidates {
  readonly #options: CandidatesOptions
  /** Read, not yet verified. */
  readonly #read = new FairQueue<Candidate>()
  /** Verified, or known to be not good: execution says which. */
  #ready: Candidate[] = []
  /** How many of each sponsor there are, and how many of those are ready or being verified. */
  readonly #all = new Map<string, number>()
  readonly #ahead = new Map<string, number>()
  readonly #verifying = new Set<Candidate>()
  #pieces = 0
  #wanted = Number.POSITIVE_INFINITY

  constructor(options: CandidatesOptions) {
    this.#options = options
  }

  /** How many there are. */
  get count(): number {
    return this.#read.count + this.#verifying.size + this.#ready.length
  }

  /** How many may go into a block now. */
  get readyCount(): number {
    return this.#ready.length
  }

  /** Adds what was read, in order. */
  add(candidates: readonly Candidate[]): void {
    for (const candidate of candidates) {
      this.#read.add(candidate)
      change(this.#all, candidate, 1)
    }
    this.#advance()
  }

  /** The next block takes so many: as many are verified ahead, and of a sponsor that has none among them one piece in any case. */
  want(count: number): void {
    this.#wanted = count
    this.#advance()
  }

  /** Takes all that are ready. */
  take(): Candidate[] {
    const taken = this.#ready
    this.#ready = []
    for (const candidate of taken) {
      change(this.#all, candidate, -1)
      change(this.#ahead, candidate, -1)
    }
    this.#advance()
    return taken
  }

  /** Puts back what did not fit, before all others. */
  putBack(candidates: readonly Candidate[]): void {
    this.#ready = [...candidates, ...this.#ready]
    for (const candidate of candidates) {
      change(this.#all, candidate, 1)
      change(this.#ahead, candidate, 1)
    }
  }

  /** Sponsors that have something here, and how much. */
  sponsors(): Iterable<readonly [sponsor: string, count: number]> {
    return this.#all
  }

  /** Takes everything, verified or not, in order of arrival. */
  takeAll(): Candidate[] {
    const all = [...this.#ready, ...this.#verifying]
    for (let next = this.#read.take(); next !== undefined; next = this.#read.take()) all.push(next)
    this.#ready = []
    this.#verifying.clear()
    this.#all.clear()
    this.#ahead.clear()
    return all.sort((a, b) => a.number - b.number)
  }

  #advance(): void {
    while (this.#pieces < piecesAtOnceMax) {
      const piece = this.#nextPiece()
      if (piece.length === 0) return
      this.#pieces++
      for (const candidate of piece) this.#verifying.add(candidate)
      void this.#verify(piece)
    }
  }

  #nextPiece(): Candidate[] {
    const piece: Candidate[] = []
    const ahead = this.#ready.length + this.#verifying.size
    const mayGo = (sponsor: string): boolean =>
      ahead + piece.length < this.#wanted || (this.#ahead.get(sponsor) ?? 0) === 0
    const most = this.#all.size > 1 ? pieceMaxShared : pieceMaxAlone
    while (piece.length < most) {
      const next = this.#read.take(mayGo)
      if (next === undefined) break
      change(this.#ahead, next, 1)
      piece.push(next)
    }
    return piece.sort((a, b) => a.number - b.number)
  }

  async #verify(piece: readonly Candidate[]): Promise<void> {
    try {
      await this.#options.verify(piece.map(({ transaction }) => transaction))
    } finally {
      this.#pieces--
      for (const candidate of piece) if (this.#verifying.delete(candidate)) this.#ready.push(candidate)
      this.#options.onReady()
      this.#advance()
    }
  }
}
