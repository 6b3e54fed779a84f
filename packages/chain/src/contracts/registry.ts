/** Accounts, their keys, and doctors' licences (SPEC.md §6: register, update, licence). */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Verdict } from '../block/block-types.ts'
import { isLicenceActive } from '../state/live-at.ts'
import { keyRoles, userTables } from '../state/tables.ts'
import { isKemKey } from '../transaction/kem-key.ts'
import {
  consentOrder,
  isOrganisation,
  isSigningKey,
  type RuleContext,
  refuse,
  replaceKey,
  signedBy,
  signedByOp,
  type TransactionOf,
  useKey,
  userSigner,
  valid,
} from './context.ts'

const roleDoctor = 2

/** From this version of the rules on nodes come by `govern` alone. */
const rulesWithoutNodes = 2
const roleNode = 4

/** `register`: a new account under an organisation's quota. */
export function judgeRegister(transaction: TransactionOf<'register'>, context: RuleContext): Verdict {
  return judged(transaction, context, isKemKey)
}

/**
 * As `judgeRegister`, but the KEM key is looked at when everything else holds: that takes more than all the rest, and before the signatures
 * anybody could ask for it.
 */
export function screenRegister(transaction: TransactionOf<'register'>, context: RuleContext): Verdict {
  const { suite, kem } = transaction.body
  const rest = judged(transaction, context, () => true)
  return rest.verdict === 'valid' && !isKemKey({ suite, bytes: kem }) ? refuse('register.keys') : rest
}

function judged(transaction: TransactionOf<'register'>, context: RuleContext, isKemGood: typeof isKemKey): Verdict {
  const { role, root, op, kem, suite, sponsor } = transaction.body
  const { state, index: o, transactionId: account } = context
  if (role === roleNode && context.rules >= rulesWithoutNodes) return refuse('register.role')
  const areUnused = useKey(context, root) && useKey(context, op) && useKey(context, kem)
  const areGood = () => isSigningKey(root) && isSigningKey(op) && isKemGood({ suite, bytes: kem })
  if (!areUnused || !areGood()) return refuse('register.keys')
  if (!isOrganisation(context, sponsor)) return refuse('register.sponsor')
  const [maximum, used] = userTables.quota.get(state, sponsor) ?? [0, 0]
  if (used >= maximum) return refuse('register.quota')
  const unsigned = signedBy(transaction, context, 'register.signature', [
    { account, key: keyRoles.root, publicKey: root },
    { account, key: keyRoles.op, publicKey: op },
    userSigner(context, sponsor, keyRoles.op),
  ])
  if (unsigned !== undefined) return unsigned
  userTables.account.set(state, { role, o, sponsor }, account)
  userTables.key.set(state, { key: root, o }, account, keyRoles.root, 0)
  userTables.key.set(state, { key: op, o }, account, keyRoles.op, 0)
  userTables.key.set(state, { key: kem, suite, o }, account, keyRoles.kem, 0)
  for (const r of [keyRoles.root, keyRoles.op, keyRoles.kem]) userTables.keyHead.set(state, 0, account, r)
  userTables.quota.set(state, [maximum, used + 1], sponsor)
  return valid
}

/** `update`: new keys for an account, by its root key. */
export function judgeUpdate(transaction: TransactionOf<'update'>, context: RuleContext): Verdict {
  const { body } = transaction
  const { a, op, root, kem, suite } = body
  const failed =
    signedBy(transaction, context, 'update.signature', [userSigner(context, a, keyRoles.root)]) ??
    consentOrder(body, context)
  if (failed !== undefined) return failed
  const keys = refuse('update.keys')
  if (op === undefined && root === undefined && kem === undefined) return keys
  if ((kem === undefined) !== (suite === undefined)) return keys
  for (const key of [op, root]) if (key !== undefined && (!isSigningKey(key) || !useKey(context, key))) return keys
  if (kem !== undefined && suite !== undefined && (!isKemKey({ suite, bytes: kem }) || !useKey(context, kem)))
    return keys
  if (root !== undefined) replaceKey(context, a, keyRoles.root, root)
  if (op !== undefined) replaceKey(context, a, keyRoles.op, op)
  if (kem !== undefined) replaceKey(context, a, keyRoles.kem, kem, suite)
  return valid
}

/** `licence`: an organisation says whether a doctor whom it sponsors may practise. */
export function judgeLicence(transaction: TransactionOf<'licence'>, context: RuleContext): Verdict {
  const { body } = transaction
  const { a, doctor, state: licenceState, from, to } = body
  const { state, index: o } = context
  const failed = signedByOp(transaction, context) ?? consentOrder(body, context)
  if (failed !== undefined) return failed
  const account = userTables.account.get(state, doctor)
  const isSponsored = account?.role === roleDoctor && account.sponsor !== undefined && equalBytes(account.sponsor, a)
  if (!isSponsored || !isOrganisation(context, a)) return refuse('licence.doctor')
  if (from >= to) return refuse('licence.range')
  const newest = userTables.licenceHead.get(state, doctor)
  if (newest !== undefined) {
    const old = userTables.licence.get(state, doctor, newest)
    if (old !== undefined) userTables.licence.set(state, { ...old, c: o }, doctor, newest)
  }
  const k = newest === undefined ? 0 : newest + 1
  const licence = { org: a, state: licenceState, from, to, o }
  userTables.licence.set(state, licence, doctor, k)
  userTables.licenceHead.set(state, k, doctor)
  // It took the older one's place: whatever is not active now ends access, by its state or by its dates.
  if (!isLicenceActive(licence, context.timeMs)) context.effects.wakes = true
  return valid
}
