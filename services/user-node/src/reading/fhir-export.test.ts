import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { encodeCbor } from '@healthblock/encoding/cbor'
import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import { TestHome } from '../../../../test/support/home.ts'
import { TestLedger } from '../../../../test/support/ledger.ts'
import { UserNodeEvents } from '../events.ts'
import { createLedgerView } from '../follower-view.ts'
import type { Session } from '../people/sessions.ts'
import { Diagnoses } from './diagnoses.ts'
import { FhirExport } from './fhir-export.ts'
import { Measurements } from './measurements.ts'

const logger = createLogger({ name: 'test', level: 'silent' })

test('an export names what it lacks: what is away, lost, or not on the ledger yet, and findings that do not open', {
  timeout: 60_000,
}, async () => {
  const dir = mkdtempSync(join(tmpdir(), 'hb-export-'))
  const world = new TestLedger(1_800_000_000_000)
  const home = new TestHome(world, dir)
  const vault = await home.enrol()
  const person = home.person()
  const { database, store: people, losses } = home
  const nowMs = (): number => world.nowMs
  const storageOf = () => {
    throw new Error('no network')
  }
  const parts = { database, people, storageOf, logger, nowMs, ledger: createLedgerView(world.ledger, nowMs) }
  const diagnoses = new Diagnoses({ ...parts, events: new UserNodeEvents(logger) })
  const exporter = new FhirExport({ ...parts, measurements: new Measurements(parts), diagnoses })
  const ecg = home.stream('ecg')
  // One whose block is on no store that answers, one that is lost, one that waits for the ledger, one that is not sealed.
  home.seal()
  database.run("UPDATE batch SET state = 'committed', block = NULL, tx = zeroblob(32)")
  world.nowMs += 10_000
  losses.mark(person, ecg.stream, { startMs: world.nowMs - 5_000, untilMs: world.nowMs })
  world.nowMs += 10_000
  home.seal()
  world.nowMs += 10_000
  home.bring()
  const id = new Uint8Array(32).fill(9)
  database.run(
    `INSERT INTO diagnosis (tx, account, doctor, position, at, generation, epoch, sequence, stream, algorithm, inputs, cid, kind, status)
     VALUES (?, ?, ?, 1, ?, 1, 1, 1, ?, ?, ?, ?, 4, 'preliminary')`,
    ...[id, person.account, id, world.nowMs, id.subarray(0, 8), id, encodeCbor([]), id],
  )
  const missing: string[] = []
  const others: string[] = []
  const period = { fromMs: 0, untilMs: world.nowMs + 60_000, streams: person.streams }
  for await (const resource of exporter.resources({ person, vault } as Session, vault.contents.nodes, period)) {
    if (resource.resourceType === 'OperationOutcome')
      missing.push(...resource.issue.map(({ diagnostics = '' }) => diagnostics.replace(/ .*: /, ' ')))
    else others.push(resource.resourceType)
  }
  expect(missing).toEqual(['ecg unreadable', 'ecg gap', 'ecg pending', 'ecg pending', 'diagnosis unreadable'])
  expect(others).toEqual([])
  database.close()
  rmSync(dir, { recursive: true })
})
