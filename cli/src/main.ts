import { type Command, CommandError, createProcessIo, type ExitCode, type Io, UsageError } from './io.ts'

interface Entry {
  readonly summary: string
  readonly load: () => Promise<Command>
}

const commands: Record<string, Entry> = {
  demo: {
    summary: 'the whole story on a real or generated ECG, narrated, in under two minutes',
    load: async () => (await import('./commands/demo.ts')).runDemo,
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

Everywhere: --json prints JSON only on stdout; --dir DIR names a cluster's folder (default .healthblock/).
Exit codes: 0 well, 1 found a problem or was refused, 2 wrong usage.
`
}

function report(error: unknown, name: string, args: string[], io: Io): ExitCode {
  const isUsage =
    error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true
  const message = error instanceof Error ? error.message : String(error)
  if (isUsage) {
    io.stderr(`healthblock ${name}: ${message}\nTry ./healthblock ${name} --help\n`)
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
  if (name === undefined || name === 'help' || name === '--help' || name === '-h') {
    io.stdout(help())
    return name === undefined ? 2 : 0
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

if (import.meta.main) process.exitCode = await main(process.argv.slice(2), createProcessIo())
