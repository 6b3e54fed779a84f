/** The records of the state that an entry made or changed: who may read whom, what was found. Loaded with the ledger's reader. */

import { docTables, type GrantRecord, type Lifetime, userTables } from '@healthblock/chain/tables'
import { fromHex } from '@healthblock/encoding/bytes'
import { type PlacedEntry, type ProvedRecord, provedRecord, type RecordQuestion, readTrail } from './ledger-read.ts'
import type { ChainName } from './model.ts'

/** A grant or a diagnosis, as it was. */
export type EntryRecord =
  | ({ readonly kind: 'grant' } & ProvedRecord<GrantRecord>)
  | ({ readonly kind: 'diagnosis' } & ProvedRecord<Lifetime>)

/** More grants of one entry are not asked for. */
const recordsMax = 16

interface RecordPlace {
  readonly kind: EntryRecord['kind']
  readonly chain: ChainName
  readonly key: Uint8Array
}

function placesOf({ id, transaction: { body } }: PlacedEntry): RecordPlace[] {
  if (body.t === 'diagnosis')
    return [{ kind: 'diagnosis', chain: 'docchain', key: docTables.diagnosis.key(fromHex(id)) }]
  if (body.t === 'amend') return [{ kind: 'diagnosis', chain: 'docchain', key: docTables.diagnosis.key(body.of) }]
  if (body.t !== 'key') return []
  const grants = [...body.open.map(([gid]) => gid), ...body.close].slice(0, recordsMax)
  return grants.map((gid) => ({ kind: 'grant', chain: 'userchain', key: userTables.grant.key(body.a, gid) }))
}

/** Reads them, each with its proof. */
export async function recordsOfEntry(entry: PlacedEntry, question: RecordQuestion): Promise<readonly EntryRecord[]> {
  const trail = await readTrail()
  const records: EntryRecord[] = []
  for (const { kind, ...place } of placesOf(entry))
    records.push({ kind, ...(await provedRecord(trail, place, question)) } as EntryRecord)
  return records
}
