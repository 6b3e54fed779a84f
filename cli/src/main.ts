import { readFileSync } from 'node:fs'
import { rulesVersionNewest } from '@healthblock/chain/genesis'
import { algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { dropEmptyVariables } from '@healthblock/runtime/environment'
import { isRuntimeError } from '@healthblock/runtime/errors'
import { fileError } from '@healthblock/runtime/files'
import { type Command, CommandError, createProcessIo, type ExitCode, type Io, UsageError } from './io.ts'
import { optionWords } from './options.ts'
import { plainLines } from './table.ts'

interface Entry {
  readonly summary: string
  readonly load: () => Promise<Command>
}

const commands: Record<string, Entry> = {
  demo: {
    summary: 'the whole story on a real or generated ECG, narrated, in under two minutes',
    load: async () => (await import('./demo/demo.ts')).runDemo,
  },
  test: {
    summary: 'everything that CI runs',
    load: async () => (await import('./commands/test.ts')).runTest,
  },
  up: {
    summary: 'start a local cluster that stays, with persistent data',
    load: async () => (await import('./commands/up.ts')).runUp,
  },
  down: { summary: 'stop it', load: async () => (await import('./commands/down.ts')).runDown },
  status: { summary: 'show it', load: async () => (await import('./commands/status.ts')).runStatus },
  patient: {
    summary: 'add people, stream, grant, revoke, read',
    load: async () => (await import('./commands/patient.ts')).runPatient,
  },
  doctor: {
    summary: 'list doctors, their readings, alarms and diagnoses; diagnose, sign, correct by hand',
    load: async () => (await import('./commands/doctor.ts')).runDoctor,
  },
  device: {
    summary: 'what devices send: samples, FHIR; and which are watched',
    load: async () => (await import('./commands/device.ts')).runDevice,
  },
  audit: {
    summary: 'replay both ledgers from nothing and report every finding',
    load: async () => (await import('./commands/audit.ts')).runAudit,
  },
  recall: {
    summary: 'every diagnosis by one version of an algorithm, from the ledgers alone',
    load: async () => (await import('./commands/recall.ts')).runRecall,
  },
  dispute: {
    summary: 'write one file that settles a dispute offline',
    load: async () => (await import('./commands/dispute.ts')).runDispute,
  },
  verify: {
    summary: 'check a receipt or a dispute bundle, offline',
    load: async () => (await import('./commands/verify.ts')).runVerify,
  },
  org: {
    summary: 'what organisations decide together: members, nodes, keys, rules; and whom each one licenses',
    load: async () => (await import('./commands/org.ts')).runOrg,
  },
  ledger: {
    summary: 'create a ledger, back it up and check it; reader tokens, receipts, incidents, witnesses',
    load: async () => (await import('./commands/ledger.ts')).runLedger,
  },
  storage: {
    summary: 'the private IPFS: state, scrub, repair, erase, prove; or run one alone',
    load: async () => (await import('./commands/storage.ts')).runStorage,
  },
  ecg: {
    summary: 'annotate and classify ECG records, no cluster needed',
    load: async () => (await import('./commands/ecg.ts')).runEcg,
  },
  score: {
    summary: 'early warning scores, no cluster needed',
    load: async () => (await import('./commands/score.ts')).runScore,
  },
  bench: {
    summary: 'measure speed, size and accuracy: ./healthblock bench --help lists what',
    load: async () => (await import('./commands/bench.ts')).runBench,
  },
}

function help(): string {
  const width = Math.max(...Object.keys(commands).map((name) => name.length))
  const lines = Object.entries(commands).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return `healthblock: streamed health data on two ledgers

Usage: ./healthblock COMMAND [options]     (./healthblock COMMAND --help says more)

${lines.join('\n')}

Everywhere: --json prints JSON only on stdout; --dir DIR names a cluster's folder (default .healthblock/). --version says which program this is.
Exit codes: 0 well, 1 found a problem or was refused, 2 wrong usage.
`
}

/** This program, and what it knows: the newest rules of a ledger, and the algorithm that it judges with. */
function versionWords(isJson: boolean): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  const algorithm = `${algorithmName}@${algorithmVersion}`
  const { version: node } = process
  return isJson
    ? JSON.stringify({ version, rules: rulesVersionNewest, algorithm, node })
    : `healthblock ${version} (rules up to ${rulesVersionNewest}, ${algorithm}, Node ${node})`
}

/** A fault of the system at a file, or a cluster of which nothing runs, in words that say what to do; any other as it is. */
function inWords(error: unknown): unknown {
  if (isRuntimeError(error, 'ERR_NO_SOURCE') && error.detail.attempts.length === 0)
    return new CommandError('no accounting node runs: start the cluster with ./healthblock up', undefined, {
      cause: error,
    })
  const { code, path, syscall } = error as { code?: unknown; path?: unknown; syscall?: unknown }
  if (typeof code === 'string' && typeof path === 'string' && typeof syscall === 'string') return fileError(path, error)
  // Of a write to an open file the system does not say which.
  if (code === 'ENOSPC' || code === 'EDQUOT')
    return new CommandError('no room left on the disk', undefined, { cause: error })
  return error
}

function report(fault: unknown, name: string, args: string[], io: Io): ExitCode {
  const error = inWords(fault)
  // Names that people gave, and what nodes say, stand in messages too.
  const message = plainLines(error instanceof Error ? error.message : String(error))
  const optionFault = optionWords(fault)
  if (optionFault !== undefined || error instanceof UsageError) {
    io.stderr(`healthblock ${name}: ${optionFault ?? message}\nTry ./healthblock ${name} --help\n`)
    return 2
  }
  if (args.includes('--json')) {
    const extra = error instanceof CommandError ? error.json : undefined
    io.stdout(`${JSON.stringify(extra ?? { error: { message } })}\n`)
  }
  io.stderr(`healthblock ${name}: ${message}\n`)
  if (!(error instanceof CommandError) && process.env.HEALTHBLOCK_DEBUG !== undefined) {
    io.stderr(`${error instanceof Error ? error.stack : ''}\n`)
  }
  return 1
}

/** Runs one command line and gives its exit code. */
export async function main(argv: string[], io: Io): Promise<ExitCode> {
  const [name, ...args] = argv
  if (name === 'help' || name === '--help' || name === '-h') {
    io.stdout(help())
    return 0
  }
  if (name === 'version' || name === '--version' || name === '-V') {
    io.stdout(`${versionWords(args.includes('--json'))}\n`)
    return 0
  }
  if (name === undefined) {
    io.stderr(help())
    return 2
  }
  const entry = Object.hasOwn(commands, name) ? commands[name] : undefined
  if (entry === undefined) {
    io.stderr(`healthblock: there is no command "${name}"\n\n${help()}`)
    return 2
  }
  try {
    const command = await entry.load()
    return await command(args, io)
  } catch (error) {
    return report(error, name, args, io)
  }
}

if (import.meta.main) {
  dropEmptyVariables(process.env)
  process.exitCode = await main(process.argv.slice(2), createProcessIo())
}
