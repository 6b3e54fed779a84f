/** A ledger that ends, for tests, and the succession that carries it on. */
import { compareBytes } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { Consortium } from '../consortium.test-support.ts'
import { encodeProof } from '../log/proof.ts'
import { encodeGenesis, parseGenesis } from '../policy/genesis.ts'
import { governActs } from '../policy/governing.ts'
import { PolicyTrail } from '../policy/policy-trail.ts'
import { keyOf, sampleGenesis } from '../sample.test-support.ts'
import { signStatement } from '../transaction/statement.ts'
import type { GenesisBody } from '../transaction/transaction.ts'
import { type Approval, type Succession, successionKeys } from './succession.ts'

/** A ledger with a change of policy and a fifth organisation, whose quorum is then lost. */
export async function endedLedger() {
  const world = new Consortium()
  const trail = new PolicyTrail(world.genesis)
  const [registered] = [world.post('userchain', world.registration('fifth', 3))]
  const fifth = registered.transactions[0]?.id as Uint8Array
  world.post('userchain', world.govern(governActs.admit, [fifth, 10]))
  const switched = world.post(
    'userchain',
    world.govern(
      governActs.policy,
      world.policy((policy) => {
        policy.q = 4
      }),
      { by: [0, 1, 2, 3] },
    ),
  )
  trail.extend(world.step('userchain', switched.firstIndex))
  const docSwitch = world.post('docchain')
  trail.extend(world.step('docchain', docSwitch.head.size - 1))
  world.post('userchain', world.registration('somebody', 1))
  return { world, trail, fifth }
}

/** Cosigners of a quorum in the end. */
export const all = [{ rank: 0 }, { rank: 1 }, { rank: 2 }, { rank: 3 }]

/** A genesis of the same organisations that carries the ledger on. */
export function genesisAfter(
  world: Consortium,
  change: (body: { -readonly [K in keyof GenesisBody]: GenesisBody[K] }) => void,
) {
  const { userchain, docchain } = { userchain: world.ledger.head('userchain'), docchain: world.ledger.head('docchain') }
  const body = { ...sampleGenesis().body, start: world.nowMs + 1000 } as {
    -readonly [K in keyof GenesisBody]: GenesisBody[K]
  }
  body.prior = [world.genesis.ledgerId, [userchain.size, userchain.root], [docchain.size, docchain.root]]
  change(body)
  return encodeGenesis(body)
}

/** Signatures of organisations under a successor. */
export function approve(
  world: Consortium,
  successor: Uint8Array,
  names: readonly [account: Uint8Array, key: string][],
) {
  const { ledgerId } = parseGenesis(successor)
  return names
    .map(([account, key]): Approval => {
      const { signature } = signStatement({
        name: 'successor',
        statement: [ledgerId],
        ledgerId: world.genesis.ledgerId,
        signingKey: keyOf(key),
      })
      return { account, signature }
    })
    .sort((a, b) => compareBytes(a.account, b.account))
}

/** The ledger, and the succession that proves its end. */
export async function successionStory(cosigners = all) {
  const { world, trail, fifth } = await endedLedger()
  const part = async (chain: ChainName) => {
    const { size } = world.ledger.head(chain)
    const entry = world.logs[chain].entry(size - 1, world.checkpoint(chain, cosigners))
    const { note, k } = trail.receiptForm(chain, entry.checkpoint)
    const proof = encodeProof({ index: entry.index, hashes: entry.hashes, checkpoint: note })
    return { chain, leaf: entry.leaf, proof, k }
  }
  const keys = await successionKeys(world.genesis, async (key) => {
    return world.ledger.state('userchain').get(key)?.decoded
  })
  const state = keys.map((key) => {
    const { value, proof } = world.ledger.prove('userchain', key)
    return value === undefined ? { key, proof } : { key, proof, value }
  })
  const [user, doc] = [await part('userchain'), await part('docchain')]
  const strip = ({ chain, leaf, proof }: typeof user) => ({ chain, leaf, proof })
  const names = [
    ...world.organisations.map((a, i) => [a, `root ${i}`] as [Uint8Array, string]),
    [fifth, 'root fifth'],
  ] as [Uint8Array, string][]
  const successor = genesisAfter(world, () => {})
  const succession: Succession = {
    genesis: world.genesis.bytes,
    successor,
    parts: [{ ...strip(user), state }, strip(doc)],
    approvals: approve(world, successor, names.slice(0, 4)),
    trail: trail.needed([user, doc]),
  }
  return { world, succession, names, fifth }
}
