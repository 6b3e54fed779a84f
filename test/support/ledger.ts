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

function openInMemory(genesis: Uint8Array): Ledger {
  return Ledger.open({ genesis, stores: { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() } })
}

/** Commits one block of these leaves. Throws if one of them is not valid. */
function commitBlock(ledger: Ledger, leaves: readonly Uint8Array[], nowMs: number): PendingBlock {
  const candidates = leaves.map(parseTransactionLeaf)
  const { pending, verdicts } = ledger.buildBlock({ chain: 'userchain', candidates, nowMs })
  const wrong = verdicts.find((verdict) => verdict?.verdict !== 'valid')
  if (wrong !== undefined || pending === undefined) throw new Error(`not valid: ${JSON.stringify(wrong)}`)
  ledger.commit(pending)
  return pending
}

/** Another course that a ledger may take from some point on. */
export class Fork {
  readonly ledger: Ledger
  nowMs: number
  constructor(ledger: Ledger, nowMs: number) {
    this.ledger = ledger
    this.nowMs = nowMs
  }

  /**
   * Gives leaves to the ledger in this order, each tried again after every other one as long as it is deferred: what a
   * gateway and a sender's outbox do together. Returns each one's last verdict.
   */
  deliver(leaves: readonly Uint8Array[]): Verdict[] {
    const verdicts: (Verdict | undefined)[] = leaves.map(() => undefined)
    const tryAt = (position: number): boolean => {
      const leaf = leaves[position] as Uint8Array
      const verdict = this.ledger.judge('userchain', parseTransactionLeaf(leaf), { atMs: this.nowMs })
      verdicts[position] = verdict
      if (verdict.verdict !== 'valid') return false
      this.nowMs += 10
      commitBlock(this.ledger, [leaf], this.nowMs)
      return true
    }
    for (let position = 0; position < leaves.length; position++) {
      if (!tryAt(position)) continue
      const isOpen = (other: number): boolean => verdicts[other]?.verdict === 'deferred'
      for (let other = 0; other < position; other++) if (isOpen(other) && tryAt(other)) other = -1
    }
    return verdicts as Verdict[]
  }
}

/** A ledger of one organisation; its clock is the test's. */
export class TestLedger {
  readonly ledger: Ledger
  readonly organisation: Uint8Array
  readonly op: SigningKey = generateSigningKey()
  nowMs: number
  #counter = 0
  readonly #genesis: Uint8Array
  /** Every block that was committed: its time and its leaves. */
  readonly #history: { nowMs: number; leaves: Uint8Array[] }[] = []

  /** `rules`: the version that it begins with. */
  constructor(startMs: number, epochMs = 3_600_000, rules = 1) {
    this.nowMs = startMs
    const root = generateSigningKey()
    const key = (): Uint8Array => generateSigningKey().publicKey
    const genesis = encodeGenesis({
      v: 1,
      t: 'genesis',
      start: startMs - 1,
      params: { epochms: epochMs, seals: rules },
      q: 1,
      orgs: [[root.publicKey, this.op.publicKey, generateKemKeyPair().publicKey, kemSuiteDefault, 1_000_000]],
      nodes: [[0, key(), key(), key(), key(), key()]],
      stores: [[0, key(), randomBytes(38)]],
    })
    this.organisation = genesisAccount(ledgerIdOf(genesis), root.publicKey)
    this.#genesis = genesis
    this.ledger = openInMemory(genesis)
  }

  /** The same ledger once more, as it is now: what is committed there is not committed here. */
  fork(): Fork {
    const ledger = openInMemory(this.#genesis)
    for (const { leaves, nowMs } of this.#history) commitBlock(ledger, leaves, nowMs)
    return new Fork(ledger, this.nowMs)
  }

  /** What the rules say of a leaf, on top of what is committed. */
  judge(leaf: Uint8Array): Verdict {
    return this.ledger.judge('userchain', parseTransactionLeaf(leaf), { atMs: this.nowMs })
  }

  /** Commits one block of these leaves. Throws if one of them is not valid. */
  commit(...leaves: Uint8Array[]): PendingBlock {
    this.nowMs += 10
    const pending = commitBlock(this.ledger, leaves, this.nowMs)
    this.#history.push({ nowMs: this.nowMs, leaves })
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
