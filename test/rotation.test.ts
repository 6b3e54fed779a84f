/** Rotation and revocation of the user node against the real rules of the ledger: crypto's proof, lines 1, 2, 4 and 6. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { userTables } from '@healthblock/chain/tables'
import { parseTransactionLeaf, signTransaction } from '@healthblock/chain/transaction'
import type { OpenVault } from '@healthblock/crypto/vault'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { noEnd } from '../services/user-node/src/consent/compose.ts'
import { Settlement } from '../services/user-node/src/consent/settlement.ts'
import { UserNodeEvents } from '../services/user-node/src/events.ts'
import { canOpen, openAll, TestHome } from './support/home.ts'
import { type TestDoctor, TestLedger } from './support/ledger.ts'

const startMs = 1_800_000_000_000

let dir: string
let world: TestLedger
let node: TestHome

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rotation-'))
  world = new TestLedger(startMs)
  node = new TestHome(world, dir)
})

afterEach(() => {
  node.database.close()
  rmSync(dir, { recursive: true })
})

function grantAll(vault: OpenVault, doctor: TestDoctor) {
  const person = node.person()
  const streams = person.streams.map(({ stream }) => stream)
  return node.consent.grant(person, vault, { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd })
}

describe('a revocation', { timeout: 60_000 }, () => {
  test('leaves the ex-doctor without a key for anything sealed afterwards, and the other with one', async () => {
    const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
    const vault = await node.enrol()
    const leaves: Uint8Array[] = []
    const commitAll = (): void => {
      leaves.push(...node.leaves('key'), ...node.leaves('envelope'))
      node.commitAll()
    }
    await grantAll(vault, a)
    commitAll()
    await grantAll(vault, b)
    commitAll()
    const before = node.seal()
    await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, b.account))
    // Sealing does not wait for the ledger: nothing of the revocation is committed yet.
    const unrecorded = node.seal()
    commitAll()
    const after = node.seal()
    const heldByA = await openAll(world, node.person(), a, leaves)
    const heldByB = await openAll(world, node.person(), b, leaves)
    expect([before, unrecorded, after].map(({ generation }) => generation)).toEqual([1, 2, 2])
    expect([before, unrecorded, after].map(({ block }) => canOpen(heldByA, block))).toEqual([true, true, true])
    expect([before, unrecorded, after].map(({ block }) => canOpen(heldByB, block))).toEqual([true, false, false])
    world.commit(node.iot())
    vault.close()
  })

  test('is one transaction whose old envelopes nobody can post again', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    const [grantLeaf] = node.leaves('key') as [Uint8Array]
    node.commitAll()
    const granted = parseTransactionLeaf(grantLeaf).body
    if (granted.t !== 'key') throw new Error('not a key')
    const person = node.person()
    const again = signTransaction({
      ledgerId: world.ledger.ledgerId,
      chain: 'userchain',
      body: { ...granted, open: [], n: world.nowMs + 1000, gen: 1 },
      signers: [{ account: person.account, key: 1, signingKey: person.opKey }],
    })
    expect(world.judge(again.leaf)).toMatchObject({ verdict: 'refused', rule: 'key.env' })
    vault.close()
  })

  test.each([['in order'], ['the later one first']])(
    'two made offline both take effect, %s, and the stream goes on',
    async (order) => {
      const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
      const vault = await node.enrol()
      await grantAll(vault, a)
      node.commitAll()
      await grantAll(vault, b)
      node.commitAll()
      node.seal()
      await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, a.account))
      node.seal()
      world.nowMs += 5
      await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, b.account))
      node.seal()
      const readings = node.iot()
      const [first, second] = node.leaves('key') as [Uint8Array, Uint8Array]
      // The readings came first: they wait for their generations.
      expect(world.judge(readings)).toMatchObject({ verdict: 'deferred', rule: 'iot.generation' })
      if (order === 'in order') {
        world.commit(first)
        world.commit(second)
      } else {
        world.commit(second)
        expect(world.judge(first)).toMatchObject({ verdict: 'refused', rule: 'key.counter' })
      }
      world.commit(readings)
      const state = world.ledger.state('userchain')
      const { account } = node.person()
      expect(userTables.currentGeneration.get(state, account)).toBe(3)
      for (const row of node.database.all('SELECT gid FROM grants')) {
        expect(userTables.grant.get(state, account, row.gid as Uint8Array)?.c).toBeDefined()
      }
      const ecg = node.person().streams.find(({ kind }) => kind === 'ecg')?.stream as Uint8Array
      expect(userTables.last.get(state, account, ecg)?.[0]).toBe(3)
      vault.close()
    },
  )

  test.each([['returns after it'], ['arrives before it']])(
    'does not wait for a grant parked at a gateway that %s',
    async (order) => {
      const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
      const vault = await node.enrol()
      await grantAll(vault, a)
      node.commitAll()
      await grantAll(vault, b)
      const [parked] = node.leaves('key') as [Uint8Array]
      world.nowMs += 5
      await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, a.account))
      const revocation = node.leaves('key').at(-1) as Uint8Array
      const [envelope] = node.leaves('envelope') as [Uint8Array]
      if (order === 'arrives before it') world.commit(parked)
      world.commit(revocation)
      const heldByB = async (): Promise<boolean> =>
        canOpen(await openAll(world, node.person(), b, [envelope]), node.seal().block)
      if (order === 'arrives before it') {
        world.commit(envelope)
        expect(await heldByB()).toBe(true)
      } else {
        expect(world.judge(parked)).toMatchObject({ verdict: 'refused', rule: 'key.counter' })
        expect(world.judge(envelope)).toMatchObject({ verdict: 'refused', rule: 'envelope.env' })
      }
      vault.close()
    },
  )

  test('survives a crash right after it: the new generation is in use and its transaction waits', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    node.seal()
    const { tx } = await node.consent.revoke(node.person(), () => true)
    node.restart()
    expect(node.person().hot.generation).toBe(2)
    expect(node.person().hot.grants).toEqual([])
    expect(node.postings.unhanded().map((posting) => toHex(posting.tx))).toEqual([toHex(tx)])
    expect(node.seal()).toMatchObject({ generation: 2, sequence: 2 })
    node.commitAll()
    world.commit(node.iot())
    // The vault takes over the roots that were drawn without it.
    await node.consent.absorbRoots(node.person(), vault, () => {})
    expect(vault.contents.nodes.some(({ generation }) => generation === 2)).toBe(true)
    vault.close()
  })

  test('that expired before it could be sent is signed again, with the same keys', async () => {
    const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    await grantAll(vault, b)
    node.commitAll()
    const { tx } = await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, b.account))
    const [stale] = node.leaves('key') as [Uint8Array]
    world.nowMs += 30 * 3_600_000
    world.commitAsOrganisation({
      v: 1,
      t: 'licence',
      a: world.organisation,
      ...world.consent(),
      doctor: b.account,
      state: 1,
      from: 1,
      to: 2 ** 45,
    })
    expect(world.judge(stale)).toMatchObject({ verdict: 'refused', rule: 'key.expiry' })
    node.postings.markHanded(tx)
    node.postings.markFinal(tx, 'refused')
    node.database.run("UPDATE consent SET state = 'refused' WHERE tx = ?", tx)
    await node.consent.reissue(node.person())
    const [fresh] = node.leaves('key') as [Uint8Array]
    world.commit(fresh)
    expect(canOpen(await openAll(world, node.person(), a, [fresh]), node.seal().block)).toBe(true)
    vault.close()
  })

  test('that was refused while there was no room to write that down is settled by a later round, once', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    const { tx } = await node.consent.revoke(node.person(), () => true)
    node.postings.markHanded(tx)
    const entry = {
      id: toHex(tx),
      chain: 'userchain',
      status: 'refused',
      addedMs: 0,
      attempts: 1,
      rule: 'key.expiry',
    } as const
    const logger = createLogger({ name: 'test', level: 'silent' })
    const settlement = new Settlement({
      ...{
        dir,
        database: node.database,
        people: node.store,
        client: { receipt: () => Promise.reject(new Error('away')) },
      },
      ...{ events: new UserNodeEvents(logger), logger, nowMs: () => world.nowMs },
      reissue: (person) => node.consent.reissue(person),
    })
    // The outbox has its answer, and it reached the list of postings, but not the consent.
    node.postings.markFinal(tx, 'refused')
    await settlement.resume(() => entry)
    const [fresh, ...more] = node.leaves('key') as [Uint8Array, ...Uint8Array[]]
    expect(more).toEqual([])
    world.nowMs += 3_600_000
    await settlement.resume(() => entry)
    expect(node.leaves('key')).toHaveLength(1)
    world.commit(fresh)
    const row = node.database.get('SELECT gid FROM grants')
    const { account } = node.person()
    expect(userTables.grant.get(world.ledger.state('userchain'), account, row?.gid as Uint8Array)?.c).toBeDefined()
    vault.close()
  })

  test('is not undone by a folder that was restored from before it', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    node.seal()
    world.commit(node.iot())
    node.database.close()
    const copy = mkdtempSync(join(tmpdir(), 'rotation-copy-'))
    cpSync(dir, copy, { recursive: true })
    node.open()
    await node.consent.revoke(node.person(), () => true)
    node.commitAll()
    node.seal()
    world.commit(node.iot())
    node.database.close()
    rmSync(dir, { recursive: true })
    cpSync(copy, dir, { recursive: true })
    rmSync(copy, { recursive: true })
    node.open()
    expect(node.person().hot.generation).toBe(1)
    await node.consent.rotate(node.person())
    node.commitAll()
    expect(node.person().hot.generation).toBe(3)
    expect(node.seal()).toMatchObject({ generation: 3, sequence: 3 })
    world.commit(node.iot())
    vault.close()
  })
})
