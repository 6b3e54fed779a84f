/**
 * The proof that rotation works, at the level of bytes: the user node's own parts over a real database file, against the
 * real rules of the ledger. The number of what is proven stands in each name; test/e2e/rotation.test.ts has the same
 * numbers through running services, packages/crypto/src/rotation.test.ts those of the keys alone.
 */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { liveAt } from '@healthblock/chain/live-at'
import { userTables } from '@healthblock/chain/tables'
import { parseTransactionLeaf, signTransaction } from '@healthblock/chain/transaction'
import { openEnvelope } from '@healthblock/crypto/envelope'
import type { OpenVault } from '@healthblock/crypto/vault'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { createLogger } from '@healthblock/runtime/logger'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { noEnd } from '../services/user-node/src/consent/compose.ts'
import { Settlement } from '../services/user-node/src/consent/settlement.ts'
import { UserNodeEvents } from '../services/user-node/src/events.ts'
import { epochKeyOf } from '../services/user-node/src/store/person.ts'
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

/** Stops the node and copies its folder. */
function copyFolder(): string {
  node.database.close()
  const copy = mkdtempSync(join(tmpdir(), 'rotation-copy-'))
  cpSync(dir, copy, { recursive: true })
  return copy
}

/** Stops the node and puts the copy in the place of its folder. */
function restoreFolder(copy: string): void {
  node.database.close()
  rmSync(dir, { recursive: true })
  cpSync(copy, dir, { recursive: true })
  rmSync(copy, { recursive: true })
}

function grantAll(vault: OpenVault, doctor: TestDoctor) {
  const person = node.person()
  const streams = person.streams.map(({ stream }) => stream)
  return node.consent.grant(person, vault, { to: doctor.account, streams, fromMs: world.nowMs, untilMs: noEnd })
}

describe('a revocation', { timeout: 60_000 }, () => {
  test('1: leaves the ex-doctor without a key for anything sealed afterwards, and the other with one', async () => {
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

  test('2: is one transaction whose old envelopes nobody can post again', async () => {
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
    // Nor for the next generation, under whatever name, after the doctor was revoked.
    await node.consent.revoke(node.person(), () => true)
    node.commitAll()
    const generation = node.person().hot.generation
    const [seen, first] = [granted.seen, node.person().hot.first]
    for (const [gid] of granted.env) {
      const body = { ...granted, open: [], close: [], cut: [], n: world.nowMs + 2000, gen: generation, first, seen }
      for (const env of [granted.env, granted.env.map(([, , bytes]) => [gid, generation, bytes] as const)]) {
        const replayed = signTransaction({
          ledgerId: world.ledger.ledgerId,
          chain: 'userchain',
          body: { ...body, env },
          signers: [{ account: person.account, key: 1, signingKey: person.opKey }],
        })
        expect(world.judge(replayed.leaf)).toMatchObject({ verdict: 'refused', rule: 'key.env' })
      }
    }
    const [, , bytes] = granted.env[0] as (typeof granted.env)[number]
    for (const wrong of [{ generation }, { grantId: new Uint8Array(16) }, { recipient: world.organisation }]) {
      const place = { patient: person.account, grantId: granted.env[0]?.[0] as Uint8Array, generation: 1 }
      const context = { ledgerId: world.ledger.ledgerId, ...place, recipient: a.account, ...wrong }
      await expect(openEnvelope({ keyPair: a.kem, context, envelope: bytes })).rejects.toThrow()
    }
    vault.close()
  })

  test.each([['in order'], ['the later one first']])(
    '4: two made offline both take effect, %s, and the stream goes on',
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
    '3: does not wait for a grant parked at a gateway that %s',
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

  test('6: survives a crash right after it: the new generation is in use and its transaction waits', async () => {
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

  test('6: that expired before it could be sent is signed again, with the same keys', async () => {
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

  test('6: that is the twentieth without a network, all of them expired, takes effect all the same', async () => {
    const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    await grantAll(vault, b)
    node.commitAll()
    node.seal()
    await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, b.account))
    for (let i = 0; i < 19; i++) {
      if (i % 7 === 0) node.seal()
      world.nowMs += 60_000
      await node.consent.rotate(node.person())
    }
    const newest = node.person().hot.generation
    expect(newest).toBe(21)
    for (const { tx } of node.postings.unhanded()) {
      node.postings.markHanded(tx)
      node.postings.markFinal(tx, 'refused')
    }
    node.database.run("UPDATE consent SET state = 'refused' WHERE state = 'pending'")
    world.nowMs += 30 * 3_600_000
    world.commitAsOrganisation({
      ...{ v: 1, t: 'licence', a: world.organisation, ...world.consent(), doctor: a.account },
      ...{ state: 1, from: 1, to: 2 ** 45 },
    })
    const { account } = node.person()
    const current = (): number => userTables.currentGeneration.get(world.ledger.state('userchain'), account) ?? 0
    await node.consent.reissue(node.person())
    node.commitAll()
    // The revocation counts from the first step on.
    const grants = node.database.all('SELECT gid, doctor FROM grants')
    const closed = (doctor: Uint8Array) => {
      const gid = grants.find((row) => equalBytes(row.doctor as Uint8Array, doctor))?.gid as Uint8Array
      return userTables.grant.get(world.ledger.state('userchain'), account, gid)?.c !== undefined
    }
    expect([current(), closed(a.account), closed(b.account)]).toEqual([17, false, true])
    await node.consent.reissue(node.person())
    const [last] = node.leaves('key') as [Uint8Array]
    node.commitAll()
    expect(current()).toBe(newest)
    await node.consent.reissue(node.person())
    expect(node.postings.unhanded()).toEqual([])
    const { block } = node.seal()
    expect(canOpen(await openAll(world, node.person(), a, [last]), block)).toBe(true)
    expect(canOpen(await openAll(world, node.person(), b, [last]), block)).toBe(false)
    world.commit(node.iot())
    vault.close()
  })

  test('6: that was refused while there was no room to write that down is settled by a later round, once', async () => {
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
      consent: node.consent,
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

  test('6: that is refused again and again is signed again at once, then every 30 s, and takes effect when it is taken', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    await node.consent.revoke(node.person(), () => true)
    const logger = createLogger({ name: 'test', level: 'silent' })
    const settlement = new Settlement({
      ...{ dir, database: node.database, people: node.store, consent: node.consent, logger },
      client: { receipt: () => Promise.reject(new Error('away')) },
      ...{ events: new UserNodeEvents(logger), nowMs: () => world.nowMs },
    })
    const refused = { status: 'refused', addedMs: 0, attempts: 1, rule: 'key.expiry', chain: 'userchain' } as const
    const signed = (): number => Number(node.database.get('SELECT count(*) AS n FROM consent WHERE closes > 0')?.n)
    const pending = (): Uint8Array | undefined =>
      node.database.get("SELECT tx FROM consent WHERE state = 'pending' AND closes > 0")?.tx as Uint8Array | undefined
    const refuseAll = async (): Promise<void> => {
      for (let tx = pending(); tx !== undefined; tx = pending()) {
        node.postings.markFinal(tx, 'refused')
        await settlement.settle(node.person(), { ...refused, id: toHex(tx) })
      }
    }
    await refuseAll()
    expect(signed()).toBe(9)
    await settlement.resume(() => undefined)
    await refuseAll()
    await settlement.resume(() => undefined)
    expect(signed()).toBe(10)
    world.nowMs += 30_000
    await settlement.resume(() => undefined)
    const tx = pending() as Uint8Array
    node.commitAll()
    await settlement.settle(node.person(), { ...refused, status: 'committed', id: toHex(tx) })
    const gid = node.database.get('SELECT gid FROM grants')?.gid as Uint8Array
    const { account } = node.person()
    expect(userTables.grant.get(world.ledger.state('userchain'), account, gid)?.c).toBeDefined()
    vault.close()
  })

  test('6: that runs while the ledger refuses a grant does not renew it', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    const { tx } = await grantAll(vault, a)
    const logger = createLogger({ name: 'test', level: 'silent' })
    const settlement = new Settlement({
      ...{ dir, database: node.database, people: node.store, consent: node.consent, logger },
      client: { receipt: () => Promise.reject(new Error('away')) },
      ...{ events: new UserNodeEvents(logger), nowMs: () => world.nowMs },
    })
    const rotating = node.consent.rotate(node.person())
    // It has looked at the grants by now, and seals.
    await new Promise((resolve) => setImmediate(resolve))
    const refused = { status: 'refused', addedMs: 0, attempts: 1, rule: 'key.counter' } as const
    await settlement.settle(node.person(), { ...refused, id: toHex(tx), chain: 'userchain' })
    await rotating
    expect(node.person().hot.grants).toEqual([])
    vault.close()
  })

  test('6: follows a grant that the ledger refused: its keys went out, and open nothing that is sealed from then on', async () => {
    const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    const { tx } = await grantAll(vault, b)
    // Whoever was to put it on record kept it until it was too late.
    const leaf = node.leaves('key').at(-1) as Uint8Array
    node.postings.markHanded(tx)
    node.postings.markFinal(tx, 'refused')
    world.nowMs += 86_400_000
    expect(world.judge(leaf)).toMatchObject({ verdict: 'refused', rule: 'key.expiry' })
    const before = node.seal()
    const logger = createLogger({ name: 'test', level: 'silent' })
    const settlement = new Settlement({
      ...{ dir, database: node.database, people: node.store, consent: node.consent, logger },
      client: { receipt: () => Promise.reject(new Error('away')) },
      ...{ events: new UserNodeEvents(logger), nowMs: () => world.nowMs },
    })
    const refused = { status: 'refused', addedMs: 0, attempts: 1, rule: 'key.expiry' } as const
    await settlement.resume(() => ({ ...refused, id: toHex(tx), chain: 'userchain' }))
    const after = node.seal()
    const [byA, byB] = [[leaf, ...node.leaves('key'), ...node.leaves('envelope')], [leaf]]
    node.commitAll()
    expect(canOpen(await openAll(world, node.person(), b, byB), before.block)).toBe(true)
    expect(canOpen(await openAll(world, node.person(), b, byA), after.block)).toBe(false)
    expect(canOpen(await openAll(world, node.person(), a, byA), after.block)).toBe(true)
    // Once is enough.
    await settlement.resume(() => ({ ...refused, id: toHex(tx), chain: 'userchain' }))
    expect([after.generation, node.person().hot.generation]).toEqual([2, 2])
    world.commit(node.iot())
    vault.close()
  })

  test('6: that was made while the clock was two days ahead takes effect once it is set right, and the stream goes on', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    node.seal()
    world.commit(node.iot())
    const aheadMs = 2 * 86_400_000
    world.nowMs += aheadMs
    node.seal()
    const { tx } = await node.consent.revoke(node.person(), () => true)
    node.seal()
    world.nowMs -= aheadMs
    expect(world.judge(node.iot())).toMatchObject({ verdict: 'refused', rule: 'iot.epoch' })
    const posted = node.database.get("SELECT tx FROM batch WHERE state = 'posted' AND sequence = 2")?.tx as Uint8Array
    node.database.transaction(() => node.losses.takeBack(node.person(), posted))
    expect(world.judge(node.leaves('key')[0] as Uint8Array)).toMatchObject({ verdict: 'refused', rule: 'key.counter' })
    node.postings.markHanded(tx)
    const logger = createLogger({ name: 'test', level: 'silent' })
    const settlement = new Settlement({
      ...{ dir, database: node.database, people: node.store, consent: node.consent, logger },
      client: { receipt: () => Promise.reject(new Error('away')) },
      ...{ events: new UserNodeEvents(logger), nowMs: () => world.nowMs },
    })
    const refused = { status: 'refused', addedMs: 0, attempts: 1, rule: 'key.expiry' } as const
    await settlement.settle(node.person(), { ...refused, id: toHex(tx), chain: 'userchain' })
    // Whoever waits for the revocation is told of the one that took its place.
    const place = parseTransactionLeaf(node.leaves('key')[0] as Uint8Array)
    const next = toHex(world.ledger.transactionId('userchain', place))
    expect(settlement.find(node.person(), toHex(tx))).toMatchObject({ transactionId: next, recordedAt: null })
    node.commitAll()
    const { account } = node.person()
    const gid = node.database.get('SELECT gid FROM grants')?.gid as Uint8Array
    expect(userTables.grant.get(world.ledger.state('userchain'), account, gid)?.c).toBeDefined()
    expect(node.sealer.seal(node.person(), node.stream('ecg'), true)).toBeGreaterThan(0)
    expect(node.records().slice(-1)).toMatchObject([{ generation: 3, epoch: Math.floor(world.nowMs / 3_600_000) }])
    world.commit(node.iot())
    vault.close()
  })

  test('6: of a restored folder that had not caught up, under a number that is taken, is followed by another', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    node.seal()
    world.commit(node.iot())
    const copy = copyFolder()
    const behind = world.fork()
    node.open()
    node.seal()
    await node.consent.rotate(node.person())
    node.commitAll()
    world.commit(node.iot())
    restoreFolder(copy)
    // The network is away, and the keys run out.
    Object.assign(node, { world: behind })
    node.open()
    await node.consent.rotate(node.person())
    const [taken] = node.leaves('key') as [Uint8Array]
    expect(node.consent.isOutrun(node.person())).toBe(false)
    node.database.close()
    Object.assign(node, { world })
    node.open()
    expect(world.judge(taken)).toMatchObject({ verdict: 'refused' })
    expect([node.person().hot.generation, node.consent.isOutrun(node.person())]).toEqual([2, true])
    await node.consent.rotate(node.person())
    expect([node.person().hot.generation, node.consent.isOutrun(node.person())]).toEqual([3, false])
    const fresh = node.leaves('key').at(-1) as Uint8Array
    world.commit(fresh)
    const sealed = node.seal()
    expect(sealed.generation).toBe(3)
    expect(canOpen(await openAll(world, node.person(), a, [fresh]), sealed.block)).toBe(true)
    vault.close()
  })

  test('6: is not undone by a folder that was restored from before it', async () => {
    const a = world.enrolDoctor()
    const vault = await node.enrol()
    await grantAll(vault, a)
    node.commitAll()
    node.seal()
    world.commit(node.iot())
    const copy = copyFolder()
    node.open()
    await node.consent.revoke(node.person(), () => true)
    node.commitAll()
    node.seal()
    world.commit(node.iot())
    restoreFolder(copy)
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

/** All orders of a list. */
function permutations<T>(items: readonly T[]): T[][] {
  if (items.length <= 1) return [[...items]]
  return items.flatMap((item, position) =>
    permutations(items.filter((_, other) => other !== position)).map((rest) => [item, ...rest]),
  )
}

test('4: readings and two rotations, in all 120 orders: the stream goes on, without a gap, nothing of the wrong generation', {
  timeout: 120_000,
}, async () => {
  const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
  const vault = await node.enrol()
  await grantAll(vault, a)
  node.commitAll()
  await grantAll(vault, b)
  node.commitAll()
  vault.close()
  const five: Uint8Array[] = []
  const readings = (): void => {
    node.seal()
    node.seal()
    five.push(node.iot())
  }
  const rotation = async (doctor: TestDoctor): Promise<void> => {
    await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, doctor.account))
    world.nowMs += 5
    five.push(node.leaves('key').at(-1) as Uint8Array)
  }
  readings()
  await rotation(a)
  readings()
  await rotation(b)
  readings()
  const { account } = node.person()
  const ecg = node.stream('ecg').stream
  const grants = node.database.all('SELECT gid FROM grants').map(({ gid }) => gid as Uint8Array)
  const records = node.records()
  for (const order of permutations([0, 1, 2, 3, 4])) {
    const fork = world.fork()
    const verdicts = fork.deliver(order.map((position) => five[position] as Uint8Array))
    const state = fork.ledger.state('userchain')
    // Only the earlier rotation may be refused: the later one repeats its cuts and closes.
    for (const [at, verdict] of verdicts.entries()) {
      if (order[at] === 1) expect(verdict.verdict, order.join()).toMatch(/^(valid|refused)$/)
      else expect(verdict, order.join()).toEqual({ verdict: 'valid' })
    }
    expect(userTables.currentGeneration.get(state, account)).toBe(3)
    expect(grants.map((gid) => userTables.grant.get(state, account, gid)?.c !== undefined)).toEqual([true, true])
    expect(userTables.last.get(state, account, ecg)?.[0]).toBe(6)
    const index = fork.ledger.index('userchain')
    const committed = records.map(({ sequence }) => index.record(account, ecg, sequence))
    expect(committed.map((entry) => [entry?.generation, entry?.kind])).toEqual(
      records.map(({ generation }) => [generation, 0]),
    )
  }
})

describe('a window', { timeout: 120_000 }, () => {
  const epochMs = 2_000

  beforeEach(() => {
    node.database.close()
    rmSync(dir, { recursive: true })
    dir = mkdtempSync(join(tmpdir(), 'rotation-'))
    world = new TestLedger(startMs, epochMs)
    node = new TestHome(world, dir)
  })

  test('5: opens its first and its last epoch and neither the one before nor the one after, over several generations', async () => {
    const doctors = Array.from({ length: 12 }, () => world.enrolDoctor())
    const vault = await node.enrol()
    const absorb = () => node.consent.absorbRoots(node.person(), vault, () => {})
    const base = Math.floor(world.nowMs / epochMs)
    for (let i = 0; i < 20; i++) {
      node.seal()
      if (i % 7 === 6) {
        await node.consent.rotate(node.person())
        await absorb()
      }
    }
    const leaves = node.commitAll()
    const nowEpoch = Math.floor(world.nowMs / epochMs)
    const ecg = node.stream('ecg').stream
    const windows = doctors.map((_, i) => {
      // From anywhere in the past, or the near future, to anywhere in the next epochs.
      const from = base + ((i * 5) % (nowEpoch - base + 3))
      return { from, until: Math.max(nowEpoch, from) + 2 + (i % 6) }
    })
    for (const [i, { from, until }] of windows.entries()) {
      const request = { streams: [ecg], fromMs: from * epochMs, untilMs: until * epochMs + (i % 2) * 700 }
      await node.consent.grant(node.person(), vault, { to: (doctors[i] as TestDoctor).account, ...request })
      await absorb()
      leaves.push(...node.commitAll())
    }
    for (let i = 0; i < 22; i++) {
      node.seal()
      if (i % 9 !== 8) continue
      await node.consent.rotate(node.person())
      await absorb()
      leaves.push(...node.commitAll())
    }
    const records = node.records()
    expect(new Set(records.map(({ generation }) => generation)).size).toBeGreaterThan(4)
    world.commit(node.iot())
    for (const [i, { from, until }] of windows.entries()) {
      const held = await openAll(world, node.person(), doctors[i] as TestDoctor, leaves)
      const opened = records.filter(({ block }) => canOpen(held, block)).map(({ sequence }) => sequence)
      const inside = records.filter(({ epoch }) => from <= epoch && epoch < until).map(({ sequence }) => sequence)
      expect(opened, `window ${i}: ${from} to ${until}`).toEqual(inside)
      expect(inside.length).toBeGreaterThan(0)
    }
    vault.close()
  })

  test('5: ends on the ledger at its moment: no diagnosis after it is judged under a grant that lives', async () => {
    const doctor = world.enrolDoctor()
    const vault = await node.enrol()
    const untilMs = world.nowMs + 3 * epochMs + 500
    const streams = [node.stream('ecg').stream]
    const request = { to: doctor.account, streams, fromMs: world.nowMs, untilMs }
    const { grantId } = await node.consent.grant(node.person(), vault, request)
    node.commitAll()
    const s = world.ledger.head('userchain').size
    const at = (timeMs: number) =>
      liveAt(world.ledger.state('userchain'), { patient: node.person().account, gid: grantId, s, timeMs })
    expect(at(untilMs - 1)).toBeDefined()
    expect(at(untilMs)).toBeUndefined()
    world.nowMs = untilMs
    // A rotation does not renew what has run out.
    await node.consent.rotate(node.person())
    expect(node.person().hot.grants).toEqual([])
    expect(parseTransactionLeaf(node.leaves('key').at(-1) as Uint8Array).body).toMatchObject({ env: [] })
    await expect(node.consent.grant(node.person(), vault, request)).rejects.toMatchObject({
      detail: { code: 'ERR_GRANT_INVALID', field: 'until' },
    })
    await expect(
      node.consent.grant(node.person(), vault, { ...request, fromMs: world.nowMs, untilMs: world.nowMs + 1 }),
    ).rejects.toMatchObject({ detail: { code: 'ERR_GRANT_INVALID', field: 'until' } })
    vault.close()
  })

  test('5: the hot store keeps neither the past nor the future of an ended generation', async () => {
    const vault = await node.enrol()
    const old = node.seal()
    world.nowMs += 50 * epochMs
    const late = node.seal()
    await node.consent.forget(node.person(), late.epoch)
    const reaches = (epoch: number, generation: number): boolean =>
      epochKeyOf(node.person().hot.nodes, { stream: node.stream('ecg').stream, generation, epoch }) !== undefined
    expect([old.epoch, late.epoch, late.epoch + 1000].map((epoch) => reaches(epoch, 1))).toEqual([false, true, true])
    await node.consent.rotate(node.person())
    expect([late.epoch, late.epoch + 3].map((epoch) => reaches(epoch, 1))).toEqual([true, false])
    expect(reaches(late.epoch + 1000, 2)).toBe(true)
    // The vault opens all of it still.
    const held = vault.contents.nodes.filter(({ stream }) => equalBytes(stream, node.stream('ecg').stream))
    const keys = held.map((each) => ({ ...each, nodes: [...each.nodes] }))
    expect([old, late].map(({ block }) => canOpen(keys, block))).toEqual([true, true])
    vault.close()
  })
})

test('6: a crash at each step of a revocation loses neither keys nor readings, and undoes nothing that was answered', {
  timeout: 120_000,
}, async () => {
  const [a, b] = [world.enrolDoctor(), world.enrolDoctor()]
  const vault = await node.enrol()
  await grantAll(vault, a)
  const leaves = node.commitAll()
  await grantAll(vault, b)
  leaves.push(...node.commitAll())
  let before = node.seal()
  world.commit(node.iot())
  let crashes = 0
  for (let step = 1; ; step++) {
    // The process dies at its step-th call of the database from the click on.
    let calls = 0
    const { database } = node
    for (const name of ['run', 'get', 'all'] as const) {
      const call = database[name].bind(database) as (...args: unknown[]) => unknown
      Object.assign(database, {
        [name]: (...args: unknown[]) => {
          if (++calls >= step) throw new Error('dies here')
          return call(...args)
        },
      })
    }
    const answer = await node.consent
      .revoke(node.person(), ({ recipient }) => equalBytes(recipient, b.account))
      .catch(() => undefined)
    node.restart()
    const after = node.seal()
    if (answer !== undefined) {
      expect(after.generation).toBe(before.generation + 1)
      break
    }
    crashes++
    // Not answered, so nothing happened: the keys of before are in use, nothing of a new generation waits.
    expect([after.generation, after.sequence]).toEqual([before.generation, before.sequence + 1])
    expect(node.leaves('key')).toEqual([])
    expect(node.person().hot.grants).toHaveLength(2)
    expect(node.database.get('SELECT count(*) AS n FROM cut')?.n).toBe(0)
    world.commit(node.iot())
    const held = await openAll(world, node.person(), b, leaves)
    expect(canOpen(held, after.block)).toBe(true)
    before = after
  }
  expect(crashes).toBeGreaterThan(10)
  leaves.push(...node.commitAll())
  world.commit(node.iot())
  const [last] = node.records().slice(-1)
  const opens = async (doctor: TestDoctor): Promise<boolean> =>
    canOpen(await openAll(world, node.person(), doctor, leaves), last?.block as Uint8Array)
  expect([await opens(a), await opens(b)]).toEqual([true, false])
  vault.close()
})

test('7: with 1,000 doctors a revocation is one transaction, and every entry is at most 65,535 bytes', {
  timeout: 600_000,
}, async () => {
  const entryBytesMax = 65_535
  const vault = await node.enrol()
  const doctors = Array.from({ length: 1_000 }, () => world.enrolDoctor())
  for (const [position, doctor] of doctors.entries()) {
    await grantAll(vault, doctor)
    if (position % 100 === 99) await node.consent.absorbRoots(node.person(), vault, () => {})
    for (const leaf of node.commitAll()) expect(leaf.length).toBeLessThanOrEqual(entryBytesMax)
  }
  const [first, last] = [doctors[0], doctors.at(-1)] as [TestDoctor, TestDoctor]
  world.nowMs += 10
  const { tx } = await node.consent.revoke(node.person(), ({ recipient }) => equalBytes(recipient, first.account))
  const posted = node.postings.unhanded()
  expect(Math.max(...posted.map(({ leaf }) => leaf.length))).toBeLessThanOrEqual(entryBytesMax)
  // The first of them ends the access, whatever becomes of the others.
  const [revocation, ...envelopes] = posted
  expect(posted.filter(({ what }) => what === 'key').map((posting) => toHex(posting.tx))).toEqual([toHex(tx)])
  expect(toHex(revocation?.tx as Uint8Array)).toBe(toHex(tx))
  const { account } = node.person()
  world.commit(revocation?.leaf as Uint8Array)
  const state = world.ledger.state('userchain')
  const closed = node.database.all('SELECT gid FROM grants WHERE closed IS NOT NULL')
  expect(closed).toHaveLength(1)
  expect(userTables.grant.get(state, account, closed[0]?.gid as Uint8Array)?.c).toBeDefined()
  for (const { leaf } of envelopes) world.commit(leaf)
  const after = node.seal()
  const leaves = posted.map(({ leaf }) => leaf)
  const opens = async (doctor: TestDoctor): Promise<boolean> =>
    canOpen(await openAll(world, node.person(), doctor, leaves), after.block)
  expect([await opens(first), await opens(last)]).toEqual([false, true])
  const entries = leaves.flatMap((leaf) => {
    const { body } = parseTransactionLeaf(leaf)
    return body.t === 'key' || body.t === 'envelope' ? body.env : []
  })
  expect(entries).toHaveLength(999)
  vault.close()
})
