/**
 * What shows that another node did wrong, as this node met it: kept in `evidence.db` before anything is done about it, and put on record on
 * the chain that it is about, signed by this node's organisation. What is on record proves itself to everybody, so it is kept no longer here.
 */

import type { ChainName } from '@healthblock/chain/chains'
import { docTables, type EvidenceRecord, userTables } from '@healthblock/chain/tables'
import { signTransaction } from '@healthblock/chain/transaction'
import type { SigningKey } from '@healthblock/crypto/signature'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { type Database, openDatabase } from '@healthblock/runtime/sqlite'
import type { ChainCore } from '../core/chain-core.ts'
import type { MetEvidence } from '../core/ports.ts'
import type { Gateway } from '../gateway/gateway.ts'

const schema = `CREATE TABLE evidence (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  chain TEXT NOT NULL,
  kind INTEGER NOT NULL,
  notes BLOB NOT NULL UNIQUE,
  at INTEGER NOT NULL
) STRICT`

/** How often what is not on record yet is tried again. */
const retryMs = 5_000
/** Most pieces kept: one node can make as many as it likes. */
const piecesMax = 256

/** What the keeper works with. */
export interface EvidenceKeeperOptions {
  readonly path: string
  readonly chains: Readonly<Record<ChainName, { readonly core: ChainCore; readonly gateway: Gateway }>>
  readonly organisation: { readonly account: Uint8Array; readonly op: SigningKey }
  readonly nowMs: () => number
  readonly onFault: (error: unknown) => void
}

/** Evidence that waits to be put on record. */
export interface KeptEvidence extends MetEvidence {
  readonly number: number
  /** When it was met, Unix ms. */
  readonly atMs: number
}

/** Keeps and posts evidence. */
export class EvidenceKeeper {
  readonly #options: EvidenceKeeperOptions
  readonly #database: Database
  #timer: NodeJS.Timeout | undefined
  #posting: Promise<void> | undefined

  constructor(options: EvidenceKeeperOptions) {
    this.#options = options
    const { path } = options
    this.#database = openDatabase({ path, synchronous: 'full', migrations: [schema], cacheSizeBytes: 256 * 1024 })
  }

  /** Begins to post what is kept. */
  start(): void {
    this.#timer = setInterval(() => this.#post(), retryMs)
    this.#timer.unref()
    this.#post()
  }

  /** Ends posting and closes the file. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#posting
    this.#database.close()
  }

  /** Keeps a piece durably, and posts it as soon as that can be. The same again changes nothing. */
  keep({ chain, kind, notes }: MetEvidence): void {
    const count = this.#database.get('SELECT count(*) AS count FROM evidence')?.count as number
    if (count >= piecesMax) return
    const encoded = encodeCbor([...notes])
    const at = this.#options.nowMs()
    this.#database.run(
      'INSERT INTO evidence (chain, kind, notes, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING',
      ...[chain, kind, encoded, at],
    )
    this.#post()
  }

  /** Pieces that are not on record yet, oldest first. */
  kept(): KeptEvidence[] {
    return this.#database.all('SELECT * FROM evidence ORDER BY number').map((row) => ({
      number: row.number as number,
      chain: row.chain as ChainName,
      kind: row.kind as number,
      notes: decodeCbor(row.notes as Uint8Array) as unknown as Uint8Array[],
      atMs: row.at as number,
    }))
  }

  /** What a chain has on record, oldest first. */
  onRecord(chain: ChainName): EvidenceRecord[] {
    const state = this.#options.chains[chain].core.ledger.state(chain)
    const { evidence } = chain === 'userchain' ? userTables : docTables
    const records: EvidenceRecord[] = []
    for (let k = 0; ; k++) {
      const record = evidence.get(state, k)
      if (record === undefined) return records
      records.push(record)
    }
  }

  #post(): void {
    this.#posting ??= this.#postAll()
      .catch(this.#options.onFault)
      .finally(() => {
        this.#posting = undefined
      })
  }

  async #postAll(): Promise<void> {
    const { chains, organisation, nowMs } = this.#options
    for (const piece of this.kept()) {
      const { core, gateway } = chains[piece.chain]
      const { account, op } = organisation
      const transaction = signTransaction({
        ledgerId: core.ledger.ledgerId,
        chain: piece.chain,
        body: { v: 1, t: 'evidence', a: account, kind: piece.kind, notes: piece.notes as CborValue[] as Uint8Array[] },
        signers: [{ account, key: 1, signingKey: op }],
      })
      const verdict = core.ledger.judge(piece.chain, transaction, { atMs: nowMs() })
      // On record already, by this node or another one, or enough of its like; or nothing that the rules call evidence.
      const isDone = verdict.verdict === 'refused' && !verdict.rule.endsWith('.signature')
      if (isDone) this.#database.run('DELETE FROM evidence WHERE number = ?', piece.number)
      else if (verdict.verdict === 'valid') await gateway.submit(transaction.leaf)
    }
  }
}
