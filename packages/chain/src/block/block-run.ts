/** A block under way: transactions are judged and executed one after the other on an overlay, and nothing else changes. */
import { byteText, equalBytes } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { type DocchainContext, type Effects, type RuleContext, signedByOp, valid } from '../contracts/context.ts'
import { judgeDocchain, judgeUserchain, misplaced } from '../contracts/judge.ts'
import { screenRegister } from '../contracts/registry.ts'
import type { LogIndex, LogIndexChanges } from '../state/log-index.ts'
import { type StateChange, StateOverlay, type StateReader } from '../state/state.ts'
import type { SignatureCache } from '../transaction/signature-cache.ts'
import {
  idOf,
  rulePrefix,
  signingMessage,
  type Transaction,
  type TransactionSignature,
} from '../transaction/transaction.ts'
import type { GrantClose, PlacedTransaction, SizeAndRoot, Verdict } from './block-types.ts'
import type { PreparedTransaction } from './preparation.ts'

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
    const id = prepared?.id ?? idOf(transaction, this.place.ledgerId, this.place.chain)
    const name = byteText(id)
    const failed = this.#isOutOfPlace(transaction, id, name)
    if (failed !== undefined) return failed
    const index = this.place.firstIndex + this.transactions.length
    const effects: Effects = { closes: [], records: [], wakes: false }
    this.#state.begin()
    const verdict = judge(transaction, this.#context(transaction, { id, index, effects, prepared }))
    if (verdict.verdict !== 'valid') {
      this.#state.undo()
      return verdict
    }
    this.#indices.set(name, index)
    this.transactions.push({ transaction, id, index })
    this.closes.push(...effects.closes)
    this.records.push(...effects.records)
    this.wakes ||= effects.wakes
    return verdict
  }

  /**
   * Judges a transaction at the next index and keeps nothing. Of an `iot` only what no other transaction can heal is tried: place,
   * duplicate, signature. Of a `register` the KEM key is looked at last.
   */
  screen(transaction: Transaction): Verdict {
    const id = idOf(transaction, this.place.ledgerId, this.place.chain)
    const failed = this.#isOutOfPlace(transaction, id, this.#indices.size === 0 ? undefined : byteText(id))
    if (failed !== undefined) return failed
    const effects: Effects = { closes: [], records: [], wakes: false }
    const index = this.place.firstIndex + this.transactions.length
    const context = this.#context(transaction, { id, index, effects })
    const { body } = transaction
    if (body.t === 'iot') return signedByOp({ ...transaction, body }, context) ?? valid
    this.#state.begin()
    const verdict =
      body.t === 'register' ? screenRegister({ ...transaction, body }, context) : judge(transaction, context)
    this.#state.undo()
    return verdict
  }

  /** Everything that the executed transactions set. */
  changes(): Iterable<StateChange> {
    return this.#state.changes()
  }

  /** `name`: the id's text; undefined while nothing was executed here. */
  #isOutOfPlace(transaction: Transaction, id: Uint8Array, name: string | undefined): Verdict | undefined {
    const wrongPlace = misplaced(transaction, this.place.chain)
    if (wrongPlace !== undefined) return wrongPlace
    const index = (name === undefined ? undefined : this.#indices.get(name)) ?? this.place.log.find(id)
    if (index === undefined) return undefined
    return { verdict: 'refused', rule: `${rulePrefix(transaction.body.t)}.duplicate`, index }
  }

  #context(
    { bodyBytes, signatures }: Transaction,
    own: { id: Uint8Array; index: number; effects: Effects; prepared?: PreparedTransaction | undefined },
  ): RuleContext | DocchainContext {
    const { chain, ledgerId, epochMs, timeMs, log, docchain, firstIndex, height, rules } = this.place
    const message = () => signingMessage({ ledgerId, chain, bodyBytes })
    const context: RuleContext = {
      chain,
      ledgerId,
      epochMs,
      firstIndex,
      height,
      rules,
      genesisOrganisations: this.place.genesisOrganisations,
      index: own.index,
      timeMs,
      transactionId: own.id,
      state: this.#state,
      log,
      effects: own.effects,
      isGoodSignature: (one: TransactionSignature, publicKey: Uint8Array) => {
        const known = own.prepared?.goodUnder[signatures.indexOf(one)]
        if (known !== undefined && equalBytes(known, publicKey)) return true
        return this.#signatures.isGood({ id: own.id, publicKey, signature: one.signature, message })
      },
    }
    if (docchain === undefined) return context
    return { ...context, anchor: docchain.anchor, userchain: { state: docchain.state, log: docchain.log } }
  }
}

function judge(transaction: Transaction, context: RuleContext | DocchainContext): Verdict {
  return 'anchor' in context ? judgeDocchain(transaction, context) : judgeUserchain(transaction, context)
}
