/**
 * Makes a small ledger and its receipts with the present code, for `test/compat`: the bytes of every released format are kept and must
 * stay readable. Run it once for a release, into a folder of its own, and never again for that folder:
 * `node test/compat/make-ledger.ts test/compat/NAME`. Keys come from names, so that later tests can go on from a ledger.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ledger, type PendingBlock } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { genesisAccounts } from '@healthblock/chain/genesis'
import { createReceipt } from '@healthblock/chain/receipt'
import { MemoryChainStore } from '@healthblock/chain/store'
import { signTransaction, type TransactionBody, type TransactionSigner } from '@healthblock/chain/transaction'
import { kemKeyPairFromSeed } from '@healthblock/crypto/envelope'
import { concatBytes, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { genesisBlocks } from '../../packages/chain/src/block/block.ts'
import { b8, b16, bytesOf, keyOf, SampleLog, sampleGenesis } from '../../packages/chain/src/sample.test-support.ts'

const hourMs = 3_600_000
const genesis = sampleGenesis()
const { ledgerId, body } = genesis
const stores = { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
const ledger = Ledger.open({ genesis: genesis.bytes, stores })
const logs = { userchain: new SampleLog(genesis, 'userchain'), docchain: new SampleLog(genesis, 'docchain') }
const zero = genesisBlocks(genesis.bytes)
for (const chain of ['userchain', 'docchain'] as const) logs[chain].add(...zero[chain].leaves)
let nowMs = body.start + 1000

interface Draft {
  readonly body: TransactionBody
  readonly signers: readonly TransactionSigner[]
}

function block(chain: ChainName, ...drafts: readonly Draft[]): PendingBlock {
  nowMs += 1000
  const candidates = drafts.map((draft) => signTransaction({ ledgerId, chain, ...draft }))
  const { pending, verdicts } = ledger.buildBlock({ chain, candidates, nowMs })
  if (pending === undefined || verdicts.some((verdict) => verdict?.verdict !== 'valid')) {
    throw new Error(`not valid: ${JSON.stringify(verdicts)}`)
  }
  ledger.commit(pending)
  logs[chain].add(...pending.leaves)
  return pending
}

const organisation = genesisAccounts(genesis).organisations[0] as Uint8Array
const byOrganisation = { account: organisation, key: 1, signingKey: keyOf('op 0') }
let counter = 0
const consent = (a: Uint8Array) => ({ a, n: nowMs + counter++, x: nowMs + hourMs })

function register(name: string, role: number): Draft {
  const kem = kemKeyPairFromSeed(bytesOf(`kem ${name}`)).publicKey
  const keys = { root: keyOf(`root ${name}`), op: keyOf(`op ${name}`) }
  return {
    body: {
      ...{ v: 1, t: 'register', role, root: keys.root.publicKey, op: keys.op.publicKey, kem, suite: 1 },
      ...{ sponsor: organisation, salt: b16(name) },
    },
    signers: [{ key: 0, signingKey: keys.root }, { key: 1, signingKey: keys.op }, byOrganisation],
  }
}

const enrolment = block('userchain', register('patient', 1), register('doctor', 2))
const [patient, doctor] = enrolment.transactions.map(({ id }) => id) as [Uint8Array, Uint8Array]
const byPatient = { account: patient, key: 1, signingKey: keyOf('op patient') }
const ecg = b8('ecg')
const gid = b16('grant')
block(
  'userchain',
  {
    body: {
      v: 1,
      t: 'licence',
      ...consent(organisation),
      doctor,
      state: 1,
      from: body.start,
      to: body.start + 365 * 24 * hourMs,
    },
    signers: [byOrganisation],
  },
  {
    body: { v: 1, t: 'device', ...consent(patient), dev: b16('device'), act: 1, streams: [ecg], cert: bytesOf('cert') },
    signers: [byPatient],
  },
)
const slot = Math.floor(nowMs / hourMs)
const head = () => {
  const { size, root } = ledger.head('userchain')
  return [size, root] as const
}
const key = { v: 1, t: 'key', first: slot, cut: [], close: [], open: [], env: [] } as const
block('userchain', {
  body: {
    ...key,
    ...consent(patient),
    ...{
      gen: 1,
      open: [[gid, doctor, [ecg], slot, nowMs + 24 * hourMs, 3, 1]],
      env: [[gid, 1, bytesOf('envelope', 1472)]],
    },
    ...{ why: 1, seen: head() },
  },
  signers: [{ account: patient, key: 0, signingKey: keyOf('root patient') }, byPatient],
})
const reading = block('userchain', {
  body: { v: 1, t: 'iot', a: patient, r: [[ecg, 1, 1, slot, 0, 4096, bytesOf('cid')]] },
  signers: [byPatient],
})
const diagnosis = block('docchain', {
  body: {
    ...{ v: 1, t: 'diagnosis', a: doctor, pat: patient, g: gid, basis: head(), in: [[ecg, 1, 1]], gen: 1, epoch: slot },
    ...{ seq: 1, alg: new Uint8Array(32), cid: bytesOf('finding'), len: 16_384 },
  },
  signers: [{ account: doctor, key: 1, signingKey: keyOf('op doctor') }],
})
const revocation = block('userchain', {
  body: { ...key, ...consent(patient), gen: 2, cut: [[ecg, 1, 1]], close: [gid], why: 2, seen: head() },
  signers: [byPatient],
})
const state = revocation.closes.map(({ stateKey }) => {
  const { value, proof } = ledger.prove('userchain', stateKey)
  return { key: stateKey, proof, value: value as Uint8Array }
})
const anchored = block('docchain')

const folder = process.argv[2]
if (folder === undefined) throw new Error('name a folder')
mkdirSync(folder, { recursive: true })
const entry = (chain: ChainName, index: number) => logs[chain].entry(index)
const first = (pending: PendingBlock) => pending.firstIndex
const receipts = {
  reading: createReceipt({ genesis, chain: 'userchain', transaction: entry('userchain', first(reading)) }),
  diagnosis: createReceipt({ genesis, chain: 'docchain', transaction: entry('docchain', first(diagnosis)) }),
  revocation: createReceipt({
    ...{ genesis, chain: 'userchain', transaction: entry('userchain', first(revocation)) },
    seal: { ...entry('userchain', revocation.head.size - 1), state },
    anchor: entry('docchain', anchored.head.size - 1),
  }),
}
writeFileSync(join(folder, 'genesis.cbor'), genesis.bytes)
for (const chain of ['userchain', 'docchain'] as const) {
  writeFileSync(join(folder, `${chain}.cbor-seq`), concatBytes(...logs[chain].leaves.map((leaf) => encodeCbor(leaf))))
}
for (const [name, bytes] of Object.entries(receipts)) writeFileSync(join(folder, `${name}.json`), bytes)
const summary = Object.fromEntries(
  (['userchain', 'docchain'] as const).map((chain) => {
    const { height, size, root, stateRoot } = ledger.head(chain)
    return [chain, { height, size, root: toHex(root), stateRoot: toHex(stateRoot) }]
  }),
)
writeFileSync(join(folder, 'heads.json'), `${JSON.stringify(summary, null, 2)}\n`)
