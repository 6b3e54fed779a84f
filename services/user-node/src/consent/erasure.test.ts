import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { userTables } from '@healthblock/chain/tables'
import { parseTransactionLeaf } from '@healthblock/chain/transaction'
import type { HeldNodes } from '@healthblock/crypto/hot-store'
import { newStreamRoot, reachesEpoch, type TreeNode, wipeNodes } from '@healthblock/crypto/key-tree'
import type { OpenVault } from '@healthblock/crypto/vault'
import { toHex } from '@healthblock/encoding/bytes'
import { expect, test } from 'vitest'
import { canOpen, openAll, TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { createLedgerView } from '../follower-view.ts'
import type { Session } from '../people/sessions.ts'
import { reachesPlace } from '../store/person.ts'
import { noEnd, shredHeld } from './compose.ts'
import { erasuresOf } from './erased-ranges.ts'
import { Erasures } from './erasure.ts'

const [ecg, vitals] = [new Uint8Array(8).fill(1), new Uint8Array(8).fill(2)]
const first = 1000

function held(stream: Uint8Array, generation: number): HeldNodes {
  return { stream, generation, first, nodes: [newStreamRoot()] }
}

function reaches(nodes: readonly HeldNodes[], stream: Uint8Array, generation: number, epoch: number): boolean {
  return nodes.some(
    (one) =>
      one.generation === generation &&
      one.stream === stream &&
      reachesEpoch({ nodes: one.nodes as TreeNode[], first, epoch }),
  )
}

test('a shredded period is reached by nothing that is kept, and everything around it still is', () => {
  const before = [held(ecg, 1), held(ecg, 2), held(vitals, 1)]
  const period = { streams: [ecg], fromEpoch: 1003, untilEpoch: 1007, generationMax: 1 }
  const { kept, gone } = shredHeld(before, period)
  for (let epoch = first; epoch < 1012; epoch++) {
    expect(reaches(kept, ecg, 1, epoch)).toBe(epoch < 1003 || epoch >= 1007)
    expect(reaches(kept, ecg, 2, epoch)).toBe(true)
    expect(reaches(kept, vitals, 1, epoch)).toBe(true)
  }
  // What is wiped is what led there, and nothing that is kept.
  for (const nodes of gone) wipeNodes(nodes)
  expect(before[0]?.nodes[0]?.key.every((byte) => byte === 0)).toBe(true)
  for (const { nodes } of kept) for (const { key } of nodes) expect(key.some((byte) => byte !== 0)).toBe(true)
})

test('a stream whose whole generation goes leaves no entry behind, and a second time changes nothing', () => {
  const period = { streams: [ecg], fromEpoch: 0, untilEpoch: first + 2 ** 20, generationMax: 9 }
  const { kept } = shredHeld([held(ecg, 1), held(vitals, 1)], period)
  expect(kept.map(({ stream }) => stream)).toEqual([vitals])
  expect(shredHeld(kept, period).kept).toEqual(kept)
})

async function atHome(act: (home: TestHome, world: TestLedger, vault: OpenVault) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'erasure-'))
  const world = new TestLedger(1_800_000_000_000)
  const home = new TestHome(world, dir)
  try {
    await act(home, world, await home.enrol())
  } finally {
    home.database.close()
    rmSync(dir, { recursive: true })
  }
}

/** Whether her keys open each record of the ECG. */
function readable(home: TestHome, vault: OpenVault): boolean[] {
  const { stream } = home.stream('ecg')
  const nodes = [...home.person().hot.nodes, ...vault.contents.nodes]
  return home.records().map((record) => reachesPlace(nodes, { stream, ...record }))
}

test('an erasure up to now takes all that came before it: what waits to be sealed, and what other keys sealed meanwhile', {
  timeout: 60_000,
}, async () => {
  await atHome(async (home, world, vault) => {
    const { consent, database, store: people, postings, standing, sealer } = home
    const nowMs = (): number => world.nowMs
    const save = (): void => void vault.encode()
    const sessions = {
      absorbRoots: ({ person }: Session) => consent.absorbRoots(person, vault, save),
      saveVault: save,
    }
    const parts = {
      database,
      people,
      postings,
      consent,
      standing,
      sessions,
      nowMs,
      ledger: createLedgerView(world.ledger, nowMs),
    }
    const erasures = new Erasures({ ...parts, flush: (person, stream) => sealer.seal(person, stream, true) })
    home.seal()
    world.nowMs += 1_000
    home.bring()
    const session = { person: home.person(), vault } as Session
    const request = { streams: [home.stream('ecg')], fromMs: world.nowMs - 3_600_000, untilMs: world.nowMs }
    const other = consent.rotate(home.person())
    const erasing = erasures.erase(session, request, 30_000)
    await other
    const between = home.seal()
    const ledger = setInterval(() => {
      if (home.person().hot.generation < 3) return
      home.commitAll()
      if (database.get("SELECT 1 FROM batch WHERE state = 'sealed'") !== undefined) world.commit(home.iot())
      database.run("UPDATE batch SET state = 'committed' WHERE state = 'posted'")
    }, 20)
    const erased = await erasing
    clearInterval(ledger)
    expect([between.generation, home.person().hot.generation]).toEqual([2, 3])
    expect(erased.ranges.map(([, from, to]) => [from, to])).toEqual([[1, 3]])
    expect(home.samples.extent(home.person(), home.stream('ecg').stream).count).toBe(0)
    home.seal()
    expect(readable(home, vault)).toEqual([false, false, false, true])
  })
})

test('after an erasure access can be given that reaches back beyond it: to what is left, and to what comes', {
  timeout: 60_000,
}, async () => {
  await atHome(async (home, world, vault) => {
    const doctor = world.enrolDoctor()
    const save = (): void => void vault.encode()
    const erased = home.seal()
    await home.consent.rotate(home.person())
    const kept = home.seal()
    home.commitAll()
    await home.consent.absorbRoots(home.person(), vault, save)
    const epoch = Math.floor(world.nowMs / world.ledger.epochMs)
    const streams = home.person().streams.map(({ stream }) => stream)
    // All that there is of the first generation; its keys of later hours stay, and open nothing.
    const period = { streams, fromEpoch: epoch, untilEpoch: epoch + 1, generationMax: 1 }
    await home.consent.shred(home.person(), vault, period, save, () => undefined)
    await home.consent.grant(home.person(), vault, {
      ...{ to: doctor.account, streams, fromMs: world.nowMs - 86_400_000, untilMs: noEnd },
    })
    const keys = await openAll(world, home.person(), doctor, home.commitAll())
    expect([erased, kept, home.seal()].map(({ block }) => canOpen(keys, block))).toEqual([false, true, true])
  })
})

test('an erasure whose vault cannot be written destroys nothing, neither now nor with what is written next', {
  timeout: 60_000,
}, async () => {
  await atHome(async (home, world, vault) => {
    home.seal()
    const epoch = Math.floor(world.nowMs / world.ledger.epochMs)
    const streams = [home.stream('ecg').stream]
    const period = { streams, fromEpoch: epoch, untilEpoch: epoch + 1, generationMax: 1 }
    const full = (): never => {
      throw new Error('no room left')
    }
    await expect(home.consent.shred(home.person(), vault, period, full, full)).rejects.toThrow('no room left')
    const { stream } = home.stream('ecg')
    const place = { stream, generation: 1, epoch }
    expect([vault.contents.nodes, home.person().hot.nodes].map((nodes) => reachesPlace(nodes, place))).toEqual([
      true,
      true,
    ])
  })
})

test('an erasure that is refused again and again is signed again at once, then at longer intervals', {
  timeout: 60_000,
}, async () => {
  await atHome(async (home, world, vault) => {
    const nowMs = (): number => world.nowMs
    const { consent, database, store: people, postings, standing } = home
    const sessions = { absorbRoots: async () => {}, saveVault: () => {} }
    const parts = { database, people, postings, consent, standing, sessions, nowMs, flush: () => {} }
    const erasures = new Erasures({ ...parts, ledger: createLedgerView(world.ledger, nowMs) })
    home.seal()
    world.commit(home.iot())
    database.run("UPDATE batch SET state = 'committed'")
    const [fromMs, untilMs] = [world.nowMs - 3_600_000, world.nowMs]
    world.nowMs += 7_200_000
    const session = { person: home.person(), vault } as Session
    const asked = { streams: [home.stream('ecg')], fromMs, untilMs }
    const { tx } = await erasures.erase(session, asked, 0)
    // Asked for twice, it is the same one while that stands.
    expect((await erasures.erase(session, asked, 0)).tx).toEqual(tx)
    const signed = (): number => Number(database.get('SELECT count(*) AS n FROM erasure')?.n)
    const refused = { status: 'refused', addedMs: 0, attempts: 1, rule: 'erase.expiry', chain: 'userchain' } as const
    const refuseAll = (): void => {
      for (let [next] = postings.unhanded(); next !== undefined; [next] = postings.unhanded()) {
        postings.markFinal(next.tx, 'refused')
        world.nowMs += 1
        erasures.settle(home.person(), { ...refused, id: toHex(next.tx) })
      }
    }
    refuseAll()
    expect(signed()).toBe(9)
    world.nowMs += 3_600_000
    erasures.again(home.person(), () => refused)
    expect(signed()).toBe(10)
    // Of an outbox that was lost nobody hears why it was refused.
    refuseAll()
    erasures.again(home.person(), () => undefined)
    expect(signed()).toBe(11)
    for (const leaf of home.commitAll()) expect(parseTransactionLeaf(leaf).body.t).toBe('erase')
    erasures.again(home.person(), () => refused)
    expect(signed()).toBe(11)
  })
})

test('a period that was erased is not posted again, nor are keys changed for it; what was measured since is', {
  timeout: 60_000,
}, async () => {
  await atHome(async (home, world, vault) => {
    const { consent, database, store: people, postings, standing, sealer, ledger } = home
    const nowMs = (): number => world.nowMs
    const sessions = { absorbRoots: async () => {}, saveVault: () => {} }
    const parts = { database, people, postings, consent, standing, sessions, nowMs, ledger }
    const erasures = new Erasures({ ...parts, flush: (person, stream) => sealer.seal(person, stream, true) })
    const session = { person: home.person(), vault } as Session
    const commit = (): void => {
      home.commitAll()
      if (database.get("SELECT 1 FROM batch WHERE state = 'sealed'") !== undefined) world.commit(home.iot())
      database.run("UPDATE batch SET state = 'committed'")
    }
    const posted = (): number => Number(database.get("SELECT count(*) AS n FROM posting WHERE what = 'erase'")?.n)
    home.seal()
    commit()
    const streams = [home.stream('ecg')]
    const request = { streams, fromMs: world.nowMs - 3_600_000, untilMs: world.nowMs }
    const first = await erasures.erase(session, request, 0)
    expect([first.isRepeated, posted(), home.person().hot.generation]).toEqual([false, 1, 2])
    // While it is under way, asked twice at once, and once it is on record; also when the hour has gone on.
    for (const when of ['under way', 'at once', 'on record']) {
      if (when === 'on record') commit()
      world.nowMs += 1_000
      const twice = await Promise.all([erasures.erase(session, request, 0), erasures.erase(session, request, 0)])
      for (const again of twice)
        expect(again, when).toMatchObject({ isRepeated: true, tx: first.tx, ranges: first.ranges })
      expect([posted(), home.person().hot.generation], when).toEqual([1, 2])
    }
    // What comes afterwards in the same hour was not asked for; asked for, it alone is posted.
    home.seal()
    commit()
    expect(await erasures.erase(session, request, 0)).toMatchObject({ isRepeated: true })
    world.nowMs += 60_000
    const later = await erasures.erase(session, { ...request, untilMs: world.nowMs }, 0)
    expect(later.isRepeated).toBe(false)
    const { body } = parseTransactionLeaf(postings.unhanded().at(-1)?.leaf as Uint8Array)
    expect(body).toMatchObject({ t: 'erase', ranges: [[streams[0]?.stream, 2, 2]] })
  })
})

test('two pages that erase the same period at once post it once', { timeout: 60_000 }, async () => {
  await atHome(async (home, world, vault) => {
    const { consent, database, store: people, postings, standing, ledger } = home
    const nowMs = (): number => world.nowMs
    const sessions = { absorbRoots: async () => {}, saveVault: () => {} }
    const parts = { database, people, postings, consent, standing, sessions, nowMs, ledger, flush: () => {} }
    const erasures = new Erasures(parts)
    home.seal()
    world.commit(home.iot())
    database.run("UPDATE batch SET state = 'committed'")
    const request = { streams: [home.stream('ecg')], fromMs: world.nowMs - 3_600_000, untilMs: world.nowMs }
    world.nowMs += 7_200_000
    const session = { person: home.person(), vault } as Session
    const [one, two] = await Promise.all([erasures.erase(session, request, 0), erasures.erase(session, request, 0)])
    expect([one.isRepeated, two.isRepeated]).toEqual([false, true])
    expect(two.tx).toEqual(one.tx)
    expect(database.get('SELECT count(*) AS n FROM erasure')?.n).toBe(1)
  })
})

interface Erasing {
  readonly home: TestHome
  readonly world: TestLedger
  readonly erasures: Erasures
  readonly session: Session
  /** What is posted and sealed goes on record. */
  readonly commit: () => void
}

async function whoErases(act: (parts: Erasing) => Promise<void>): Promise<void> {
  await atHome(async (home, world, vault) => {
    const { consent, database, store: people, postings, standing, sealer, ledger } = home
    const sessions = { absorbRoots: async () => {}, saveVault: () => {} }
    const erasures = new Erasures({
      ...{ database, people, postings, consent, standing, sessions, ledger, nowMs: () => world.nowMs },
      flush: (person, stream) => sealer.seal(person, stream, true),
    })
    const commit = (): void => {
      home.commitAll()
      if (database.get("SELECT 1 FROM batch WHERE state = 'sealed'") !== undefined) world.commit(home.iot())
      database.run("UPDATE batch SET state = 'committed'")
    }
    await act({ home, world, erasures, session: { person: home.person(), vault } as Session, commit })
  })
}

test('an erasure of a period of which every other hour was erased before posts all that is left, however many pieces that is', {
  timeout: 120_000,
}, async () => {
  await whoErases(async ({ home, world, erasures, session, commit }) => {
    const streams = [home.stream('ecg')]
    const beganMs = world.nowMs
    const hours = 131
    for (let i = 0; i < hours; i++) {
      home.seal()
      commit()
      world.nowMs += world.ledger.epochMs - 1_000
    }
    const hourOf = (i: number) => ({
      fromMs: beganMs + i * world.ledger.epochMs,
      untilMs: beganMs + i * world.ledger.epochMs + 1,
    })
    for (let i = 1; i < hours; i += 2) await erasures.erase(session, { streams, ...hourOf(i) }, 0)
    commit()
    const all = { streams, fromMs: beganMs, untilMs: world.nowMs - world.ledger.epochMs }
    const { isRepeated } = await erasures.erase(session, all, 0)
    expect(isRepeated).toBe(false)
    commit()
    const state = world.ledger.state('userchain')
    const asked = new Set<number>()
    const { account } = home.person()
    const head = userTables.erasedHead.get(state, account, home.stream('ecg').stream) ?? -1
    for (let k = 0; k <= head; k++) {
      const { from, to } = userTables.erased.get(state, account, home.stream('ecg').stream, k) ?? { from: 1, to: 0 }
      for (let sequence = from; sequence <= to; sequence++) asked.add(sequence)
    }
    expect(asked.size).toBe(hours)
  })
})

test('an erasure that was signed by a clock that was ahead is signed again once, and stands as on record', {
  timeout: 60_000,
}, async () => {
  await whoErases(async ({ home, world, erasures, session, commit }) => {
    const { database, postings } = home
    home.seal()
    commit()
    const [fromMs, untilMs] = [world.nowMs - 3_600_000, world.nowMs]
    const rightMs = world.nowMs + 7_200_000
    world.nowMs = rightMs + 90 * 86_400_000
    const { tx } = await erasures.erase(session, { streams: [home.stream('ecg')], fromMs, untilMs }, 0)
    postings.markFinal(tx as Uint8Array, 'refused')
    world.nowMs = rightMs
    const again = (): void => erasures.again(home.person(), () => ({ rule: 'erase.expiry' }))
    again()
    commit()
    for (const { tx: next } of postings.unhanded()) postings.markFinal(next, 'committed')
    again()
    expect(database.get('SELECT count(*) AS n FROM erasure')?.n).toBe(2)
    expect(erasuresOf(database, home.person())).toMatchObject([{ state: 'committed' }])
  })
})

test('of hours that are over nothing is spared because some of the period was erased before', {
  timeout: 60_000,
}, async () => {
  await whoErases(async ({ home, world, erasures, session, commit }) => {
    const streams = [home.stream('ecg')]
    const { epochMs } = world.ledger
    const hourMs = Math.ceil(world.nowMs / epochMs) * epochMs
    for (const atMs of [hourMs + 600_000, hourMs + epochMs + 2_400_000]) {
      world.nowMs = atMs
      home.seal()
    }
    commit()
    world.nowMs = hourMs + 5 * epochMs
    await erasures.erase(session, { streams, fromMs: hourMs, untilMs: hourMs + epochMs }, 0)
    const period = { streams, fromMs: hourMs + 1_800_000, untilMs: hourMs + epochMs + 1_800_000 }
    const erased = await erasures.erase(session, period, 0)
    expect(erased.isRepeated).toBe(false)
    expect(readable(home, session.vault)).toEqual([false, false])
  })
})

test('what was measured since is not among what is said to have been erased before', { timeout: 60_000 }, async () => {
  await whoErases(async ({ home, world, erasures, session, commit }) => {
    home.seal()
    commit()
    const request = { streams: [home.stream('ecg')], fromMs: world.nowMs - 3_600_000, untilMs: world.nowMs }
    const first = await erasures.erase(session, request, 0)
    home.seal()
    commit()
    const again = await erasures.erase(session, request, 0)
    expect(again).toMatchObject({ isRepeated: true, tx: first.tx, ranges: first.ranges, digests: first.digests })
  })
})
