import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { ensureProgram } from '../cluster/install.ts'
import { ensurePortals } from '../cluster/portals.ts'
import { ensureRedisServer } from '../cluster/redis.ts'
import { projectRoot } from '../cluster/root.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { type Options, parseCount, parseOptions, takePositionals, tellHelp } from '../options.ts'
import { runScript } from '../script.ts'
import { runAside, runSuite } from '../suite.ts'

const help = `Usage: ./healthblock test [--quick]
       ./healthblock test chaos [--quick] [--only NAME]… [--json]
       ./healthblock test sim [--seeds N]      the ledger's simulator (sim --help says more)
       ./healthblock test fuzz [--minutes N] [--only NAME]… [--seed N] [--list] [--json]   every parser of untrusted bytes, N minutes (1) each
       ./healthblock test storage [--cycles N] [--minutes N] [--json]   a storage node killed during puts (1,000 times), a soak (10 min)
       ./healthblock test storage scrub [--blocks N] [--json]   a store that has grown (10^5 blocks): its puts, and reads during a scrub
       ./healthblock test storage file [--mib N] [--json]       a file (1 GiB) through a user node whose memory is watched
       ./healthblock test live [--minutes N]   live ECG on a doctor's page for N minutes (10): frames, share of a core, memory

Runs everything that CI runs: format and lint, promise rules, types, all tests, and that Node loads every entry point.
Installs redis-server, etcd-server and chromium with the system's package manager if they are absent (it says so first).
Where Go is installed, Kubo is built once into .cache/kubo for the tests against a real IPFS daemon, and Tessera's fsck and
torchwood's litewitness into .cache/interop for the tests against public log tools; elsewhere those are skipped by name (KUBO_BINARY
names another Kubo).
The last line is "N passed, N failed, N skipped", from the test runner's own totals.

  --quick    only the tests

fuzz damages good inputs of each parser at random, as bytes and by their structure: each must give a value or a typed error, soon, and leave
nothing behind; what verifies must be so. --only takes a suite, a part of a parser's name, or a whole line of --list; --seed repeats a run.

chaos hurts a cluster of real processes under load, one scenario after the other (kills, pauses, a lost queue, a register that is lost, or
whose file is removed, etcd away, a rolled-back disk, a wrong clock, a censoring leader, a flood), and checks after each that the audit is
clean, that every receipt ever given still verifies, and that everything promised was kept.

  --quick    a few minutes instead of the long run
  --only     one scenario; repeat it for several
  --json     one object a scenario, then the summary
`

function run(command: string, args: string[]): Promise<number> {
  return runAside(command, args, { cwd: projectRoot })
}

/** Programs of other people for the tests that need them: built where Go is, once. */
async function ensureForeignPrograms(io: Io): Promise<void> {
  const hasGo = spawnSync('go', ['version'], { stdio: 'ignore' }).status === 0
  const build = async (script: string, without: string): Promise<void> => {
    if (hasGo && (await run(join(projectRoot, script), [])) === 0) return
    io.stderr(`healthblock test: ${without} are skipped\n`)
  }
  if (process.env.KUBO_BINARY === undefined)
    await build('deploy/kubo/build.sh', 'no Kubo (it needs Go): the tests against a real IPFS daemon')
  await build('test/interop/build.sh', 'no fsck and litewitness (they need Go): the tests against public log tools')
}

async function runChaos(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    quick: { type: 'boolean' },
    only: { type: 'string', multiple: true },
  })
  takePositionals(positionals, [])
  await ensureRedisServer(io)
  await ensureProgram(io, { program: 'etcd', package: 'etcd-server' })
  const flags = [
    ...(values.quick === true ? ['--quick'] : []),
    ...(values.json === true ? ['--json'] : []),
    ...(values.only ?? []).flatMap((name) => ['--only', name]),
  ]
  return runScript('test/chaos/main.ts', flags, io)
}

/** A test that is a script of its own, once its options are known to be good. */
async function runLong(path: string, args: string[], options: Options, io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, options)
  if (values.help === true) return tellHelp(help, true, io)
  takePositionals(positionals, [])
  return runScript(path, args, io)
}

/** One whose options are all counts. */
async function runCounted(path: string, args: string[], names: readonly string[], io: Io): Promise<ExitCode> {
  const options = Object.fromEntries(names.map((name) => [name, { type: 'string' } as const]))
  const values = parseOptions(args, options).values as Record<string, string | undefined>
  for (const name of names) parseCount(values[name], name, { least: 0, most: 10_000_000, preset: 0 })
  return runLong(path, args, options, io)
}

function runStorage(args: string[], io: Io): Promise<ExitCode> {
  const [which, ...flags] = args
  if (which === 'scrub') return runCounted('test/storage/scrub.ts', flags, ['blocks'], io)
  if (which === 'file') return runCounted('test/storage/large-file.ts', flags, ['mib'], io)
  return runCounted('test/storage/main.ts', args, ['cycles', 'minutes'], io)
}

function runFuzz(args: string[], io: Io): Promise<ExitCode> {
  const text = { type: 'string' } as const
  const options = { minutes: text, seed: text, only: { ...text, multiple: true }, list: { type: 'boolean' } } as const
  return runLong('test/fuzz/main.ts', args, options, io)
}

/** Live ECG in a real browser, for long: what the test of the suite does for seconds. */
async function runLive(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { minutes: { type: 'string' } })
  takePositionals(positionals, [])
  const minutes = Number(values.minutes ?? '10')
  if (!(minutes > 0 && minutes <= 25))
    throw new UsageError(`--minutes takes more than 0 and at most 25, not "${values.minutes}"`)
  await ensureRedisServer(io)
  if (process.env.CHROMIUM_BINARY === undefined) await ensureProgram(io, { program: 'chromium', package: 'chromium' })
  await ensurePortals(io)
  process.env.PORTAL_LIVE_SECONDS = String(Math.round(60 * minutes))
  const vitest = join(projectRoot, 'node_modules', '.bin', 'vitest')
  const code = await run(vitest, ['run', 'test/portal/doctor-speed.test.ts', '-t', 'live ECG'])
  return code === 0 ? 0 : 1
}

/** `./healthblock test`. */
export async function runTest(args: string[], io: Io): Promise<ExitCode> {
  if (args[0] === 'sim') return runScript('test/sim/main.ts', args.slice(1), io)
  if (args[0] === 'storage') return runStorage(args.slice(1), io)
  if (args[0] === 'fuzz') return runFuzz(args.slice(1), io)
  if (args.includes('--help') || args.includes('-h')) {
    io.stdout(help)
    return 0
  }
  if (args[0] === 'chaos') return runChaos(args.slice(1), io)
  if (args[0] === 'live') return runLive(args.slice(1), io)
  const { values, positionals } = parseArgs({ args, options: { quick: { type: 'boolean' } }, allowPositionals: true })
  if (positionals.length > 0)
    throw new UsageError(`runs chaos, sim, fuzz, storage or live, or by itself everything; not "${positionals[0]}"`)
  await ensureRedisServer(io)
  // What needs etcd or Chromium is skipped by name where it cannot be had.
  await ensureProgram(io, { program: 'etcd', package: 'etcd-server' })
  if (process.env.CHROMIUM_BINARY === undefined) await ensureProgram(io, { program: 'chromium', package: 'chromium' })
  await ensurePortals(io)
  await ensureForeignPrograms(io)
  const bin = (name: string): string => join(projectRoot, 'node_modules', '.bin', name)
  const steps: [string, string, string[]][] = [
    ['format and lint', bin('biome'), ['check', '.']],
    [
      'promise rules',
      bin('oxlint'),
      ['--type-aware', '-c', '.oxlintrc.json', 'packages', 'services', 'cli', 'test', 'bench', 'web'],
    ],
    ['types', bin('tsc'), ['-p', '.']],
    ['types of the portals', bin('tsc'), ['-p', 'web']],
    ['entry points', process.execPath, ['test/support/load-entry-points.ts']],
  ]
  let stepsFailed = 0
  if (values.quick !== true) {
    for (const [what, command, stepArgs] of steps) {
      io.stderr(`healthblock test: ${what}\n`)
      if ((await run(command, stepArgs)) !== 0) {
        stepsFailed++
        io.stderr(`healthblock test: ${what} FAILED\n`)
      }
    }
  }
  io.stderr('healthblock test: tests\n')
  const totals = await runSuite(projectRoot, join(projectRoot, 'build'), io)
  const failed = totals.failed + stepsFailed
  io.stdout(`${totals.passed} passed, ${failed} failed, ${totals.skipped} skipped\n`)
  return failed === 0 ? 0 : 1
}
