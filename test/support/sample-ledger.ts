/** A genesis with all its keys, and transactions that are valid on it. */
import { encodeGenesis, genesisAccount, ledgerIdOf } from '@healthblock/chain/genesis'
import { encodeGovernArgument, type GovernArguments } from '@healthblock/chain/governing'
import { signTransaction, type Transaction } from '@healthblock/chain/transaction'
import { generateKemKeyPair } from '@healthblock/crypto/envelope'
import { randomBytes } from '@healthblock/crypto/random'
import { generateSigningKey, type SigningKey } from '@healthblock/crypto/signature'

/** Keys of one node. */
export interface SampleNodeKeys {
  readonly node: SigningKey
  readonly userchain: { readonly log: SigningKey; readonly cosigner: SigningKey }
  readonly docchain: { readonly log: SigningKey; readonly cosigner: SigningKey }
}

/** A ledger that nobody has started yet. */
export interface SampleLedger {
  readonly genesis: Uint8Array
  readonly ledgerId: Uint8Array
  readonly organisation: { readonly account: Uint8Array; readonly root: SigningKey; readonly op: SigningKey }
  readonly nodes: readonly SampleNodeKeys[]
}

/** Fresh keys of one node. */
export function sampleNodeKeys(): SampleNodeKeys {
  const pair = (): { log: SigningKey; cosigner: SigningKey } => ({
    log: generateSigningKey(),
    cosigner: generateSigningKey(),
  })
  return { node: generateSigningKey(), userchain: pair(), docchain: pair() }
}

/** The public keys of a node, in the order of a policy. */
export function policyKeys({ node, userchain, docchain }: SampleNodeKeys) {
  const keys = [node, userchain.log, userchain.cosigner, docchain.log, docchain.cosigner]
  return keys.map(({ publicKey }) => publicKey) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array]
}

/** An act of the one organisation. */
export function governTransaction<A extends keyof GovernArguments>(
  ledger: SampleLedger,
  act: A,
  argument: GovernArguments[A],
  n: number,
): Transaction {
  const { account, root } = ledger.organisation
  return signTransaction({
    ledgerId: ledger.ledgerId,
    chain: 'userchain',
    body: { v: 1, t: 'govern', a: account, act, arg: encodeGovernArgument(act, argument), n },
    signers: [{ account, key: 0, signingKey: root }],
  })
}

/** Makes a genesis with one organisation and `n` nodes. */
export function sampleLedger(options: { n: number; q: number; startMs: number }): SampleLedger {
  const root = generateSigningKey()
  const op = generateSigningKey()
  const nodes = Array.from({ length: options.n }, sampleNodeKeys)
  const genesis = encodeGenesis({
    v: 1,
    t: 'genesis',
    start: options.startMs,
    params: { epochms: 3_600_000, seals: 1 },
    q: options.q,
    orgs: [[root.publicKey, op.publicKey, generateKemKeyPair().publicKey, 1, 1_000_000]],
    nodes: nodes.map((keys) => [0, ...policyKeys(keys)]),
    stores: [[0, generateSigningKey().publicKey, randomBytes(38)]],
  })
  const ledgerId = ledgerIdOf(genesis)
  return { genesis, ledgerId, organisation: { account: genesisAccount(ledgerId, root.publicKey), root, op }, nodes }
}

/** A transaction that is valid in any order and at any time: the organisation adds an algorithm. */
export function algorithmTransaction(ledger: SampleLedger, name: string): Transaction {
  const { account, op } = ledger.organisation
  return signTransaction({
    ledgerId: ledger.ledgerId,
    chain: 'userchain',
    body: { v: 1, t: 'algorithm', a: account, id: name, version: '1', hash: randomBytes(32), act: 1 },
    signers: [{ account, key: 1, signingKey: op }],
  })
}

/** A doctor's registration, sponsored by the organisation. */
export function doctorRegistration(ledger: SampleLedger): {
  transaction: Transaction
  root: SigningKey
  op: SigningKey
} {
  const root = generateSigningKey()
  const op = generateSigningKey()
  const { account } = ledger.organisation
  const transaction = signTransaction({
    ledgerId: ledger.ledgerId,
    chain: 'userchain',
    body: {
      ...{ v: 1, t: 'register', role: 2, root: root.publicKey, op: op.publicKey },
      ...{ kem: generateKemKeyPair().publicKey, suite: 1, sponsor: account, salt: randomBytes(16) },
    },
    signers: [
      { key: 0, signingKey: root },
      { key: 1, signingKey: op },
      { account, key: 1, signingKey: ledger.organisation.op },
    ],
  })
  return { transaction, root, op }
}

/** The organisation's statement about a doctor: state 1 active, 2 suspended. Suspending wakes Docchain. */
export function licenceTransaction(
  ledger: SampleLedger,
  doctor: Uint8Array,
  state: number,
  nowMs: number,
): Transaction {
  const { account, op } = ledger.organisation
  const x = nowMs + 3_600_000
  return signTransaction({
    ledgerId: ledger.ledgerId,
    chain: 'userchain',
    body: { v: 1, t: 'licence', a: account, n: nowMs, x, doctor, state, from: nowMs - 1_000, to: nowMs + 86_400_000 },
    signers: [{ account, key: 1, signingKey: op }],
  })
}
