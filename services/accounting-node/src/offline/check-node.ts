/** The whole folder of a node that does not run, or of a backup, checked from its files. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { Ledger } from '@healthblock/chain/block'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { type Genesis, parseGenesis } from '@healthblock/chain/genesis'
import { verifyStatement } from '@healthblock/chain/statement'
import { fromBase64, toHex } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { messageOf } from '@healthblock/runtime/errors'
import { ensureFolder, lockFolder } from '@healthblock/runtime/files'
import { openChainStore } from '@healthblock/runtime/ledger-stores'
import { Memberships } from '../core/members.ts'
import { AccountingError } from '../errors.ts'
import { type BackupManifest, damagedFiles, isBackup, readManifest } from './backup-manifest.ts'
import { ChainCheck } from './check-chain.ts'
import { type Finding, FindingList } from './findings.ts'
import { readDatabase } from './read-database.ts'

/** What a node's folder holds, and what is wrong with it. */
export interface NodeReport {
  readonly ok: boolean
  readonly dir: string
  readonly ledgerId: string
  readonly chains: Readonly<Record<ChainName, { height: number; size: number; root: string; stateRoot: string }>>
  readonly findings: readonly Finding[]
  /** What a crash may leave behind: no fault. */
  readonly notes: readonly string[]
  /** What nothing in the folder can be compared with. */
  readonly notChecked: readonly string[]
}

/** SQLite files that hold what no log gives back, or that cost a peer's help to make anew. */
const databases = [
  ...['userchain/outbox.db', 'docchain/outbox.db', 'userchain/closures.db'],
  ...['directory.db', 'evidence.db', 'audits.db'],
]

function checkDatabases(dir: string, findings: FindingList): void {
  for (const file of databases) {
    const path = join(dir, file)
    if (!existsSync(path)) continue
    let database: DatabaseSync | undefined
    try {
      database = readDatabase(path)
      const [first] = database.prepare('PRAGMA integrity_check(1)').all() as { integrity_check: string }[]
      if (first?.integrity_check !== 'ok') {
        findings.add({ code: 'database-damaged', file, message: first?.integrity_check ?? 'no answer' })
      }
    } catch (error) {
      findings.add({ code: 'database-damaged', file, message: messageOf(error) })
    } finally {
      database?.close()
    }
  }
}

/** Every line is a record, and every statement a node's of this ledger. */
function checkIncidents(dir: string, ledger: Ledger, findings: FindingList): void {
  const file = 'incidents.log'
  if (!existsSync(join(dir, file))) return
  const text = readFileSync(join(dir, file), 'latin1')
  const { genesis, ledgerId } = ledger
  const later = new Memberships(ledger, 'userchain').next.nodes.map(({ node }) => node[2])
  const keys = [...genesis.body.nodes.map(([, node]) => node), ...later]
  for (const [number, line] of text.split('\n').slice(0, -1).entries()) {
    try {
      const record = decodeCbor(fromBase64(line)) as CborValue[]
      if (record[0] === 3) continue
      const [statement, signature] = record.slice(-2) as [CborMap, Uint8Array]
      const signed = { statement: encodeCbor(statement), signature }
      const isSigned = keys.some((publicKey) => {
        try {
          verifyStatement({ name: 'incident', signed, ledgerId, publicKey })
          return true
        } catch {
          return false
        }
      })
      if (!isSigned) throw new TypeError('no node of this ledger signed it')
    } catch (error) {
      findings.add({ code: 'incidents-damaged', file, message: `line ${number + 1}: ${messageOf(error)}` })
    }
  }
}

/** Each file of a backup against the digest that was taken when it was copied. */
async function checkManifest(dir: string, findings: FindingList): Promise<BackupManifest | undefined> {
  try {
    const manifest = readManifest(dir)
    for await (const damaged of damagedFiles(dir, manifest)) findings.add({ code: 'backup-damaged', ...damaged })
    return manifest
  } catch (error) {
    if (!(error instanceof AccountingError)) throw error
    findings.add({ code: 'backup-damaged', file: 'backup.json', message: error.message })
    return undefined
  }
}

function readGenesis(dir: string): Genesis {
  const path = join(dir, 'genesis.cbor')
  if (!existsSync(path)) {
    const reason = `${dir} is no folder of an accounting node: it has no genesis.cbor`
    throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason })
  }
  try {
    return parseGenesis(new Uint8Array(readFileSync(path)))
  } catch (cause) {
    const reason = `${path}: ${messageOf(cause)}`
    throw new AccountingError(reason, { code: 'ERR_GENESIS_INVALID', reason }, { cause })
  }
}

type Heads = NodeReport['chains']

function headsOf(ledger: Ledger): Heads {
  const headOf = (chain: ChainName): Heads[ChainName] => {
    const { height, size, root, stateRoot } = ledger.head(chain)
    return { height, size, root: toHex(root), stateRoot: toHex(stateRoot) }
  }
  return { userchain: headOf('userchain'), docchain: headOf('docchain') }
}

async function checkChains(
  dir: string,
  work: string,
  {
    genesis,
    findings,
    look,
  }: { genesis: Genesis; findings: FindingList; look: ((ledger: Ledger) => void) | undefined },
): Promise<Heads> {
  const stores = Object.fromEntries(
    chainNames.map((chain) => {
      ensureFolder(join(work, chain))
      return [chain, openChainStore({ path: join(work, chain, 'state.db') })]
    }),
  ) as Record<ChainName, ReturnType<typeof openChainStore>>
  const ledger = Ledger.open({ genesis: genesis.bytes, stores })
  try {
    for (const chain of chainNames) {
      if (!existsSync(join(dir, chain, 'log/blocks'))) {
        findings.add({ code: 'log-missing', chain, file: `${chain}/log/blocks`, message: 'there is no log' })
        continue
      }
      const members = new Memberships(ledger, chain)
      const workDir = join(work, chain)
      await new ChainCheck({ chain, dir: join(dir, chain), workDir, ledger, members, findings }).run()
    }
    checkIncidents(dir, ledger, findings)
    look?.(ledger)
    return headsOf(ledger)
  } finally {
    for (const store of Object.values(stores)) store.close()
  }
}

/**
 * Checks a folder whole: both logs are executed from genesis; tiles, state, index, checkpoint, promises, incidents and databases are
 * compared; of a backup every file with its digest, too. The folder must not be in use, and nothing in it is changed or left behind.
 *
 * @param look - called with the ledger as its logs give it.
 * @throws {RuntimeError} `ERR_FOLDER_LOCKED` while a node runs there. {AccountingError} `ERR_GENESIS_INVALID` if it is no node's.
 */
export async function checkNode(dir: string, look?: (ledger: Ledger) => void): Promise<NodeReport> {
  const genesis = readGenesis(dir)
  // No node runs in a backup, which may lie where nothing can be written.
  const lock = isBackup(dir) ? undefined : lockFolder(dir)
  const work = mkdtempSync(join(tmpdir(), 'healthblock-fsck-'))
  const findings = new FindingList()
  try {
    const manifest = isBackup(dir) ? await checkManifest(dir, findings) : undefined
    const chains = await checkChains(dir, work, { genesis, findings, look })
    checkDatabases(dir, findings)
    return {
      ok: findings.findings.length === 0,
      dir,
      ledgerId: toHex(genesis.ledgerId),
      chains,
      findings: findings.findings,
      notes: findings.notes,
      notChecked: databases
        .filter((file) => existsSync(join(dir, file)) && !Object.hasOwn(manifest?.files ?? {}, file))
        .map(
          (file) => `${file}: its form was checked; what its rows say has no checksum (a backup's manifest has one)`,
        ),
    }
  } finally {
    lock?.release()
    rmSync(work, { recursive: true, force: true })
  }
}
