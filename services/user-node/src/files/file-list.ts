/** The files of a person, and how far each is. */
import { payloadKinds } from '@healthblock/crypto/payload'
import { toHex } from '@healthblock/encoding/bytes'
import type { Database, SqlRow } from '@healthblock/runtime/sqlite'
import { cidOf } from '@healthblock/runtime/storage-client'

/** A file, as people see it. */
export interface FileView {
  readonly sequence: number
  readonly name: string
  readonly type: string
  /** Bytes. */
  readonly size: number
  /** `lost`: the ledger refused its record, whose number is a gap or somebody else's: it has to be sent again. */
  readonly state: 'uploading' | 'stored' | 'on record' | 'lost'
  readonly at: string
  readonly cid: string | null
  /** Hex. */
  readonly transactionId: string | null
}

const filesListedMax = 100_000

function stateOf(row: SqlRow): FileView['state'] {
  if (row.kind === null || Number(row.kind) !== payloadKinds.file) return 'lost'
  if (row.state === 'committed') return 'on record'
  return row.state === 'uploading' ? 'uploading' : 'stored'
}

/** Every file of a stream by its number, 100,000 at most: what was lost too. */
export function listFiles(database: Database, account: Uint8Array, stream: Uint8Array): FileView[] {
  const rows = database.all(
    `SELECT sequence, name, file.type AS type, file.size AS size, heard, kind, state, cid, tx, start
     FROM file LEFT JOIN batch USING (account, stream, sequence)
     WHERE file.account = ? AND file.stream = ? ORDER BY sequence LIMIT ?`,
    ...[account, stream, filesListedMax],
  )
  return rows.map((row) => {
    const state = stateOf(row)
    const hasBlock = state === 'stored' || state === 'on record'
    return {
      sequence: Number(row.sequence),
      name: row.name as string,
      type: row.type as string,
      size: Number(row.size),
      state,
      at: new Date(Number(row.start ?? row.heard)).toISOString(),
      cid: hasBlock ? cidOf(row.cid as Uint8Array, 'dag-pb') : null,
      transactionId: state === 'lost' || row.tx === null ? null : toHex(row.tx as Uint8Array),
    }
  })
}
