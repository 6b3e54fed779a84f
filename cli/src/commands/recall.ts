import { setTimeout as delay } from 'node:timers/promises'
import { audit } from '@healthblock/audit/audit'
import { Recall, type RecalledAlgorithm, type RecallQuery } from '@healthblock/audit/recall'
import { parseGenesis } from '@healthblock/chain/genesis'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { findingText, progressTeller, withWork } from '../audit-work.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { ledgerSubject, subjectHelp, subjectOptions } from '../ledger-subject.ts'
import { parseOptions, takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'

const help = `Usage: ./healthblock recall ALGORITHM@VERSION|HASH [--dir DIR | --url URL… --genesis FILE]

Lists every diagnosis that this version of an algorithm ever made, from the ledgers alone: both are replayed as audit does.
By HASH (64 hexadecimal characters) it does so under whatever name an organisation registered it.

${subjectHelp}  --work DIR      keep the replayed state here, for the next time
  --json          {"ok","algorithm":{"name"?,"version"?,"hash"?,"registrations"},"diagnoses":[…],"findings":[…]}

Exit code 0 if the list is whole, 1 if the audit of the ledgers found anything, or nobody registered such an algorithm.
`

/** What is asked for; of this program's own algorithm its hash is known. */
function parseQuery(text: string): RecallQuery {
  if (/^[0-9a-f]{64}$/.test(text)) return { hash: text }
  const [name, version, ...more] = text.split('@')
  if (!name || !version || more.length > 0) throw new UsageError(`takes ALGORITHM@VERSION or HASH, not "${text}"`)
  const isOwn = name === algorithmName && version === algorithmVersion
  return { name, version, ...(isOwn ? { hash: algorithmHashHex } : {}) }
}

/** A registration for people. */
function registrationText({ name, version, hash, organisation, registeredAt, withdrawnAt }: RecalledAlgorithm): string {
  const until = withdrawnAt === undefined ? '' : `, withdrawn ${withdrawnAt}`
  return `registered as ${name}@${version} ${registeredAt}${until}, by organisation ${organisation}, hash ${hash}\n`
}

/** `./healthblock recall`. */
export async function runRecall(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { ...subjectOptions, work: { type: 'string' } })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  const [text] = takePositionals(positionals, ['ALGORITHM@VERSION|HASH'])
  const wanted = parseQuery(text)
  const { genesis, nodes, client } = ledgerSubject(values)
  const recall = new Recall(parseGenesis(genesis).ledgerId, wanted)
  const { findings } = await withWork(values.work, (open) =>
    audit({
      ...open,
      genesis,
      nodes,
      client,
      now: Date.now,
      wait: (ms) => delay(ms),
      onProgress: progressTeller(io),
      onBlock: (block) => recall.block(block),
    }),
  )
  const { algorithms, diagnoses } = recall
  const ok = findings.length === 0 && algorithms.length > 0
  if (values.json === true) {
    const algorithm = { ...wanted, registrations: algorithms }
    io.stdout(`${JSON.stringify({ ok, algorithm, diagnoses, findings })}\n`)
    return ok ? 0 : 1
  }
  for (const finding of findings) io.stdout(findingText(finding))
  if (algorithms.length === 0) io.stderr(`nobody registered ${text} on this ledger\n`)
  for (const one of algorithms) io.stdout(registrationText(one))
  const rows = diagnoses.map(({ at, patient, doctor, status, transactionId }) => [
    ...[at, patient.slice(0, 16), doctor.slice(0, 16), status, transactionId],
  ])
  io.stdout(formatTable([['at', 'patient', 'doctor', 'status', 'transaction'], ...rows]))
  io.stdout(`${diagnoses.length} diagnoses by ${text}\n`)
  return ok ? 0 : 1
}
