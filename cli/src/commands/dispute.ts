import { resolve } from 'node:path'
import type { SignedStatement } from '@healthblock/chain/statement'
import { type Disclosure, parseDisclosure } from '@healthblock/crypto/disclosure'
import { fromBase64, fromHex } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { clusterFolder, readCluster, resolvePerson } from '../cluster/layout.ts'
import { composeDispute } from '../dispute.ts'
import { readFileBytes, readFileText } from '../input-file.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { ledgerSubject, subjectHelp, subjectOptions } from '../ledger-subject.ts'
import { parseOptions, parseTime, takePositionals } from '../options.ts'

const help = `Usage: ./healthblock dispute --out FILE [--transaction ID]… [--grant PATIENT/GRANT]… [--at ISO]…

Writes one file about a dispute that "verify" checks without a network: what is on record, when, and what the state says.

  --transaction ID       a transaction of either ledger, with the time of its block
  --grant PATIENT/GRANT  the record of a grant, or the proof that there is none (ids as in "patient grants")
  --at ISO               with --grant: was it in force at this time, and what was its doctor's licence?
                         (in force from "recordedAt" of "patient grants" on)
  --disclose KEYFILE     keys that the patient disclosed: the readings among the transactions are opened with them, and no other
  --stored               ask the storage nodes now: what they sign of having the blocks which the transactions name goes into the file
  --storage-receipts FILE  JSON list of [statement, signature] (base64): stores' words about blocks that the transactions name
  --witnessed            wait until a witness outside of the ledger has cosigned what the file stands on (without it, one is named if it has)
  --dir DIR, --json      {"file","sizeBytes","steps","attested","witnesses"}
${subjectHelp}`

const transactionIdPattern = /^[0-9a-f]{64}$/

function grantOf(text: string, dir: string | undefined): { patient: Uint8Array; gid: Uint8Array } {
  const [person = '', gid = '', ...more] = text.split('/')
  if (more.length > 0 || !/^[0-9a-f]{32}$/.test(gid))
    throw new UsageError(`--grant takes PATIENT/GRANT, the grant as "patient grants" lists it, not "${text}"`)
  if (transactionIdPattern.test(person)) return { patient: fromHex(person), gid: fromHex(gid) }
  const { patients } = readCluster(clusterFolder(dir))
  return { patient: fromHex(resolvePerson(patients, person, 'patient').account), gid: fromHex(gid) }
}

function readReceipts(path: string): SignedStatement[] {
  try {
    const list = JSON.parse(readFileText(path)) as [string, string][]
    return list.map(([statement, signature]) => ({
      statement: fromBase64(statement),
      signature: fromBase64(signature),
    }))
  } catch (cause) {
    if (cause instanceof CommandError) throw cause
    throw new CommandError(`${path} is no list of storage receipts`, undefined, { cause })
  }
}

function readKeys(path: string): Disclosure {
  try {
    return parseDisclosure(readFileBytes(path))
  } catch (cause) {
    if (cause instanceof CommandError) throw cause
    throw new CommandError(`${path} is no file of disclosed keys`, undefined, { cause })
  }
}

/** `./healthblock dispute`. */
export async function runDispute(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    ...subjectOptions,
    out: { type: 'string' },
    transaction: { type: 'string', multiple: true },
    grant: { type: 'string', multiple: true },
    at: { type: 'string', multiple: true },
    disclose: { type: 'string' },
    'storage-receipts': { type: 'string' },
    stored: { type: 'boolean' },
    witnessed: { type: 'boolean' },
  })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  takePositionals(positionals, [])
  const { out, transaction: ids = [], grant: grants = [], at = [] } = values
  if (out === undefined) throw new UsageError('needs --out FILE')
  if (ids.length === 0 && grants.length === 0) throw new UsageError('needs --transaction or --grant')
  if (at.length > 0 && grants.length === 0) throw new UsageError('--at asks about a grant: name it with --grant')
  for (const id of ids)
    if (!transactionIdPattern.test(id)) throw new UsageError(`--transaction takes an id, not "${id}"`)
  const receipts = values['storage-receipts']
  const { genesis, client, storage } = ledgerSubject(values)
  const { bytes, steps, witnesses } = await composeDispute({
    genesis,
    client,
    transactions: ids.map((id) => fromHex(id)),
    grants: grants.map((text) => grantOf(text, values.dir)),
    times: at.map((text) => parseTime(text, 'at') as number),
    storageReceipts: receipts === undefined ? [] : readReceipts(receipts),
    areStoresAsked: values.stored === true,
    ...(values.disclose === undefined ? {} : { disclosure: readKeys(values.disclose) }),
    ...(storage === undefined ? {} : { storage }),
    isWitnessed: values.witnessed === true,
  })
  const file = resolve(out)
  // What a disclosure opened lies in it.
  writeFileDurably(file, bytes, { mode: 0o600 })
  const attested = witnesses.length > 0 ? 'witnessed' : 'quorum'
  const names = witnesses.map(({ name }) => name)
  if (values.json === true) {
    io.stdout(`${JSON.stringify({ file, sizeBytes: bytes.length, steps, attested, witnesses: names })}\n`)
  } else io.stdout(`${steps.map((step) => `  ${step}\n`).join('')}written to ${file} (${bytes.length} bytes)\n`)
  return 0
}
