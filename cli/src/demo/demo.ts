import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { clusterFolder, requireFreeFolder } from '../cluster/layout.ts'
import { formatDoors, portalDoors } from '../cluster/portal-doors.ts'
import { stopCluster } from '../cluster/start.ts'
import type { ExitCode, Io } from '../io.ts'
import { parseOptions, parseSpeed, takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'
import { goOn } from './afterwards.ts'
import { chooseRecord, writeVitals } from './record.ts'
import { steps } from './steps.ts'
import { currentCluster, type StepResult, type Story } from './story.ts'
import { damagedAccounting } from './tamper-step.ts'

const help = `Usage: ./healthblock demo [--keep] [--record WFDB] [--speed N|max] [--dir DIR] [--json]

The whole story with real processes on this machine: stream, grant, diagnose, revoke, three refused attempts, tampering,
a dishonest leader, an audit from nothing. Takes under two minutes and leaves nothing running, unless --keep.

  --keep          leave the cluster and its portals running, and its folder in place; doctor A is let in again
  --record WFDB   the recording to stream (a path without its ending); default: a real one if found, else generated
  --speed N|max   how much faster than real time to stream (default max)
  --dir DIR       the cluster's folder: must be empty or absent (default: a temporary one)
  --json          one object a line: {"step","ok",…}
`

const promises: Record<string, string> = {
  start: 'a consortium of processes, no single one trusted',
  enrol: 'pseudonyms and public keys on the ledger, no names',
  stream: 'ECG and vital signs: each batch sealed, stored twice, on record with a receipt',
  grant: 'keys reach exactly the chosen doctors',
  diagnose: "both doctors' nodes judge ECG and vital signs by themselves",
  revoke: 'keys changed at once; on record; refused everywhere; a receipt',
  revoked: 'the ex-doctor cannot decrypt, post, or replay an envelope',
  tamper: 'altered bytes are noticed, reported and healed',
  censor: 'a leader that drops a revocation is overcome',
  audit: 'replay from nothing finds what happened, and nothing else',
}

function summaryTable(results: readonly StepResult[]): string {
  const rows = results
    .filter(({ step }) => step in promises)
    .map(({ step, ok }) => [promises[step] ?? '', ok ? 'seen' : 'NOT SEEN'])
  return formatTable([['what was promised', 'what was seen'], ...rows])
}

async function runSteps(story: Story, isJson: boolean, signal: AbortSignal): Promise<StepResult[]> {
  const results: StepResult[] = []
  for (const { name, run } of steps) {
    if (signal.aborted) break
    story.tell('')
    const startedAt = performance.now()
    let result: StepResult
    try {
      result = await run(story, results)
    } catch (error) {
      result = { step: name, ok: false, error: error instanceof Error ? error.message : String(error) }
    }
    const timed = { ...result, ms: Math.round(performance.now() - startedAt) }
    results.push(timed)
    if (isJson) story.io.stdout(`${JSON.stringify(timed)}\n`)
    if (!result.ok)
      story.tell(`  ${name.toUpperCase()} DID NOT HOLD: ${result.error ?? 'see the evidence with --json'}`)
    if (!result.ok && (name === 'start' || name === 'enrol')) break
  }
  return results
}

/** What is streamed; what is generated is written into the folder. */
async function chooseSources(record: string | undefined, folder: string): Promise<Pick<Story, 'record' | 'vitals'>> {
  return { record: await chooseRecord(record, folder), vitals: await writeVitals(folder) }
}

/** `./healthblock demo`. */
export async function runDemo(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    keep: { type: 'boolean' },
    record: { type: 'string' },
    speed: { type: 'string' },
  })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  takePositionals(positionals, [])
  const speed = parseSpeed(values.speed ?? 'max')
  if (values.dir !== undefined) await requireFreeFolder(clusterFolder(values.dir))
  const temporary = values.dir === undefined ? await mkdtemp(join(tmpdir(), 'healthblock-demo-')) : undefined
  const dir = temporary === undefined ? clusterFolder(values.dir) : join(temporary, 'cluster')
  const isJson = values.json === true
  const sources = await chooseSources(values.record, temporary ?? `${dir}-record`).catch(async (error: unknown) => {
    if (temporary !== undefined) await rm(temporary, { recursive: true, force: true })
    throw error
  })
  const story: Story = {
    dir,
    io,
    tell: (text) => (isJson ? io.stderr : io.stdout)(`${text}\n`),
    ...sources,
    speed,
    cluster: () => currentCluster(dir),
    facts: new Map<string, unknown>([['startedAt', performance.now()]]),
  }
  const interrupted = new AbortController()
  const interrupt = (): void => {
    interrupted.abort()
    const left = values.keep === true ? '' : ', then everything is stopped'
    io.stderr(`interrupted: the step that is under way is finished first${left}\n`)
  }
  process.once('SIGINT', interrupt)
  process.once('SIGTERM', interrupt)
  let results: StepResult[] = []
  try {
    results = await runSteps(story, isJson, interrupted.signal)
    if (values.keep === true && results.length === steps.length) await goOn(story)
  } finally {
    process.off('SIGINT', interrupt)
    process.off('SIGTERM', interrupt)
    if (values.keep !== true) await stopQuietly(dir)
    if (values.keep !== true && temporary !== undefined) await rm(temporary, { recursive: true, force: true })
  }
  story.tell(`\n${summaryTable(results)}`)
  finish(story, results, values.keep === true)
  return results.length === steps.length && results.every(({ ok }) => ok) ? 0 : 1
}

async function stopQuietly(dir: string): Promise<void> {
  try {
    await stopCluster(dir, currentCluster(dir))
  } catch {
    // The folder holds no cluster: nothing was started.
  }
}

/** What is behind each door. */
const whatToSee = `
  anna           who can read her now, who could and who looked; her heart, findings, and the timeline with proofs
  doctor-a       may read her again: worklist, ECG, findings to sign
  doctor-b       is out: "Refused" has what the ledger did not take
  auditor        at the node that was tampered with: an audit and what it did not check, the incident, both ledgers with proofs
  administrator  the same, and who may join
`

function finish(story: Story, results: readonly StepResult[], isKept: boolean): void {
  const last = results.at(-1)
  if (isKept) {
    story.tell(`The cluster goes on running in ${story.dir}. The story is in its portals:`)
    story.tell(formatDoors(story.dir, portalDoors(story.dir, currentCluster(story.dir), damagedAccounting)))
    story.tell(whatToSee)
    story.tell('How to check it yourself:')
    for (const line of (last?.check as string[] | undefined) ?? []) story.tell(`  ${line}`)
    story.tell(`Stop it with ./healthblock down --dir ${story.dir}`)
  } else {
    story.tell(
      'Nothing was left running. With --keep the cluster stays, and so do the receipts and commands to check it yourself.',
    )
  }
}
