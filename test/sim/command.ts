/** The command line of the simulator: seeds in this process or in several, one seed with its trace, the mutations, the fault pairs. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { optionWords } from '../../cli/src/options.ts'
import { keptSeeds } from './kept-seeds.ts'
import { type Mutation, mutations } from './mutations.ts'
import { loadBuild } from './node.ts'
import { listCalls, pairsOf, runPair } from './pairs.ts'
import { type Profile, profiles } from './plan.ts'
import { type Outcome, prepare, runSeed } from './simulation.ts'

const help = `Usage: ./healthblock test sim [--seeds N] [--from S] [--jobs J]
       ./healthblock test sim --seed X [--trace]
       ./healthblock test sim --mutations [NAME...]
       ./healthblock test sim --pairs [--sampled]

Runs the accounting nodes' code, four nodes and both chains, on a simulated clock, network, disk, register and queue whose faults
come from a seed, and checks what must hold after every step. The same seed is the same run.
The last line is "N passed, N failed".

  --seeds N    how many seeds, 200 by default
  --from S     the first one, 1 by default
  --jobs J     processes, 1 by default
  --profile P  faults of this kind only: crash, register, disk, bad-node, governed, silent
  --seed X     this seed alone, with what it came to
  --mutations  looks for each deliberate fault (or those named), and prints after how many seeds it was found
  --pairs      each action of a run on the world fails in turn, not done and done all the same; --sampled: one of each kind
  --trace      with --seed: every step
  --kept       the seeds that once found something
  --json       one line of JSON a seed
`

const main = fileURLToPath(new URL('main.ts', import.meta.url))
/** Progress is said this often. */
const progressMs = 10_000

/** How one seed ended, in a line. */
interface Line {
  readonly seed: number
  readonly trace: string
  readonly profile: string
  readonly violation?: string
}

function lineOf({ seed, trace, plan, violation }: Outcome): Line {
  const profile = plan.bad === undefined ? plan.profile : `${plan.profile}, rank ${plan.bad.rank} ${plan.bad.kind}`
  const line = { seed, trace, profile }
  return violation === undefined ? line : { ...line, violation: `${violation.invariant}: ${violation.what}` }
}

function say(text: string): void {
  process.stdout.write(`${text}\n`)
}

/** Counts what ended, says how far it is, and shows what failed. */
class Tally {
  passed = 0
  failed = 0
  readonly #count: number
  readonly #isQuiet: boolean
  readonly #begunMs = performance.now()
  #saidMs = performance.now()

  constructor(count: number, isQuiet: boolean) {
    this.#count = count
    this.#isQuiet = isQuiet
  }

  add(line: Line): void {
    if (line.violation === undefined) this.passed++
    else this.failed++
    if (this.#isQuiet) say(JSON.stringify(line))
    else this.#tell(line)
  }

  #tell(line: Line): void {
    if (line.violation !== undefined) {
      say(`seed ${line.seed} (${line.profile}) FAILED ${line.violation}`)
      const [profile] = line.profile.split(',')
      say(`  again: ./healthblock test sim --seed ${line.seed} --profile ${profile} --trace`)
    }
    const nowMs = performance.now()
    if (nowMs - this.#saidMs < progressMs) return
    this.#saidMs = nowMs
    const done = this.passed + this.failed
    const seconds = Math.round((nowMs - this.#begunMs) / 1000)
    process.stderr.write(`${done} of ${this.#count} seeds, ${this.failed} failed, ${seconds} s\n`)
  }
}

async function runHere(seeds: Iterable<number>, profile: Profile | undefined, tally: Tally): Promise<void> {
  await prepare()
  for (const seed of seeds) tally.add(lineOf(await runSeed({ seed, ...(profile === undefined ? {} : { profile }) })))
}

/** Runs every `jobs`-th seed in a process of its own. */
async function runInProcess(args: readonly string[], tally: Tally): Promise<void> {
  const child = spawn(process.execPath, [...process.execArgv, main, ...args, '--json'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  for await (const text of createInterface({ input: child.stdout })) {
    if (text.startsWith('{')) tally.add(JSON.parse(text) as Line)
  }
  const code = await ended
  if (code !== 0 && code !== 1) throw new Error(`a simulating process ended with ${code}`)
}

function* every(from: number, count: number, stride: number): Iterable<number> {
  for (let i = 0; i < count; i++) yield from + i * stride
}

/** Looks for one mutation; answers the number of seeds that it took, or undefined. */
async function findMutation(mutation: Mutation): Promise<{ seeds: number; violation: string } | undefined> {
  const { name, profile, badKind, course, seedsMax } = mutation
  const build = await loadBuild(name)
  for (let seed = 1; seed <= seedsMax; seed++) {
    const { violation } = await runSeed({
      ...{ seed, profile },
      ...(badKind === undefined ? {} : { badKind }),
      ...(course === undefined ? {} : { course }),
      build,
    })
    if (violation !== undefined) return { seeds: seed, violation: `${violation.invariant}: ${violation.what}` }
  }
  return undefined
}

/** Looks for all mutations (or those of these names), and prints the table. */
async function runMutations(names: readonly string[]): Promise<boolean> {
  await prepare()
  let [passed, failed] = [0, 0]
  for (const mutation of mutations.filter(({ name }) => names.length === 0 || names.includes(name))) {
    const { name, profile, seedsMax } = mutation
    const found = await findMutation(mutation)
    if (found === undefined) failed++
    else passed++
    const seeds = found === undefined ? `NOT within ${seedsMax}` : `${found.seeds} of ${seedsMax}`
    say(`${name.padEnd(26)} ${profile.padEnd(9)} ${seeds.padStart(16)}  ${found?.violation.slice(0, 110) ?? ''}`)
  }
  say(`${passed} passed, ${failed} failed`)
  return failed === 0
}

/** Runs all fault pairs, or one of each kind. */
async function runPairs(sampled: boolean): Promise<boolean> {
  await prepare()
  const calls = await listCalls()
  const pairs = pairsOf(calls, { sampled })
  const kinds = new Map<string, number>()
  for (const { kind } of calls) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
  say(`${calls.length} actions: ${[...kinds].map(([kind, count]) => `${kind} ${count}`).join(', ')}`)
  let failed = 0
  for (const pair of pairs) {
    const { violation } = await runPair(pair)
    if (violation === undefined) continue
    failed++
    const { at, call, fate } = pair
    say(`action ${at}, rank ${call.rank} ${call.kind} ${call.what}, ${fate}: ${violation.invariant} ${violation.what}`)
  }
  say(`${pairs.length - failed} passed, ${failed} failed`)
  return failed === 0
}

async function runOne(seed: number, profile: Profile | undefined, isTraced: boolean): Promise<boolean> {
  await prepare()
  const only = profile === undefined ? {} : { profile }
  const outcome = await runSeed({ seed, ...only, ...(isTraced ? { print: say } : {}) })
  const { plan, heights, counts, virtualMs, settledMs, events } = outcome
  say(`seed ${seed}: ${JSON.stringify(plan)}`)
  say(
    `${events} events in ${(virtualMs / 1000).toFixed(1)} s, settled ${(settledMs / 1000).toFixed(1)} s after the last fault`,
  )
  say(`heights ${JSON.stringify(heights)}, transactions ${JSON.stringify(counts)}, trace ${outcome.trace}`)
  if (outcome.violation !== undefined) say(`FAILED ${outcome.violation.invariant}: ${outcome.violation.what}`)
  return outcome.violation === undefined
}

const text = { type: 'string' } as const
const flag = { type: 'boolean' } as const
const options = {
  ...{ mutations: flag, pairs: flag, sampled: flag, kept: flag },
  ...{
    seed: text,
    seeds: text,
    from: text,
    jobs: text,
    stride: text,
    profile: text,
    trace: flag,
    json: flag,
    help: flag,
  },
}

/** A command line that says nothing that can be done. */
class UsageError extends Error {
  override readonly name = 'UsageError'
}

function numberOf(name: string, value: string | undefined, fallback: number): number {
  const number = Number(value ?? fallback)
  if (value?.trim() === '' || !Number.isSafeInteger(number) || number < 0)
    throw new UsageError(`--${name} takes a whole number, not "${value}"`)
  return number
}

function profileOf(value: string | undefined): Profile | undefined {
  const found = profiles.find((profile) => profile === value)
  if (value !== undefined && found === undefined)
    throw new UsageError(`--profile takes ${profiles.join(', ')}; not "${value}"`)
  return found
}

const parsed = (args: string[]) => {
  const { values, positionals } = parseArgs({ args, options, allowPositionals: true })
  const [first] = positionals
  if (first !== undefined && values.mutations !== true)
    throw new UsageError(`takes names with --mutations only, not "${first}"`)
  const unknown = positionals.find((one) => !mutations.some(({ name }) => name === one))
  if (unknown !== undefined) throw new UsageError(`--mutations knows no "${unknown}"`)
  return { values, positionals }
}

/** Runs the command; answers the exit code. */
export async function runCommand(args: string[]): Promise<number> {
  try {
    return await runParsed(parsed(args))
  } catch (error) {
    const words = optionWords(error) ?? (error instanceof UsageError ? error.message : undefined)
    if (words === undefined) throw error
    process.stderr.write(`healthblock test sim: ${words}\nTry ./healthblock test sim --help\n`)
    return 2
  }
}

async function runParsed({ values, positionals }: ReturnType<typeof parsed>): Promise<number> {
  if (values.help === true) {
    process.stdout.write(help)
    return 0
  }
  if (values.pairs === true) return (await runPairs(values.sampled === true)) ? 0 : 1
  if (values.mutations === true) return (await runMutations(positionals)) ? 0 : 1
  if (values.seed !== undefined) {
    const isGood = await runOne(numberOf('seed', values.seed, 1), profileOf(values.profile), values.trace === true)
    say(isGood ? '1 passed, 0 failed' : '0 passed, 1 failed')
    return isGood ? 0 : 1
  }
  const [from, count] = [numberOf('from', values.from, 1), numberOf('seeds', values.seeds, 200)]
  const jobs = Math.min(Math.max(1, numberOf('jobs', values.jobs, 1)), Math.max(1, count))
  const profile = profileOf(values.profile)
  const tally = new Tally(values.kept === true ? keptSeeds.length : count, values.json === true)
  if (values.kept === true) for (const kept of keptSeeds) await runHere([kept.seed], kept.profile, tally)
  else if (jobs === 1) await runHere(every(from, count, numberOf('stride', values.stride, 1)), profile, tally)
  else {
    const parts = Array.from({ length: jobs }, (_, job) => {
      const only = profile === undefined ? [] : ['--profile', profile]
      const own = Math.ceil((count - job) / jobs)
      return runInProcess(['--from', `${from + job}`, '--seeds', `${own}`, '--stride', `${jobs}`, ...only], tally)
    })
    await Promise.all(parts)
  }
  if (values.json !== true) say(`${tally.passed} passed, ${tally.failed} failed`)
  return tally.failed === 0 ? 0 : 1
}
