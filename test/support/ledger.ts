/** A small real ledger in memory, for tests that need one without its network. Keys are made at run time. */
import { Ledger, type PendingBlock, type Verdict } from '@healthblock/chain/block'
import { encodeGenesis, genesisAccount, ledgerIdOf } from '@healthblock/chain/genesis'
import { MemoryChainStore } from '@healthblock/chain/store'
import {
  parseTransactionLeaf,
  signTransaction,
  type Transaction,
  type TransactionBody,
} from '@healthblock/chain/transaction'
import { generateKemKeyPair, type KemKeyPair, kemSuiteDefault } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'

/** A doctor with keys and a licence. */
export interface TestDoctor {
  readonly account: Uint8Array
  readonly op: SigningKey
  readonly kem: KemKeyPair
}

/** A ledger of one organisation; its clock is the test's. */
export class TestLedger {
  readonly ledger: Ledger
  readonly organisation: Uint8Array
  readonly op: SigningKey = generateSigningKey()
  nowMs: number
  #counter = 0

  constructor(startMs: number, epochMs = 3_600_000) {
    this.nowMs = startMs
    const root = generateSigningKey()
    const key = (): Uint8Array => generateSigningKey().publicKey
    const genesis = encodeGenesis({
      v: 1,
      t: 'genesis',
      start: startMs - 1,
      params: { epochms: epochMs, seals: 1 },
      q: 1,
      orgs: [[root.publicKey, this.op.publicKey, generateKemKeyPair().publicKey, kemSuiteDefault, 1_000_000]],
      nodes: [[0, key(), key(), key(), key(), key()]],
      stores: [[0, key(), randomBytes(38)]],
    })
    this.organisation = genesisAccount(ledgerIdOf(genesis), root.publicKey)
    const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
    this.ledger = Ledger.open({ genesis, stores })
  }

  /** What the rules say of a leaf, on top of what is committed. */
  judge(leaf: Uint8Array): Verdict {
    return this.ledger.judge('userchain', parseTransactionLeaf(leaf), { atMs: this.nowMs })
  }

  /** Commits one block of these leaves. Throws if one of them is not valid. */
  commit(...leaves: Uint8Array[]): PendingBlock {
    this.nowMs += 10
    const candidates = leaves.map(parseTransactionLeaf)
    const { pending, verdicts } = this.ledger.buildBlock({ chain: 'userchain', candidates, nowMs: this.nowMs })
    const wrong = verdicts.find((verdict) => verdict?.verdict !== 'valid')
    if (wrong !== undefined || pending === undefined) throw new Error(`not valid: ${JSON.stringify(wrong)}`)
    this.ledger.commit(pending)
    return pending
  }

  /** Signs with the organisation's op key and commits. */
  commitAsOrganisation(body: TransactionBody): void {
    const signers = [{ account: this.organisation, key: 1, signingKey: this.op }]
    this.commit(signTransaction({ ledgerId: this.ledger.ledgerId, chain: 'userchain', body, signers }).leaf)
  }

  /** A consent counter that is fresh, and an expiry that is near enough. */
  consent(): { n: number; x: number } {
    this.#counter = Math.max(this.#counter + 1, this.nowMs)
    return { n: this.#counter, x: this.nowMs + 3_600_000 }
  }

  /** Registers and licenses a doctor. */
  enrolDoctor(): TestDoctor {
    const root = generateSigningKey()
    const op = generateSigningKey()
    const kem = generateKemKeyPair()
    const body: TransactionBody = {
      ...{
        v: 1,
        t: 'register',
        role: 2,
        root: root.publicKey,
        op: op.publicKey,
        kem: kem.publicKey,
        suite: kemSuiteDefault,
      },
      ...{ sponsor: this.organisation, salt: randomBytes(16) },
    }
    const transaction: Transaction = signTransaction({
      ledgerId: this.ledger.ledgerId,
      chain: 'userchain',
      body,
      signers: [
        { key: 0, signingKey: root },
        { key: 1, signingKey: op },
        { account: this.organisation, key: 1, signingKey: this.op },
      ],
    })
    const account = this.ledger.transactionId('userchain', transaction)
    this.commit(transaction.leaf)
    const range = { from: this.nowMs - 1000, to: this.nowMs + 365 * 86_400_000 }
    this.commitAsOrganisation({
      v: 1,
      t: 'licence',
      a: this.organisation,
      ...this.consent(),
      doctor: account,
      state: 1,
      ...range,
    })
    return { account, op, kem }
  }
}
