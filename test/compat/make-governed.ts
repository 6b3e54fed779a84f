/**
 * Makes a small governed ledger with the present code: organisations that join and leave, keys that are replaced, nodes that come and go, rules
 * that rise, evidence, receipts across all of it, and the succession with which it ends. As `make-ledger.ts`: once for a release, never again
 * for the same folder: `node test/compat/make-governed.ts test/compat/NAME`.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ChainName } from '@healthblock/chain/chains'
import { chainOrigin, checkpointText, cosignCheckpoint } from '@healthblock/chain/checkpoint'
import { encodeGenesis, genesisAccount, ledgerIdOf } from '@healthblock/chain/genesis'
import { type GovernedNode, governActs } from '@healthblock/chain/governing'
import { encodeSingleNote, evidenceKinds } from '@healthblock/chain/misconduct'
import { PolicyTrail } from '@healthblock/chain/policy-trail'
import { encodeProof } from '@healthblock/chain/proof'
import { createReceipt, encodeTrail } from '@healthblock/chain/receipt'
import { signStatement } from '@healthblock/chain/statement'
import { encodeSuccession, successionKeys } from '@healthblock/chain/succession'
import type { Cut } from '@healthblock/chain/transaction'
import { compareBytes, concatBytes, toHex } from '@healthblock/encoding/bytes'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { Consortium, nodeKeys, type TestCosigner } from '../../packages/chain/src/consortium.test-support.ts'
import { bytesOf, keyOf, sampleGenesis } from '../../packages/chain/src/sample.test-support.ts'

const world = new Consortium()
const { genesis } = world
const trail = new PolicyTrail(genesis)
const first: TestCosigner[] = [{ rank: 0 }, { rank: 1 }, { rank: 2 }]
const second: TestCosigner[] = [{ rank: 1, name: '1 again' }, { rank: 2 }, { rank: 3 }]
const third: TestCosigner[] = [{ rank: 1, name: '1 again' }, { rank: 2 }, { rank: 4, name: 'fifth' }]
const all = { by: [0, 1, 2, 3] }

/** A change of policy on both chains, published by the policy before. */
function change(argument: ReturnType<Consortium['policy']>, by: TestCosigner[], options = {}) {
  const { firstIndex } = world.post('userchain', world.govern(governActs.policy, argument, options))
  trail.extend(world.step('userchain', firstIndex, by))
  const { head } = world.post('docchain')
  trail.extend(world.step('docchain', head.size - 1, by))
}

const registered = world.post('userchain', world.registration('patient', 1), world.registration('fifth', 3))
const [patient, fifth] = registered.transactions.map(({ id }) => id) as [Uint8Array, Uint8Array]
world.post('userchain', world.govern(governActs.admit, [fifth, 10]))
change(
  world.policy((argument) => {
    const [rank, org, account, node, ulog, ucos, dlog, dcos] = argument.nodes[1] as GovernedNode
    const key = (chain: string) => keyOf(`${chain} cosigner 1 again`).publicKey
    argument.nodes = argument.nodes.with(1, [rank, org, account, node, ulog, key('userchain'), dlog, key('docchain')])
    argument.last = [
      [ucos, world.ledger.head('userchain').size],
      [dcos, 2],
    ]
  }),
  first,
  all,
)
const { height } = world.ledger.head('userchain')
const [, another] = world.organisations as [Uint8Array, Uint8Array]
world.post('userchain', world.govern(governActs.parameters, { quota: [[another, 7]], rules: [2, height + 3] }, all))
world.post('userchain', world.registration('second patient', 1))
world.post('userchain', world.govern(governActs.parameters, { quota: [], rules: [3, height + 5] }, all))
world.post('userchain', world.registration('third patient', 1))
world.post('userchain', world.govern(governActs.parameters, { quota: [], rules: [4, height + 7] }, all))
world.post('userchain', world.registration('fourth patient', 1))

/** A patient's device comes; her stream is cut as far ahead as version 4 lets it; root and op remove the device. */
const op = { account: patient, key: 1, signingKey: keyOf('op patient') }
const root = { account: patient, key: 0, signingKey: keyOf('root patient') }
const stream = bytesOf('stream of patient').slice(0, 8)
const device = { v: 1, t: 'device', ...world.consent(patient), dev: bytesOf('device').slice(0, 16) } as const
const cert = bytesOf('certificate')
world.post('userchain', world.sign('userchain', { ...device, act: 1, streams: [stream], cert }, [op]))
for (const [gen, cut] of [
  [1, []],
  [2, [[stream, 1, 65_536]]],
] as [number, Cut[]][]) {
  const { size, root: headRoot } = world.ledger.head('userchain')
  const lists = { cut, close: [], open: [], env: [] }
  const key = { v: 1, t: 'key', ...world.consent(patient), gen, first: 0, ...lists, why: 3 } as const
  world.post('userchain', world.sign('userchain', { ...key, seen: [size, headRoot] }, [op]))
}
const removal = { ...device, ...world.consent(patient), act: 2, streams: [], cert }
world.post('userchain', world.sign('userchain', removal, [op, root]))

/** Rank 2 signed two heads of one size of Docchain, and of another size. */
const [accuser] = world.organisations as [Uint8Array]
const accusations = [9, 10].map((size) => {
  const notes = ['one', 'two'].map((name) => {
    const head = { origin: chainOrigin({ ledgerId: genesis.ledgerId, chain: 'docchain' }), size, root: bytesOf(name) }
    const line = cosignCheckpoint(head, { rank: 2, signer: keyOf('docchain cosigner 2'), nowMs: world.nowMs })
    return encodeSingleNote(checkpointText(head), line)
  })
  const body = { v: 1, t: 'evidence', a: accuser, kind: evidenceKinds.equivocation, notes } as const
  return world.byOrganisation('docchain', body)
})
const evidence = world.post('docchain', ...accusations)
change(
  world.policy((argument) => {
    const [, , , , , ucos, , dcos] = argument.nodes[0] as GovernedNode
    const keys = nodeKeys('fifth')
    const joined: GovernedNode = [4, fifth, genesisAccount(genesis.ledgerId, keys[0]), ...keys]
    argument.nodes = [...argument.nodes.slice(1), joined]
    argument.stores = argument.stores.slice(1)
    argument.last = [
      [ucos, world.ledger.head('userchain').size],
      [dcos, world.ledger.head('docchain').size],
    ]
  }),
  second,
  all,
)
world.post('userchain', world.govern(governActs.remove, [accuser], all))
world.post('userchain', world.govern(governActs.parameters, { quota: [[another, 9]] }, { by: [1, 2, 3] }))
world.post('docchain')

const entry = (chain: ChainName, index: number) => world.logs[chain].entry(index, world.checkpoint(chain, third))
const receipt = (chain: ChainName, index: number) =>
  createReceipt({ genesis, trail, chain, transaction: entry(chain, index) })

/** The heads with which it ends, and who carries it on. */
async function succession() {
  const heads = (['userchain', 'docchain'] as const).map((chain) => ({ chain, ...world.ledger.head(chain) }))
  const [user, doc] = heads as [(typeof heads)[0], (typeof heads)[0]]
  const successor = encodeGenesis({
    ...sampleGenesis().body,
    start: world.nowMs + 1000,
    prior: [genesis.ledgerId, [user.size, user.root], [doc.size, doc.root]],
  })
  const keys = await successionKeys(genesis, async (key) => world.ledger.state('userchain').get(key)?.decoded)
  const state = keys.map((key) => {
    const { value, proof } = world.ledger.prove('userchain', key)
    return value === undefined ? { key, proof } : { key, proof, value }
  })
  const parts = heads.map(({ chain, size }) => {
    const { leaf, index, hashes, checkpoint } = entry(chain, size - 1)
    const { note, k } = trail.receiptForm(chain, checkpoint)
    return { chain, leaf, proof: encodeProof({ index, hashes, checkpoint: note }), k }
  })
  const signers = [
    ...[1, 2, 3].map((i) => [world.organisations[i], `root ${i}`] as const),
    [fifth, 'root fifth'] as const,
  ]
  const approvals = signers
    .map(([account, name]) => ({
      account: account as Uint8Array,
      signature: signStatement({
        ...{
          name: 'successor',
          statement: [ledgerIdOf(successor)],
          ledgerId: genesis.ledgerId,
          signingKey: keyOf(name),
        },
      }).signature,
    }))
    .sort((a, b) => compareBytes(a.account, b.account))
  return encodeSuccession({
    ...{ genesis: genesis.bytes, successor, approvals, trail: trail.needed(parts) },
    parts: parts.map(({ chain, leaf, proof }, i) => (i === 0 ? { chain, leaf, proof, state } : { chain, leaf, proof })),
  })
}

const folder = process.argv[2]
if (folder === undefined) throw new Error('name a folder')
mkdirSync(folder, { recursive: true })
const files: Record<string, Uint8Array | string> = {
  'genesis.cbor': genesis.bytes,
  'trail.json': encodeTrail(trail.steps),
  'succession.json': await succession(),
  'registration.json': receipt('userchain', world.ledger.index('userchain').find(patient) as number),
  'evidence.json': receipt('docchain', evidence.firstIndex),
  'removal.json': receipt('userchain', world.ledger.head('userchain').size - 4),
  'heads.json': `${JSON.stringify(
    Object.fromEntries(
      (['userchain', 'docchain'] as const).map((chain) => {
        const { height: h, size, root, stateRoot } = world.ledger.head(chain)
        return [chain, { height: h, size, root: toHex(root), stateRoot: toHex(stateRoot) }]
      }),
    ),
    null,
    2,
  )}\n`,
}
for (const chain of ['userchain', 'docchain'] as const)
  files[`${chain}.cbor-seq`] = concatBytes(...world.logs[chain].leaves.map((leaf) => encodeCbor(leaf)))
for (const [name, bytes] of Object.entries(files)) writeFileSync(join(folder, name), bytes)
