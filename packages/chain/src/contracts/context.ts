/** What every contract is given, what it leaves behind, and the checks that several share (SPEC.md §6). */
import { sha256 } from '@healthblock/crypto/hash'
import { parseVerifyingKey } from '@healthblock/crypto/signature'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { GrantClose, SizeAndRoot, Verdict } from '../block/block-types.ts'
import type { ChainName } from '../chains.ts'
import { keyAt } from '../state/live-at.ts'
import type { LogIndex, LogIndexChanges } from '../state/log-index.ts'
import { consentAheadMsMax } from '../state/rules.ts'
import type { StateOverlay, StateReader } from '../state/state.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import type { BodyOf, Transaction, TransactionSignature, TransactionType } from '../transaction/transaction.ts'

/** Checks one signature of the transaction under judgement; false if it is not good. */
export type SignatureCheck = (signature: TransactionSignature, publicKey: Uint8Array) => boolean

/** What a transaction does besides setting records. Thrown away with its overlay unless the verdict is valid. */
export interface Effects {
  readonly closes: GrantClose[]
  readonly records: LogIndexChanges['records'][number][]
  wakes: boolean
}

/** Where a transaction is judged. */
export interface RuleContext {
  /** Length of an epoch. */
  readonly epochMs: number
  /** The transaction's own index, i. */
  readonly index: number
  /** Index of the block's first leaf, and its height. */
  readonly firstIndex: number
  readonly height: number
  /** Version of the rules in force in this block. */
  readonly rules: number
  readonly chain: ChainName
  readonly ledgerId: Uint8Array
  /** Accounts of genesis' organisations. */
  readonly genesisOrganisations: readonly Uint8Array[]
  /** T, the time of the block's SEAL. */
  readonly timeMs: number
  readonly transactionId: Uint8Array
  /** This transaction's own overlay over the chain's state. */
  readonly state: StateOverlay
  /** Index of this chain's committed blocks. */
  readonly log: LogIndex
  readonly isGoodSignature: SignatureCheck
  readonly effects: Effects
}

/** Docchain's transactions see Userchain as of the block's anchor. */
export interface DocchainContext extends RuleContext {
  readonly anchor: SizeAndRoot
  readonly userchain: { readonly state: StateReader; readonly log: LogIndex }
}

/** A transaction whose body is of type T. */
export type TransactionOf<T extends TransactionType> = Omit<Transaction, 'body'> & { readonly body: BodyOf<T> }

/** The transaction holds. */
export const valid: Verdict = { verdict: 'valid' }

/** A refusal by a rule. */
export function refuse(rule: string): Verdict {
  return { verdict: 'refused', rule }
}

/** A deferral by a rule, for want of `missing`. */
export function defer(rule: string, missing: string): Verdict {
  return { verdict: 'deferred', rule, missing }
}

/** slot(t) = floor(t / epoch length), exact for every integer: a quotient near 2^53 could be rounded up. */
export function slotOf(timeMs: number, epochMs: number): number {
  return (timeMs - (timeMs % epochMs)) / epochMs
}

/** True for 32 zero bytes: no content. */
export function isZero(cid: Uint8Array): boolean {
  for (const byte of cid) if (byte !== 0) return false
  return true
}

/** True if the list names `item`. */
export function includesBytes(list: readonly Uint8Array[], item: Uint8Array): boolean {
  for (const one of list) if (equalBytes(one, item)) return true
  return false
}

/** True if no two are equal. Lists here are short. */
export function areDistinct(list: readonly Uint8Array[]): boolean {
  for (let i = 1; i < list.length; i++) if (includesBytes(list.slice(0, i), list[i] as Uint8Array)) return false
  return true
}

/** True if the bytes are a signing key under the one rule. */
export function isSigningKey(bytes: Uint8Array): boolean {
  try {
    parseVerifyingKey(bytes)
    return true
  } catch {
    return false
  }
}

/** A signer that a type demands. `publicKey` undefined: the account has no such key in force. */
export interface DemandedSigner {
  readonly account: Uint8Array
  /** 0 root, 1 op. */
  readonly key: number
  readonly publicKey: Uint8Array | undefined
}

/** `.signature`: exactly the demanded (account, key) pairs, each with a good signature. */
export function signedBy(
  transaction: Pick<Transaction, 'signatures'>,
  context: RuleContext,
  rule: string,
  demanded: readonly DemandedSigner[],
): Verdict | undefined {
  const { signatures } = transaction
  if (signatures.length !== demanded.length) return refuse(rule)
  for (const signature of signatures) {
    const signer = demanded.find(({ account, key }) => key === signature.key && equalBytes(account, signature.account))
    // Pairs in `sigs` are distinct, so as many as demanded, each demanded, are exactly those demanded.
    if (signer?.publicKey === undefined) return refuse(rule)
    if (!context.isGoodSignature(signature, signer.publicKey)) return refuse(rule)
  }
  return undefined
}

/** The account's newest key of role `r` on Userchain, unless it is closed: the one in force at the transaction's index. */
export function newestKey(state: StateReader, account: Uint8Array, r: number): Uint8Array | undefined {
  const k = userTables.keyHead.get(state, account, r)
  const record = k === undefined ? undefined : userTables.key.get(state, account, r, k)
  return record?.c === undefined ? record?.key : undefined
}

/** Marks a key as used for ever; false if it was. */
export function useKey(context: RuleContext, key: Uint8Array): boolean {
  const hash = sha256(key)
  if (userTables.used.get(context.state, hash) !== undefined) return false
  userTables.used.set(context.state, 1, hash)
  return true
}

/** Closes the account's newest key of role `r`, if it is open. */
export function closeKey({ state, index }: RuleContext, account: Uint8Array, r: number): void {
  const k = userTables.keyHead.get(state, account, r)
  const old = k === undefined ? undefined : userTables.key.get(state, account, r, k)
  if (k === undefined || old === undefined || old.c !== undefined) return
  userTables.key.set(state, { ...old, c: index }, account, r, k)
}

/** Closes the newest key of role `r` and opens another. */
export function replaceKey(
  context: RuleContext,
  account: Uint8Array,
  r: number,
  key: Uint8Array,
  suite?: number,
): void {
  const { state, index } = context
  closeKey(context, account, r)
  const k = userTables.keyHead.get(state, account, r)
  const next = k === undefined ? 0 : k + 1
  userTables.key.set(state, suite === undefined ? { key, o: index } : { key, suite, o: index }, account, r, next)
  userTables.keyHead.set(state, next, account, r)
}

/** A demanded signer of a Userchain transaction. */
export function userSigner(context: RuleContext, account: Uint8Array, key: 0 | 1): DemandedSigner {
  return { account, key, publicKey: newestKey(context.state, account, key) }
}

/** `.signature` of a Userchain transaction that its account alone signs with op. */
export function signedByOp(
  transaction: Omit<Transaction, 'body'> & { readonly body: { readonly t: string; readonly a: Uint8Array } },
  context: RuleContext,
): Verdict | undefined {
  const { a, t } = transaction.body
  return signedBy(transaction, context, `${t}.signature`, [userSigner(context, a, keyRoles.op)])
}

/** `.signature` of a Docchain transaction: its account's op key in force at the anchor. */
export function signedByOpAtAnchor(
  transaction: Omit<Transaction, 'body'> & { readonly body: { readonly a: Uint8Array } },
  context: DocchainContext,
  rule: string,
): Verdict | undefined {
  const { a } = transaction.body
  const publicKey = keyAt(context.userchain.state, a, keyRoles.op, context.anchor.size)?.key
  return signedBy(transaction, context, rule, [{ account: a, key: keyRoles.op, publicKey }])
}

/** `.counter` and `.expiry` of consent transactions (marked C). The effect sets the counter. */
export function consentOrder(
  body: { readonly t: string; readonly a: Uint8Array; readonly n: number; readonly x: number },
  context: RuleContext,
): Verdict | undefined {
  const { t, a, n, x } = body
  const last = userTables.counter.get(context.state, a) ?? 0
  if (n <= last || n > context.timeMs + consentAheadMsMax) return refuse(`${t}.counter`)
  if (x < context.timeMs || x > context.timeMs + consentAheadMsMax) return refuse(`${t}.expiry`)
  userTables.counter.set(context.state, n, a)
  return undefined
}

/** True if the account is an organisation in force now (Userchain). */
export function isOrganisation(context: RuleContext, account: Uint8Array): boolean {
  const organisation = userTables.organisation.get(context.state, account)
  return organisation !== undefined && organisation.c === undefined
}
