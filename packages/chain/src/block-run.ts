/** A block under way: transactions are judged and executed one after the other on an overlay, and nothing else changes. */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { GrantClose, PlacedTransaction, SizeAndRoot, Verdict } from './block-types.ts'
import type { DocchainContext, Effects } from './contracts/context.ts'
import { judgeDocchain, judgeUserchain, misplaced } from './contracts/judge.ts'
import type { LogIndex, LogIndexChanges } from './log-index.ts'
import type { PreparedTransaction } from './preparation.ts'
import type { SignatureCache } from './signature-cache.ts'
import { byteText, type StateChange, StateOverlay, type StateReader } from './state.ts'
import {
  type ChainName,
  rulePrefix,
  signingMessage,
  type Transaction,
  type TransactionSignature,
  transactionId,
} from './transaction.ts'

/** Where and when a block runs. */
export interface RunPlace {
  readonly chain: ChainName
  readonly ledgerId: Uint8Array
  /** Length of an epoch. */
  readonly epochMs: number
  readonly firstIndex: number
  readonly height: number
  /** Version of the rules in force. */
  readonly rules: number
  readonly genesisOrganisations: readonly Uint8Array[]
  /** T, the time of the SEAL. */
  readonly timeMs: number
  /** This chain's committed state and index. */
  readonly state: StateReader
  readonly log: LogIndex
  /** Docchain alone: the anchor, and Userchain's committed state and index. */
  readonly docchain?: { readonly anchor: SizeAndRoot; readonly state: StateReader; readonly log: LogIndex }
}

/** Executes transactions at ascending indices. Its owner makes a new one for each block. */
export class BlockRun {
  readonly place: RunPlace
  readonly transactions: PlacedTransaction[] = []
  readonly closes: GrantClose[] = []
  readonly records: LogIndexChanges['records'][number][] = []
  wakes = false
  readonly #state: StateOverlay
  readonly #signatures: SignatureCache
  readonly #indices = new Map<string, number>()

  constructor(place: RunPlace, signatures: SignatureCache) {
    this.place = place
    this.#state = new StateOverlay(place.state)
    this.#signatures = signatures
  }

  /**
   * Judges a transaction at the next index. If it is valid its effects are kept and the index is taken; else nothing changes.
   *
   * @param prepared - What is known of this very transaction.
   */
  execute(transaction: Transaction, prepared?: PreparedTransaction): Verdict {
    const { place } = this
    const wrongPlace = misplaced(transaction, place.chain)
    if (wrongPlace !== undefined) return wrongPlace
    const { bodyBytes } = transaction
    const id = prepared?.id ?? transactionId({ ledgerId: place.ledgerId, chain: place.chain, bodyBytes })
    const idText = byteText(id)
    const committed = this.#indices.get(idText) ?? place.log.find(id)
    if (committed !== undefined) {
      return { verdict: 'refused', rule: `${rulePrefix(transaction.body.t)}.duplicate`, index: committed }
    }
    const index = place.firstIndex + this.transactions.length
    const state = new StateOverlay(this.#state)
    const effects: Effects = { closes: [], records: [], wakes: false }
    const verdict = this.#judge(transaction, { id, index, state, effects, prepared })
    if (verdict.verdict !== 'valid') return verdict
    this.#state.absorb(state)
    this.#indices.set(idText, index)
    this.transactions.push({ transaction, id, index })
    this.closes.push(...effects.closes)
    this.records.push(...effects.records)
    this.wakes ||= effects.wakes
    return verdict
  }

  /** Everything that the executed transactions set. */
  changes(): Iterable<StateChange> {
    return this.#state.changes()
  }

  #judge(
    transaction: Transaction,
    own: {
      id: Uint8Array
      index: number
      state: StateOverlay
      effects: Effects
      prepared: PreparedTransaction | undefined
    },
  ): Verdict {
    const { chain, ledgerId, epochMs, timeMs, log, docchain, firstIndex, height, rules } = this.place
    const message = () => signingMessage({ ledgerId, chain, bodyBytes: transaction.bodyBytes })
    const context = {
      ...{ chain, ledgerId, epochMs, firstIndex, height, rules },
      genesisOrganisations: this.place.genesisOrganisations,
      index: own.index,
      timeMs,
      transactionId: own.id,
      state: own.state,
      log,
      effects: own.effects,
      isGoodSignature: (one: TransactionSignature, publicKey: Uint8Array) => {
        const known = own.prepared?.goodUnder[transaction.signatures.indexOf(one)]
        if (known !== undefined && equalBytes(known, publicKey)) return true
        return this.#signatures.isGood({ id: own.id, publicKey, signature: one.signature, message })
      },
    }
    if (docchain === undefined) return judgeUserchain(transaction, context)
    const userchain = { state: docchain.state, log: docchain.log }
    return judgeDocchain(transaction, { ...context, anchor: docchain.anchor, userchain } satisfies DocchainContext)
  }
}
