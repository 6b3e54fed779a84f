/** A long Userchain with real signatures, made in memory: patients who stream, block after block. */

import type { IotRecord, Transaction, TransactionSignature } from '@healthblock/chain/transaction'
import { randomBytes } from '@healthblock/crypto/random'
import type { SigningKey } from '@healthblock/crypto/signature'
import { createConsortium, hourMs, TestLedger } from '../../packages/runtime/src/testkit.ts'

const patientsCount = 128
const blockTransactions = 256

interface Patient {
  readonly account: Uint8Array
  readonly op: SigningKey
  readonly stream: Uint8Array
  sequence: number
}

/** Fills a new ledger with at least so many transactions of one record each. */
export function makeLongLedger(transactions: number): TestLedger {
  const history = new TestLedger(createConsortium())
  const registrations = Array.from({ length: patientsCount }, () => history.registration())
  commit(
    history,
    registrations.map(({ transaction }) => transaction),
  )
  const patients = registrations.map(({ person }): Patient => ({ ...person, stream: randomBytes(8), sequence: 0 }))
  commit(
    history,
    patients.map((patient) => history.device(patient, [patient.stream])),
  )
  commit(
    history,
    patients.map((patient) => firstGeneration(history, patient)),
  )
  while (history.ledger.head('userchain').size < transactions) {
    commit(
      history,
      Array.from({ length: blockTransactions }, (_, n) => reading(history, patients[n % patientsCount] as Patient)),
    )
  }
  return history
}

function commit(history: TestLedger, candidates: readonly Transaction[]): void {
  const pending = history.block('userchain', candidates)
  if (pending?.transactions.length !== candidates.length) throw new Error('the load is not valid')
}

function slotOf(history: TestLedger): number {
  return Math.floor(history.nowMs / hourMs)
}

function firstGeneration(history: TestLedger, { account, op }: Patient): Transaction {
  const { size, root } = history.ledger.head('userchain')
  const n = Math.max(history.nowMs, Date.now()) + 1000
  const lists = { cut: [], close: [], open: [], env: [] }
  const body = {
    v: 1,
    t: 'key',
    a: account,
    n,
    x: n + hourMs,
    gen: 1,
    first: slotOf(history),
    ...lists,
    why: 1,
    seen: [size, root],
  } as const
  return history.sign('userchain', body, [{ account, key: 1, signingKey: op }])
}

function reading(history: TestLedger, patient: Patient): Transaction {
  const { account, op, stream } = patient
  patient.sequence++
  const record: IotRecord = [stream, patient.sequence, 1, slotOf(history), 0, 4096, randomBytes(32)]
  const body = { v: 1, t: 'iot', a: account, r: [record] } as const
  const transaction = history.sign('userchain', body, [{ account, key: 1, signingKey: op }])
  const [{ signature }] = transaction.signatures as [TransactionSignature]
  // It was just made: verifying it here would take most of the time that a long ledger takes. Whoever reads the ledger verifies it.
  history.ledger.signatures.remember({ id: history.id(transaction), publicKey: op.publicKey, signature })
  return transaction
}
