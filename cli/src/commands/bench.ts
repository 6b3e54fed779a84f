import { type ExitCode, type Io, UsageError } from '../io.ts'
import { parseCount, parseOptions } from '../options.ts'
import { runScript } from '../script.ts'

const benches: Readonly<Record<string, string>> = {
  ledger: 'transactions with receipts per second; 1 and 4 nodes, 1 to 256 senders, against what the cores can verify',
  growth: 'rate, CPU time of a transaction, memory and disk after 1,000, 100,000 and 1,000,000 transactions',
  attacks:
    'replays and guesses (accepted must be 0); floods of one account and of 1,000 identities beside an honest sender',
  rotation: 'time and bytes of a change of keys with 1 to 1,000 doctors; click to refused everywhere',
  decoupling: 'bytes and milliseconds of a reading with 1, 10, 100 doctors; bytes of a patient and day',
  cost: 'where the processor time of a transaction goes, part by part: alone, at the leader and the others of four, replayed',
  audit:
    'replayed transactions per second, alone and as a command over HTTP, against what the cores can verify; memory',
  memory: 'resident memory of an accounting node as its ledger grows, to 100,000 transactions',
  tamper: 'a byte altered at 1 to 100 % of ledgers of 10^3 to 10^5 entries: time until it is noticed, and by whom',
  storage: 'durable puts and gets of 1 KiB to 1 MiB, 1 and 3 copies, against a real Kubo with the same durability',
  crypto: 'every primitive, both providers',
  stream: "from the sensor to the diagnosis at the patient's node, with 1 to 40 patients, in real time",
  overhead: 'processor time of 1,000 readings against a plain server with SQLite',
  records: 'files of 100 KB to 100 MB up and down: own node, storage alone, a real Kubo, plain HTTP; revisions',
  doctor: 'patients that one doctor node keeps up with, each streaming one ECG lead',
  'ecg-robust': 'the same records at other rates, heights and leads, with mains, wander, spikes, and cut into pieces',
  ecg: 'accuracy of the ECG analysis on annotated records, per record, gross and average; its speed',
}

function help(): string {
  const lines = Object.entries(benches).map(([name, what]) => `  ${name.padEnd(11)} ${what}`)
  return `Usage: ./healthblock bench NAME [--quick] [--json]

${lines.join('\n')}

Each makes what it needs in a temporary folder, and takes it away again.

  --quick      about 20 s, with fewer sizes
  --million    tamper, audit: also in a ledger of 10^6 entries
  --nodes N    growth: of so many accounting nodes, instead of 4
  --steps N,N  growth, rotation: these sizes instead of the usual ones, ascending
`
}

/** Options that some benchmarks have and others do not. */
const ownOptions: Readonly<Record<'million' | 'nodes' | 'steps', readonly string[]>> = {
  million: ['tamper', 'audit'],
  nodes: ['growth'],
  steps: ['growth', 'rotation'],
}

/** Counts with commas. @throws {UsageError} unless each is larger than the one before it. */
function checkSteps(text: string | undefined): void {
  const steps = text?.split(',').map((step) => parseCount(step, 'steps', { least: 1, most: 10_000_000, preset: 1 }))
  if (steps?.every((step, i) => step > (steps[i - 1] ?? 0)) === false)
    throw new UsageError(`--steps takes ascending counts, not "${text}"`)
}

/** `./healthblock bench`. */
export async function runBench(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    quick: { type: 'boolean' },
    million: { type: 'boolean' },
    nodes: { type: 'string' },
    steps: { type: 'string' },
  })
  if (values.help === true) {
    io.stdout(help())
    return 0
  }
  const [name, ...more] = positionals
  if (name === undefined || more.length > 0 || !Object.hasOwn(benches, name)) {
    throw new UsageError(`name one of ${Object.keys(benches).join(', ')}`)
  }
  for (const option of ['million', 'nodes', 'steps'] as const)
    if (values[option] !== undefined && !ownOptions[option].includes(name))
      throw new UsageError(`--${option} goes with ${ownOptions[option].join(', ')}, not with ${name}`)
  parseCount(values.nodes, 'nodes', { least: 1, most: 16, preset: 1 })
  checkSteps(values.steps)
  const flags = (['quick', 'json', 'million'] as const).flatMap((flag) => (values[flag] === true ? [`--${flag}`] : []))
  if (values.nodes !== undefined) flags.push('--nodes', values.nodes)
  if (values.steps !== undefined) flags.push('--steps', values.steps)
  return runScript(`bench/${name}.ts`, flags, io)
}
