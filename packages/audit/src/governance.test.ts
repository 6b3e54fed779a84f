/** Evidence on record, and what the organisations did about it. */
import type { ChainName } from '@healthblock/chain/chains'
import { chainOrigin, checkpointText, cosignCheckpoint, signCheckpoint } from '@healthblock/chain/checkpoint'
import { type GovernedNode, governActs } from '@healthblock/chain/governing'
import { encodeSignedStatement, encodeSingleNote, evidenceKinds } from '@healthblock/chain/misconduct'
import { signStatement } from '@healthblock/chain/statement'
import { userTables } from '@healthblock/chain/tables'
import type { EvidenceBody, Transaction } from '@healthblock/chain/transaction'
import { encodeUtf8, toHex } from '@healthblock/encoding/bytes'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import { beforeEach, expect, test } from 'vitest'
import { Consortium, nodeKeys } from '../../chain/src/consortium.test-support.ts'
import { bytesOf, keyOf } from '../../chain/src/sample.test-support.ts'
import { EvidenceCheck, isEvidenceSettled } from './governance.ts'
import { Nodes } from './nodes.ts'
import { PromiseCheck, silentMsMax } from './promises.ts'
import { FindingList } from './report.ts'
import { SignedHeads } from './signed-heads.ts'

let world: Consortium
let findings: FindingList
let check: EvidenceCheck
/** What nodes signed under their names, by account. */
let names: Map<string, string>

beforeEach(() => {
  world = new Consortium()
  findings = new FindingList()
  names = new Map()
  check = new EvidenceCheck(world.ledger, { nameOf: (account) => names.get(toHex(account)) }, findings)
})

function post(chain: ChainName, ...transactions: Transaction[]): void {
  const { firstIndex } = world.post(chain, ...transactions)
  check.block({ chain, firstIndex, transactions })
}

/** Rank 1 gets other keys, all of them. */
function renew(name: string): void {
  const argument = world.policy((next) => {
    const [rank, org, account, , , ucos, , dcos] = next.nodes[1] as GovernedNode
    next.nodes = next.nodes.with(1, [rank, org, account, ...nodeKeys(name)])
    next.last = [
      [ucos, 8],
      [dcos, 8],
    ]
  })
  post('userchain', world.govern(governActs.policy, argument))
}

/** A note of rank 1's key, of a head that no log has. */
function forged(chain: ChainName, kind: 'log' | 'cosigner', size: number, name = '1'): Uint8Array {
  const { ledgerId } = world.genesis
  const head = { origin: chainOrigin({ ledgerId, chain }), size, root: bytesOf('forged') }
  const signer = keyOf(`${chain} ${kind} ${name}`)
  if (kind === 'log') return encodeUtf8(signCheckpoint(head, signer))
  return encodeSingleNote(checkpointText(head), cosignCheckpoint(head, { rank: 1, signer, nowMs: world.nowMs }))
}

function accuse(chain: ChainName, kind: number, ...notes: Uint8Array[]): void {
  const [a] = world.organisations as [Uint8Array]
  post(chain, world.byOrganisation(chain, { v: 1, t: 'evidence', a, kind, notes }))
}

function open(): string[] {
  check.list([])
  return findings.list(() => undefined).map(({ code, chain, index, node }) => `${code} ${chain} ${index} ${node}`)
}

/** A promise under rank 1's node key, of a height at which that was its key. */
function promise(): Uint8Array[] {
  const [, gateway] = world.nodes as [Uint8Array, Uint8Array]
  const tx = bytesOf('promised')
  const says = { v: 1, chain: 1, gateway, txs: [tx], height: 0, deadline: world.nowMs } as const
  const { ledgerId } = world.genesis
  const signed = signStatement({ name: 'accepted', statement: says, ledgerId, signingKey: keyOf('node 1') })
  return [encodeSignedStatement(signed), tx]
}

test('evidence is open until all keys of its node are others', () => {
  const account = toHex(world.nodes[1] as Uint8Array)
  accuse('userchain', evidenceKinds.conflict, forged('userchain', 'cosigner', 1))
  expect(open()).toEqual([`evidence.conflict userchain 2 ${account}`])
  renew('1 again')
  const notes: string[] = []
  check.list(notes)
  expect(notes).toEqual(['evidence against nodes that were removed or have other keys since: 1 on record'])
})

test.each([
  ['a log key, at any size', () => accuse('userchain', evidenceKinds.conflict, forged('userchain', 'log', 3))],
  [
    'a cosigner key, below its last size',
    () => accuse('userchain', evidenceKinds.conflict, forged('userchain', 'cosigner', 3)),
  ],
  ['a node key, by a promise of a height before', () => accuse('userchain', evidenceKinds.brokenPromise, ...promise())],
])('what a thief shows after the keys were replaced is held against nobody: %s', (_, show) => {
  renew('1 again')
  show()
  const notes: string[] = []
  check.list(notes)
  expect(findings.list(() => undefined)).toEqual([])
  expect(notes).toEqual(['evidence against nodes that were removed or have other keys since: 1 on record'])
})

test('what the keys in force show stays open, whatever was replaced before', () => {
  const account = toHex(world.nodes[1] as Uint8Array)
  renew('1 again')
  accuse('userchain', evidenceKinds.conflict, forged('userchain', 'cosigner', 1, '1 again'))
  expect(open()).toEqual([`evidence.conflict userchain 4 ${account}`])
  renew('1 once more')
  const notes: string[] = []
  check.list(notes)
  expect(notes).toEqual(['evidence against nodes that were removed or have other keys since: 1 on record'])
})

test('the newest state alone says of each piece whether it is settled, as the audit that saw every block does', () => {
  const bodies: EvidenceBody[] = []
  const accuseBy = (name: string, size: number): void => {
    const [a] = world.organisations as [Uint8Array]
    const notes = [forged('userchain', 'cosigner', size, name)]
    bodies.push({ v: 1, t: 'evidence', a, kind: evidenceKinds.conflict, notes })
    accuse('userchain', evidenceKinds.conflict, ...notes)
  }
  const settled = (): boolean[] => {
    const list = bodies.map((body, k) => {
      const record = userTables.evidence.get(world.ledger.state('userchain'), k)
      if (record === undefined) throw new Error(`no record ${k}`)
      return isEvidenceSettled({ ledger: world.ledger, chain: 'userchain' }, record, body)
    })
    const notes: string[] = []
    check.list(notes)
    const count = list.filter(Boolean).length
    expect(notes.map((note) => note.match(/: (\d+) on record/)?.[1])).toEqual(count === 0 ? [] : [`${count}`])
    return list
  }
  accuseBy('1', 1)
  expect(settled()).toEqual([false])
  renew('1 again')
  expect(settled()).toEqual([true])
  accuseBy('1 again', 3)
  expect(settled()).toEqual([true, false])
  renew('1 once more')
  expect(settled()).toEqual([true, true])
})

test('a node whose name is known is called by name and account, and is told once', () => {
  const account = toHex(world.nodes[1] as Uint8Array)
  names.set(account, 'accounting-1')
  accuse('userchain', evidenceKinds.conflict, forged('userchain', 'cosigner', 1))
  expect(open()).toEqual(['evidence.conflict userchain 2 accounting-1'])
  const [finding] = findings.list(() => undefined)
  expect(finding?.message).toContain(`accounting-1 (node ${account}) signed a head that is not of this log`)
  names.clear()
  expect(open()).toHaveLength(1)
})

test('a head that the log does not have is said to be of a key in force, or of one that was replaced', () => {
  const client = new LedgerClient({ urls: ['http://127.0.0.1:1'], trust: genesisTrust(world.genesis) })
  const heads = new SignedHeads(new Nodes([], client, findings), findings)
  const served = {
    chain: 'userchain',
    node: 'elsewhere',
    note: new TextDecoder().decode(forged('userchain', 'cosigner', 1)),
  } as const
  const name = `node ${toHex(world.nodes[1] as Uint8Array).slice(0, 16)}`
  heads.take(served)
  heads.judge(world.ledger)
  renew('1 again')
  const later = new FindingList()
  const after = new SignedHeads(new Nodes([], client, later), later)
  after.take(served)
  after.judge(world.ledger)
  const messages = [findings, later].flatMap((list) => list.list(() => undefined).map(({ message }) => message))
  expect(messages).toEqual([
    expect.stringMatching(`^${name} signed a root of userchain at 1 entries`),
    expect.stringMatching(`^a key that ${name} has no longer .* signed a root of userchain at 1 entries`),
  ])
})

test('a broken promise is said to be of the key in force, or of one that was replaced', async () => {
  const client = new LedgerClient({ urls: ['http://127.0.0.1:1'], trust: genesisTrust(world.genesis) })
  const [statement] = promise() as [Uint8Array]
  const messageUnder = async (...keyNames: string[]): Promise<string | undefined> => {
    const list = new FindingList()
    const nodeKeysOf = () => keyNames.map((name) => keyOf(`node ${name}`).publicKey)
    const nodes = new Nodes([], client, list)
    const nowMs = world.nowMs + 60_000 + silentMsMax
    await new PromiseCheck().check([statement], { ledger: world.ledger, nodes, findings: list, nowMs, nodeKeysOf })
    return list.list(() => undefined)[0]?.message
  }
  const gateway = `gateway ${toHex(world.nodes[1] as Uint8Array).slice(0, 16)}`
  expect(await messageUnder('1')).toMatch(new RegExp(`^${gateway} promised an answer`))
  expect(await messageUnder('1 again', '1')).toMatch(
    new RegExp(`^a node key that ${gateway} has no longer .* promised an answer`),
  )
})
