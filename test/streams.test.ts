/** Records without readings, against the real rules of the ledger: empty ones, gaps, and what becomes of refused ones. */
import { cpSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { userTables } from '@healthblock/chain/tables'
import { openPayload, parsePayloadHeader, payloadKinds } from '@healthblock/crypto/payload'
import { parseBatch, type ReadingBatch } from '@healthblock/diagnosis/batch'
import { toHex } from '@healthblock/encoding/bytes'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { problemOf } from '../packages/runtime/src/http/problem.ts'
import { statusOfCode } from '../services/user-node/src/errors.ts'
import { listReadings } from '../services/user-node/src/reading/lists.ts'
import { aheadMsNever, rememberedMs } from '../services/user-node/src/sealing/samples.ts'
import { deviceFormDefault } from '../services/user-node/src/sealing/switches.ts'
import { epochKeyOf } from '../services/user-node/src/store/person.ts'
import { periodMs, type SealedRecord, TestHome } from './support/home.ts'
import { TestLedger } from './support/ledger.ts'

const startMs = 1_800_000_000_000
const [data, empty, gap] = [payloadKinds.data, payloadKinds.empty, payloadKinds.gap]

let dir: string
let world: TestLedger
let home: TestHome

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'streams-'))
  world = new TestLedger(startMs)
  home = new TestHome(world, dir)
  const vault = await home.enrol()
  vault.close()
})

afterEach(() => {
  home.database.close()
  rmSync(dir, { recursive: true })
})

/** Time passes in the node's rounds of a quarter of a second. */
function pass(ms: number, options: { bringing?: boolean } = {}): void {
  for (let passed = 0; passed < ms; passed += 250) {
    world.nowMs += 250
    if (options.bringing === true && passed % 1000 === 0) home.bring()
    home.losses.close(home.person(), home.stream('ecg').stream)
    home.sealer.seal(home.person(), home.stream('ecg'), false)
    home.switches.tend(home.person(), home.stream('ecg'))
  }
}

/** The records' kinds, in order. */
const kinds = (): number[] => home.records().map(({ kind }) => kind)
const switchOn = (form = {}): number =>
  home.switches.switchOn(home.person(), home.stream('ecg'), { ...deviceFormDefault, ...form })
const alarms = () => home.alarms.list(home.person()).map(({ code, endedAt }) => [code, endedAt !== null])

function open({ block }: SealedRecord): Uint8Array {
  const header = parsePayloadHeader(block)
  const epochKey = epochKeyOf(home.person().hot.nodes, header) as Uint8Array
  return openPayload({ block, epochKey, expected: header })
}

describe('a device that is switched on', () => {
  test('and silent gives empty records of one size, one each period, that the ledger takes', () => {
    switchOn({ rateHz: 100 })
    pass(10_000)
    const records = home.records()
    expect(records.length).toBe(9)
    expect(new Set(kinds())).toEqual(new Set([empty]))
    expect(records.map(open).map(({ length }) => length)).toEqual(records.map(() => 0))
    pass(3000, { bringing: true })
    expect(kinds().slice(-2)).toEqual([data, data])
    // Who sees the blocks cannot tell a silent device from one that sends.
    expect(new Set(home.records().map(({ size, block }) => `${size} ${block.length}`)).size).toBe(1)
    world.commit(home.iot())
    expect(
      userTables.last.get(world.ledger.state('userchain'), home.person().account, home.stream('ecg').stream),
    ).toEqual([home.records().length, home.records().at(-1)?.epoch])
  })

  test('and sending gives no empty record', () => {
    switchOn({ rateHz: 100 })
    pass(20_000, { bringing: true })
    expect(new Set(kinds())).toEqual(new Set([data]))
    expect(kinds().length).toBeGreaterThanOrEqual(19)
  })

  test('that stops in the middle of a period: what came is sealed in time, then come empty records', () => {
    switchOn({ rateHz: 100 })
    pass(3000, { bringing: true })
    const before = kinds().length
    home.samples.add(home.person(), home.stream('ecg').stream, {
      ...{ kind: 'ecg', startMs: world.nowMs, rateMilliHz: 100_000, leads: ['ii'], unit: 'mv', gainMilli: 200_000 },
      ...{ baseline: 0, samples: new Int16Array(30) },
    })
    pass(4000)
    expect(kinds().slice(before)).toEqual([data, data, empty, empty].slice(-kinds().length + before))
    expect(kinds().at(-1)).toBe(empty)
  })

  test('is asked for nothing after it was switched off, nor a stream of which no device was ever on', () => {
    pass(10_000)
    expect(kinds()).toEqual([])
    switchOn()
    pass(3000)
    home.switches.switchOff(home.person(), home.stream('ecg'))
    const before = kinds().length
    pass(60_000)
    expect(kinds().length).toBe(before)
    expect(alarms()).toEqual([])
  })

  test('is still on after a restart, and the node says that it was away', () => {
    switchOn()
    pass(3000)
    const before = kinds().length
    home.database.close()
    world.nowMs += 120_000
    home.open()
    pass(3000)
    expect(kinds().slice(before)).toEqual([gap, empty, empty, empty].slice(0, kinds().length - before))
    expect(kinds()[before]).toBe(gap)
    expect(alarms()).toEqual([['stream.gap', true]])
    world.commit(home.iot())
  })

  test('and falls silent raises one alarm, which ends when it is heard again', () => {
    switchOn()
    pass(20_000, { bringing: true })
    pass(29_000)
    expect(alarms()).toEqual([])
    pass(3000)
    expect(alarms()).toEqual([['stream.silent', false]])
    pass(60_000)
    home.restart()
    pass(1000)
    expect(alarms()).toEqual([['stream.silent', false]])
    expect(home.alarms.list(home.person())[0]?.about).toBe(toHex(home.stream('ecg').stream))
    pass(2000, { bringing: true })
    expect(alarms()).toEqual([['stream.silent', true]])
    pass(40_000)
    expect(alarms()).toEqual([
      ['stream.silent', true],
      ['stream.silent', false],
    ])
    home.switches.switchOff(home.person(), home.stream('ecg'))
    expect(alarms().every(([, isOver]) => isOver)).toBe(true)
  })

  test('is watched again at once when a clock that was ahead is set right', () => {
    const stream = home.stream('ecg')
    world.nowMs += 2 * 86_400_000
    home.switches.switchOn(home.person(), stream, { everyMs: 0, rateHz: 100, leads: 1 })
    home.bring()
    world.nowMs += 60_000
    home.switches.tend(home.person(), stream)
    const silent = () =>
      home.alarms
        .list(home.person())
        .filter(({ code }) => code === 'stream.silent')
        .sort((one, other) => one.id - other.id)
    expect(silent()).toMatchObject([{ endedAt: null }])
    world.nowMs -= 2 * 86_400_000
    home.switches.tend(home.person(), stream)
    expect(silent()).toMatchObject([{ endedAt: expect.any(String) }])
    const before = home.records().length
    for (let i = 0; i < 5; i++) {
      world.nowMs += periodMs
      home.switches.tend(home.person(), stream)
    }
    expect(home.records().length).toBeGreaterThanOrEqual(before + 3)
    world.nowMs += 60_000
    home.switches.tend(home.person(), stream)
    expect(silent()).toMatchObject([{ endedAt: expect.any(String) }, { endedAt: null }])
  })

  test('keeps the size of its blocks over a change of keys, whatever comes first', async () => {
    switchOn({ rateHz: 100 })
    pass(3000, { bringing: true })
    await home.consent.rotate(home.person())
    pass(5000)
    pass(3000, { bringing: true })
    expect(new Set(home.records().map(({ size }) => size)).size).toBe(1)
    expect(new Set(home.records().map(({ generation }) => generation))).toEqual(new Set([1, 2]))
    home.commitAll()
    world.commit(home.iot())
  })
})

test('a signal that does not fit into the size that its stream has is sealed in shorter batches', () => {
  pass(3000, { bringing: true })
  const [first] = home.records()
  const before = home.records().length
  world.nowMs += 10_000
  home.bring(1000)
  home.sealer.seal(home.person(), home.stream('ecg'), true)
  const later = home.records().slice(before)
  expect(later.length).toBeGreaterThan(1)
  expect(later.map(({ size }) => size)).toEqual(later.map(() => first?.size))
  const samples = later.map(open).map((bytes) => {
    const batch = parseBatch(bytes)
    return batch.kind === 'ecg' ? batch.samples.length : 0
  })
  expect(samples.reduce((sum, count) => sum + count)).toBe(1000)
  world.commit(home.iot())
})

test('more vital signs than fit into the size of their stream are sealed in several batches', () => {
  const stream = home.stream('vitals')
  const bring = (count: number): void => {
    world.nowMs += 60_000
    const rows = Array.from({ length: count }, (_, i) => ({
      ...{ atMs: world.nowMs + Math.floor(i / 10), sign: 'heart-rate' as const, value: 70 },
    }))
    home.samples.add(home.person(), stream.stream, { kind: 'vitals', startMs: world.nowMs, rows })
    home.sealer.seal(home.person(), stream, true)
  }
  bring(10)
  bring(1000)
  const rows = home.database.all('SELECT size, kind FROM batch WHERE stream = ?', stream.stream)
  expect(rows.length).toBeGreaterThan(2)
  expect(new Set(rows.map(({ size }) => size)).size).toBe(1)
  world.commit(home.iot())
})

describe('a piece of samples', () => {
  const vitals = (atMs: number, sign: 'pulse' | 'spo2', value: number): ReadingBatch => ({
    ...{ kind: 'vitals', startMs: atMs, rows: [{ atMs, sign, value }] },
  })
  const ecg = (...samples: number[]): ReadingBatch => ({
    ...{ kind: 'ecg', startMs: world.nowMs, rateMilliHz: 100_000, leads: ['ii'], unit: 'mv', gainMilli: 200_000 },
    ...{ baseline: 0, samples: Int16Array.from(samples) },
  })
  const bring = (batch: ReadingBatch): void => home.samples.add(home.person(), home.stream(batch.kind).stream, batch)
  const sealed = (): (string | number)[][] => {
    home.sealer.seal(home.person(), home.stream('vitals'), true)
    return home.records('vitals').flatMap((record) => {
      const batch = parseBatch(open(record))
      return batch.kind === 'vitals' ? batch.rows.map(({ sign, value }) => [sign, value]) : []
    })
  }

  test('that is sent again after its answer was lost is there once, also when it was sealed meanwhile', () => {
    const piece = vitals(world.nowMs, 'pulse', 71)
    bring(piece)
    bring(piece)
    expect(sealed()).toEqual([['pulse', 71]])
    bring(piece)
    home.restart()
    bring(piece)
    expect(sealed()).toEqual([['pulse', 71]])
  })

  test('is known for two days, and then forgotten', () => {
    const piece = vitals(world.nowMs, 'pulse', 71)
    bring(piece)
    expect(sealed().length).toBe(1)
    world.nowMs += rememberedMs + 1
    bring(vitals(world.nowMs, 'pulse', 72))
    expect(home.database.all('SELECT * FROM accepted').length).toBe(1)
    bring(piece)
    expect(sealed().length).toBe(3)
  })

  test('of vital signs is kept beside another of the same moment, and beside what another leaves over', () => {
    const at = world.nowMs
    bring(vitals(at, 'pulse', 71))
    bring(vitals(at, 'spo2', 97))
    const rows = [at, at + periodMs].map((atMs, i) => ({ atMs, sign: 'pulse' as const, value: 80 + i }))
    bring({ kind: 'vitals', startMs: at, rows })
    bring(vitals(at + periodMs, 'spo2', 98))
    expect(sealed().toSorted()).toEqual([
      ['pulse', 71],
      ['pulse', 80],
      ['pulse', 81],
      ['spo2', 97],
      ['spo2', 98],
    ])
  })

  test('of an ECG that starts with another one is refused, and with it all that came in one request', () => {
    bring(ecg(1, 2, 3))
    bring(ecg(1, 2, 3))
    expect(() => bring(ecg(1, 2, 4))).toThrowError(
      expect.objectContaining({ detail: { code: 'ERR_SAMPLES_CONFLICT', startMs: world.nowMs } }),
    )
    const pieces = [vitals(world.nowMs, 'pulse', 90), ecg(5)].map((batch) => ({
      ...{ batch, stream: home.stream(batch.kind).stream },
    }))
    expect(() => home.samples.addAll(home.person(), pieces)).toThrow()
    expect(sealed()).toEqual([])
  })

  test('of a device whose clock is more than ten minutes ahead is not taken yet, by field and clock, and asked for again; a late one is taken', () => {
    const measure = (...batches: ReadingBatch[]) => {
      const pieces = batches.map((batch) => ({ batch, stream: home.stream(batch.kind).stream }))
      home.samples.addMeasured(home.person(), pieces)
    }
    const { nowMs } = world
    const ahead = (field: string) =>
      expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_SAMPLES_AHEAD', field, nowMs }) })
    const wild = { ...ecg(1, 2, 3), startMs: 2 ** 45 }
    expect(() => measure(wild)).toThrowError(ahead('startMs'))
    expect(() => measure(wild)).toThrowError(new Date(nowMs).toISOString())
    // Slow samples reach as far as wrong dates do.
    expect(() => measure({ ...ecg(1, 2), rateMilliHz: 1 } as ReadingBatch)).toThrowError(ahead('startMs'))
    expect(() => measure(vitals(nowMs, 'pulse', 70), vitals(nowMs + 600_001, 'pulse', 71))).toThrowError(
      ahead('rows.timeMs'),
    )
    expect(sealed()).toEqual([])
    // It is asked to send them again: once they are due, and soon, for the node's own clock may be the wrong one.
    const answerTo = (...batches: ReadingBatch[]) => {
      try {
        return void measure(...batches)
      } catch (error) {
        const { problem, headers } = problemOf(error, statusOfCode)
        return [problem.status, headers['retry-after'], problem.field]
      }
    }
    expect(answerTo(wild)).toEqual([503, '60', 'startMs'])
    const early = vitals(nowMs + 604_999, 'pulse', 74)
    expect(answerTo(early)).toEqual([503, '5', 'rows.timeMs'])
    world.nowMs += 5_000
    expect(answerTo(early)).toBeUndefined()
    expect(sealed()).toEqual([['pulse', 74]])
    measure(vitals(nowMs + 590_000, 'pulse', 72), vitals(nowMs - 30 * 86_400_000, 'pulse', 73))
    expect(sealed().toSorted()).toEqual([
      ['pulse', 72],
      ['pulse', 73],
      ['pulse', 74],
    ])
  })
})

describe('readings that are dated years ahead', () => {
  const dated = (startMs: number): ReadingBatch => ({
    ...{ kind: 'vitals', startMs, rows: [{ atMs: startMs, sign: 'pulse', value: 71 }] },
  })
  /** What a device in order is answered: status and code, and when to ask again. */
  const answerTo = (...batches: ReadingBatch[]) => {
    const { stream } = home.stream('vitals')
    try {
      home.samples.addMeasured(
        home.person(),
        batches.map((batch) => ({ batch, stream })),
      )
    } catch (error) {
      const { problem, headers } = problemOf(error, statusOfCode)
      return [problem.status, problem.code, headers['retry-after']]
    }
    return [202]
  }
  const soon = 'ERR_SAMPLES_AHEAD'
  const never = 'ERR_SAMPLES_FAR_AHEAD'

  test('are refused for good once the ledger tells the time, so that a device goes on to the right ones behind them', () => {
    const wild = dated(Date.parse('2099-01-01'))
    expect(answerTo(wild)).toEqual([503, soon, '60'])
    home.ledgerMs = world.nowMs
    expect(answerTo(wild)).toEqual([400, never, undefined])
    expect(answerTo(dated(world.nowMs))).toEqual([202])
  })

  test('wait while it is this node whose clock is behind, by its word or by the ledger’s', () => {
    const right = world.nowMs
    world.nowMs -= 300 * 86_400_000
    expect(answerTo(dated(right))).toEqual([503, soon, '60'])
    home.ledgerMs = right
    expect(answerTo(dated(right))).toEqual([503, soon, '60'])
    expect(answerTo(dated(right + aheadMsNever))).toEqual([400, never, undefined])
    world.nowMs = right
    expect(answerTo(dated(right))).toEqual([202])
  })

  test('less than a month ahead may become right, and more never, whatever else comes with them', () => {
    home.ledgerMs = world.nowMs - 1_000
    const month = dated(world.nowMs + aheadMsNever - 1)
    expect(answerTo(month)).toEqual([503, soon, '60'])
    expect(answerTo(month, dated(world.nowMs + aheadMsNever))).toEqual([400, never, undefined])
  })
})

test('pieces of a tenth of a second become whole periods', () => {
  for (let i = 0; i < 300; i++) {
    world.nowMs += 10
    home.samples.add(home.person(), home.stream('ecg').stream, {
      ...{ kind: 'ecg', startMs: world.nowMs, rateMilliHz: 100_000, leads: ['ii'], unit: 'mv', gainMilli: 200_000 },
      ...{ baseline: 0, samples: Int16Array.of(i) },
    })
    home.sealer.seal(home.person(), home.stream('ecg'), false)
  }
  expect(kinds()).toEqual([data, data, data])
})

describe('a lost reading', () => {
  test('whose block is gone, or is not what was sealed, is closed by a gap, and the stream goes on', () => {
    pass(3000, { bringing: true })
    const [first, second] = home.records() as [SealedRecord, SealedRecord]
    const stream = home.stream('ecg').stream
    home.database.run('UPDATE batch SET block = NULL WHERE sequence = ?', first.sequence)
    const bent = second.block.slice()
    bent[300] = (bent[300] as number) ^ 1
    home.database.run('UPDATE batch SET block = ? WHERE sequence = ?', bent, second.sequence)
    for (const row of home.database.all("SELECT * FROM batch WHERE state = 'sealed'")) {
      if (!home.losses.isWhole(row)) home.losses.giveUp(home.person(), stream, Number(row.sequence))
    }
    pass(2000, { bringing: true })
    expect(kinds().slice(0, 3)).toEqual([gap, gap, data])
    world.commit(home.iot())
    home.database.run("UPDATE batch SET state = 'committed'")
    const readings = listReadings(home.database, home.person(), home.person().hot.nodes)
    expect(readings.map(({ sequence }) => sequence)).toEqual(
      home
        .records()
        .slice(2)
        .map(({ sequence }) => sequence),
    )
    expect(alarms()).toEqual([
      ['stream.gap', true],
      ['stream.gap', true],
    ])
  })

  test('whose number was used without a block is closed in the generation that its cuts say', async () => {
    const stream = home.stream('ecg').stream
    home.seal()
    home.database.run('UPDATE stream SET sequence = sequence + 2 WHERE stream = ?', stream)
    await home.consent.rotate(home.person())
    home.seal()
    home.database.run('UPDATE stream SET sequence = sequence + 1 WHERE stream = ?', stream)
    home.seal()
    expect(home.losses.close(home.person(), stream)).toBe(3)
    expect(home.losses.close(home.person(), stream)).toBe(0)
    expect(home.records().map(({ kind, generation }) => [kind, generation])).toEqual([
      ...[
        [data, 1],
        [gap, 1],
        [gap, 1],
      ],
      ...[
        [data, 2],
        [gap, 2],
        [data, 2],
      ],
    ])
    home.commitAll()
    world.commit(home.iot())
  })

  test('that the ledger refuses after the folder was restored gets another number, and the stream goes on', async () => {
    home.seal()
    world.commit(home.iot())
    home.seal()
    home.database.close()
    const copy = mkdtempSync(join(tmpdir(), 'streams-copy-'))
    cpSync(dir, copy, { recursive: true })
    home.open()
    home.seal()
    world.commit(home.iot())
    await home.consent.rotate(home.person())
    home.commitAll()
    home.database.close()
    rmSync(dir, { recursive: true })
    cpSync(copy, dir, { recursive: true })
    rmSync(copy, { recursive: true })
    home.open()
    expect(world.judge(home.iot())).toMatchObject({ verdict: 'refused', rule: 'iot.sequence' })
    const [row] = home.database.all("SELECT tx FROM batch WHERE state = 'posted' AND sequence = 2")
    home.database.transaction(() => home.losses.takeBack(home.person(), row?.tx as Uint8Array))
    await home.consent.rotate(home.person())
    home.commitAll()
    expect(home.sealer.seal(home.person(), home.stream('ecg'), true)).toBe(1)
    expect(home.records().at(-1)).toMatchObject({ generation: 3, sequence: 4, kind: data })
    expect(home.losses.close(home.person(), home.stream('ecg').stream)).toBe(0)
    world.commit(home.iot())
  })

  test('that the ledger refuses waits again with every sample', () => {
    home.seal()
    const leaf = home.iot()
    const [row] = home.database.all("SELECT tx FROM batch WHERE state = 'posted'")
    home.database.transaction(() => home.losses.takeBack(home.person(), row?.tx as Uint8Array))
    expect(kinds()).toEqual([gap])
    expect(home.sealer.seal(home.person(), home.stream('ecg'), true)).toBe(1)
    expect(kinds()).toEqual([gap, data])
    const batch = parseBatch(open(home.records()[1] as SealedRecord))
    expect(batch.kind === 'ecg' && batch.samples.length).toBe(100)
    world.commit(home.iot())
    expect(world.judge(leaf)).toMatchObject({ verdict: 'refused' })
    expect(periodMs).toBe(1000)
  })
})
