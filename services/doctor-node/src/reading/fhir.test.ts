import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { Composer } from '../posting/compose.ts'
import { openNodeDatabase } from '../store/node-db.ts'
import { exportPeriod } from './fhir.ts'
import type { OpenedRecords, OpenedStretch } from './opened-records.ts'

const patient = new Uint8Array(32).fill(7)
const stream = new Uint8Array(8).fill(1)
const record = (sequence: number, fromMs: number): OpenedStretch['records'][number] => ({
  ...{ sequence, fromMs, toMs: fromMs + 1_000 },
  batch: { kind: 'vitals', startMs: fromMs, rows: [{ atMs: fromMs, sign: 'heart-rate', value: 60 }] },
})

/** Pages as a node gives them that was given access twice: the first records are not granted any more. */
function pagesOf(
  pages: Record<number, Omit<OpenedStretch, 'kind' | 'unread'>>,
): Pick<OpenedRecords, 'streams' | 'read' | 'lost'> {
  return {
    streams: async () => [{ stream, kind: 2 }],
    read: async (_, { fromMs }) => ({ kind: 2, unread: [], ...(pages[fromMs] as (typeof pages)[number]) }),
    lost: () => [],
  }
}

async function exported(opened: ReturnType<typeof pagesOf>): Promise<{ ids: string[]; missing: string[] }> {
  const dir = mkdtempSync(join(tmpdir(), 'hb-fhir-'))
  const database = openNodeDatabase(join(dir, 'node.db'))
  for (const sequence of [40, 41])
    database.run(
      `INSERT INTO record (patient, stream, sequence, generation, epoch, kind, size, cid, tx, position, ms, state)
       VALUES (?, ?, ?, 1, 1, 0, 1024, ?, ?, ?, 1, 'open')`,
      ...[patient, stream, sequence, patient, patient, sequence],
    )
  const [ids, missing]: [string[], string[]] = [[], []]
  const parts = { database, composer: undefined as unknown as Composer, opened }
  for await (const resource of exportPeriod(parts, patient, { fromMs: 0, toMs: 100_000 })) {
    if (resource.resourceType !== 'OperationOutcome') ids.push(resource.id as string)
    else missing.push(...resource.issue.map(({ diagnostics }) => diagnostics ?? ''))
  }
  database.close()
  rmSync(dir, { recursive: true })
  return { ids, missing }
}

test('a page of which nothing is granted now does not end an export', async () => {
  const { ids, missing } = await exported(
    pagesOf({
      0: { records: [], nextMs: 32_000 },
      32000: { records: [], nextMs: 40_000 },
      40000: { records: [record(40, 40_000)], nextMs: 40_000 + 1_000 },
      41000: { records: [record(40, 40_000), record(41, 41_000)] },
    }),
  )
  expect(ids.map((id) => id.split('-')[1])).toEqual(['40', '41'])
  expect(missing).toEqual([])
})

test('records that no page reaches are named', async () => {
  const { ids, missing } = await exported(pagesOf({ 0: { records: [record(40, 0)], nextMs: 0 } }))
  expect(ids).toHaveLength(1)
  expect(missing).toEqual([expect.stringMatching(/^vitals 1970.*: unreadable$/)])
})
