/** Sends a transaction to the contract of its type. */
import type { Verdict } from '../block/block-types.ts'
import type { ChainName } from '../chains.ts'
import type { Transaction, TransactionType } from '../transaction/transaction.ts'
import { rulePrefix, typeChains } from '../transaction/transaction.ts'
import { judgeAlgorithm } from './algorithms.ts'
import { judgeEnvelope, judgeKey } from './consent.ts'
import { type DocchainContext, type RuleContext, refuse, type TransactionOf } from './context.ts'
import { judgeDevice } from './devices.ts'
import { judgeAmend, judgeDiagnosis, judgeUnreadable } from './diagnoses.ts'
import { judgeErase } from './erasure.ts'
import { judgeEvidence } from './evidence.ts'
import { judgeGovern } from './governance.ts'
import { judgeLicence, judgeRegister, judgeUpdate } from './registry.ts'
import { judgeIot } from './streams.ts'

type Contracts<Types extends TransactionType, Context> = {
  readonly [T in Types]: (transaction: TransactionOf<T>, context: Context) => Verdict
}
type Contract<Context> = ((transaction: Transaction, context: Context) => Verdict) | undefined

const userchain: Contracts<
  | 'register'
  | 'update'
  | 'licence'
  | 'device'
  | 'iot'
  | 'key'
  | 'envelope'
  | 'erase'
  | 'algorithm'
  | 'govern'
  | 'evidence',
  RuleContext
> = {
  register: judgeRegister,
  update: judgeUpdate,
  licence: judgeLicence,
  device: judgeDevice,
  iot: judgeIot,
  key: judgeKey,
  envelope: judgeEnvelope,
  erase: judgeErase,
  algorithm: judgeAlgorithm,
  govern: judgeGovern,
  evidence: judgeEvidence,
}

const docchain: Contracts<'diagnosis' | 'amend' | 'unreadable' | 'evidence', DocchainContext> = {
  diagnosis: judgeDiagnosis,
  amend: judgeAmend,
  unreadable: judgeUnreadable,
  evidence: judgeEvidence,
}

/**
 * What a transaction fails before any contract sees it: a type of the other chain (`.format`), genesis anywhere but at index 0
 * (`genesis.place`).
 */
export function misplaced(transaction: Transaction, chain: ChainName): Verdict | undefined {
  const type = transaction.body.t
  if (type === 'genesis') return refuse('genesis.place')
  return typeChains[type] === chain || typeChains[type] === 'both' ? undefined : refuse(`${rulePrefix(type)}.format`)
}

/** Judges a Userchain transaction; on `valid` its effects are in the context's overlay. */
export function judgeUserchain(transaction: Transaction, context: RuleContext): Verdict {
  // Which entry it is follows from `t`, which TypeScript cannot carry through the lookup.
  const contract = (userchain as Readonly<Record<string, unknown>>)[transaction.body.t] as Contract<RuleContext>
  return contract === undefined ? refuse(`${rulePrefix(transaction.body.t)}.format`) : contract(transaction, context)
}

/** As `judgeUserchain`, for Docchain. */
export function judgeDocchain(transaction: Transaction, context: DocchainContext): Verdict {
  const contract = (docchain as Readonly<Record<string, unknown>>)[transaction.body.t] as Contract<DocchainContext>
  return contract === undefined ? refuse(`${rulePrefix(transaction.body.t)}.format`) : contract(transaction, context)
}
