/** What a dispute is about, for tests: a grant, a reading whose block is disclosed, a diagnosis, the revocation, a change of policy; and the bundle. */
import { sha256 } from '@healthblock/crypto/hash'
import { deriveNode, epochKeyFrom, treeDepth } from '@healthblock/crypto/key-tree'
import { payloadKinds, sealPayload } from '@healthblock/crypto/payload'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import type { ChainName } from '../chains.ts'
import { Consortium } from '../consortium.test-support.ts'
import { encodeProof } from '../log/proof.ts'
import { type GovernedNode, governActs } from '../policy/governing.ts'
import { PolicyTrail } from '../policy/policy-trail.ts'
import { b8, b16, bytesOf, keyOf } from '../sample.test-support.ts'
import { userTables } from '../state/tables.ts'
import { signStatement } from '../transaction/statement.ts'
import type { Transaction, TransactionBody, TransactionSigner } from '../transaction/transaction.ts'
import type { Dispute, DisputePart } from './dispute.ts'

const hourMs = 3_600_000
const ecg = b8('ecg')
/** The grant that was given and revoked. */
export const gid = b16('grant')
/** A grant that never was. */
export const otherGid = b16('another')

/**
 * A grant, a reading whose block is disclosed, a diagnosis, the revocation, a change of policy, and the bundle about all of it.
 *
 * @param recordLength - What the patient put on record as the length of her block of 1,024 bytes.
 */
export function disputeStory(recordLength = 1024) {
  const world = new Consortium()
  const { ledgerId } = world.genesis
  const trail = new PolicyTrail(world.genesis)
  const [registered] = [world.post('userchain', world.registration('patient', 1), world.registration('doctor', 2))]
  const [patient, doctor] = registered.transactions.map(({ id }) => id) as [Uint8Array, Uint8Array]
  const slot = Math.floor(world.nowMs / hourMs)
  const sign = (chain: ChainName, body: TransactionBody, ...signers: TransactionSigner[]): Transaction =>
    world.sign(chain, body, signers)
  const byPatient = { account: patient, key: 1, signingKey: keyOf('op patient') }
  const byRoot = { account: patient, key: 0, signingKey: keyOf('root patient') }
  const organisation = world.organisations[0] as Uint8Array
  const { start } = world.genesis.body
  const licence = { doctor, state: 1, from: start, to: start + 365 * 24 * hourMs }
  world.post(
    'userchain',
    world.byOrganisation('userchain', { v: 1, t: 'licence', ...world.consent(organisation), ...licence }),
    sign(
      'userchain',
      {
        v: 1,
        t: 'device',
        ...world.consent(patient),
        dev: b16('device'),
        act: 1,
        streams: [ecg],
        cert: bytesOf('cert'),
      },
      byPatient,
    ),
  )
  const seen = () => {
    const { size, root } = world.ledger.head('userchain')
    return [size, root] as const
  }
  const key = { v: 1, t: 'key', first: slot, cut: [], close: [], open: [], env: [] } as const
  const until = world.nowMs + 24 * hourMs
  const granted = world.post(
    'userchain',
    sign(
      'userchain',
      {
        ...key,
        ...world.consent(patient),
        gen: 1,
        open: [[gid, doctor, [ecg], slot, until, 3, 1]],
        env: [[gid, 1, bytesOf('envelope', 1472)]],
        why: 1,
        seen: seen(),
      },
      byRoot,
      byPatient,
    ),
  )
  const root = { depth: 0, index: 0, key: bytesOf('root of the tree') }
  const leaf = deriveNode(root, { depth: treeDepth, index: 0 })
  const record = { ledgerId, owner: patient, writer: patient, stream: ecg, generation: 1, epoch: slot, sequence: 1 }
  const { block } = sealPayload({
    kind: payloadKinds.data,
    ...record,
    epochKey: epochKeyFrom({ nodes: [leaf], first: slot, epoch: slot }),
    plaintext: encodeUtf8('the reading'),
    sizeBytes: 1024,
  })
  const cid = sha256(block)
  const read = world.post(
    'userchain',
    sign('userchain', { v: 1, t: 'iot', a: patient, r: [[ecg, 1, 1, slot, 0, recordLength, cid]] }, byPatient),
  )
  const diagnosed = world.post(
    'docchain',
    sign(
      'docchain',
      {
        ...{
          v: 1,
          t: 'diagnosis',
          a: doctor,
          pat: patient,
          g: gid,
          basis: seen(),
          in: [[ecg, 1, 1]],
          gen: 1,
          epoch: slot,
        },
        seq: 1,
        alg: new Uint8Array(32),
        cid: bytesOf('finding'),
        len: 16_384,
      },
      { account: doctor, key: 1, signingKey: keyOf('op doctor') },
    ),
  )
  const revoked = world.post(
    'userchain',
    sign(
      'userchain',
      { ...key, ...world.consent(patient), gen: 2, cut: [[ecg, 1, 1]], close: [gid], why: 2, seen: seen() },
      byPatient,
    ),
  )
  const stateOf = (grant: Uint8Array) => {
    const key = userTables.grant.key(patient, grant)
    const { value, proof } = world.ledger.prove('userchain', key)
    return value === undefined ? { key, proof } : { key, proof, value }
  }
  const closed = stateOf(gid)
  const later = world.post('userchain', world.registration('somebody', 1))
  const policy = world.policy((argument) => {
    const [rank, org, account, node, ulog, ucos, dlog, dcos] = argument.nodes[1] as GovernedNode
    const fresh = keyOf('userchain cosigner 1 again').publicKey
    argument.nodes = argument.nodes.with(1, [rank, org, account, node, ulog, fresh, dlog, dcos])
    argument.last = [[ucos, 2]]
  })
  const governed = world.post('userchain', world.govern(governActs.policy, policy))
  trail.extend(world.step('userchain', governed.firstIndex))
  const newest = world.post('userchain', world.registration('the newest', 1))
  const anchored = world.post('docchain')
  const notes = {
    userchain: world.checkpoint('userchain', [{ rank: 0 }, { rank: 1, name: '1 again' }, { rank: 2 }]),
    docchain: world.checkpoint('docchain'),
  }
  const part = (chain: ChainName, index: number): DisputePart => {
    const entry = world.logs[chain].entry(index, notes[chain])
    const { note } = trail.receiptForm(chain, notes[chain])
    return { chain, leaf: entry.leaf, proof: encodeProof({ index, hashes: entry.hashes, checkpoint: note }) }
  }
  const end = (pending: { head: { size: number } }) => pending.head.size - 1
  const state = [gid, otherGid].map(stateOf)
  const statement = {
    v: 1,
    cid,
    size: 1024,
    ms: read.head.ms,
    store: world.policy().stores[0]?.[1] as Uint8Array,
  } as const
  const dispute: Dispute = {
    genesis: world.genesis.bytes,
    parts: [
      part('userchain', granted.firstIndex),
      part('userchain', end(granted)),
      part('userchain', read.firstIndex),
      part('userchain', end(read)),
      part('userchain', end(revoked)),
      part('userchain', end(later)),
      { ...part('userchain', end(newest)), state },
      part('docchain', diagnosed.firstIndex),
      part('docchain', end(diagnosed)),
    ],
    questions: [
      { at: read.head.ms, patient, gid },
      { at: revoked.head.ms + 1, patient, gid },
      { at: newest.head.ms, patient, gid: otherGid },
    ],
    storage: [signStatement({ name: 'storage', statement, ledgerId, signingKey: keyOf('store 0') })],
    disclosed: [{ block, first: slot, nodes: [[leaf.depth, leaf.index, leaf.key]] }],
    trail: trail.steps,
  }
  return {
    world,
    trail,
    dispute,
    patient,
    doctor,
    cid,
    slot,
    leaf,
    part,
    end,
    granted,
    read,
    diagnosed,
    revoked,
    /** Proof of the grant's record in the state after the revocation's block. */
    closed,
    anchored,
    governed,
    later,
    newest,
    statement,
    notes,
  }
}
