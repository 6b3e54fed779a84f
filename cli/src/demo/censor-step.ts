import { clusterPaths } from '../cluster/layout.ts'
import { readProcess, stopProcess } from '../cluster/processes.ts'
import { startNode } from '../cluster/start.ts'
import { runPatient } from '../commands/patient.ts'
import { eventually, runJson, type StepResult, type Story } from './story.ts'

interface Head {
  readonly term: number
  readonly leader: number
}

async function readHead(story: Story, node: string): Promise<Head | undefined> {
  const { url } = readProcess(clusterPaths.node(story.dir, node))
  if (url === undefined) return undefined
  try {
    const response = await fetch(new URL('/v1/userchain/head', url), { signal: AbortSignal.timeout(3_000) })
    if (!response.ok) return undefined
    const { term, leader } = (await response.json()) as Head
    return { term, leader }
  } catch {
    return undefined
  }
}

/** The leader drops everything that the patient sends: her revocation commits all the same, under another leader. */
export async function censorStep(story: Story): Promise<StepResult> {
  const account = story.cluster().patients[0]?.account ?? ''
  const before = await eventually(() => readHead(story, 'accounting-3'), 10_000)
  const name = `accounting-${before?.leader ?? 0}`
  story.tell(
    `The leader of the ledger, ${name}, is bribed: it drops everything that Anna sends. Anna takes the keys back from doctor A as well.`,
  )
  await stopProcess(clusterPaths.node(story.dir, name))
  await startNode(story.dir, story.cluster(), name, { ACCOUNTING_FAULT_CENSOR: account })
  const startedAt = performance.now()
  const { code, value } = await runJson<Record<string, string>>(story, runPatient, [
    'revoke',
    'anna',
    'doctor-a',
    '--wait',
  ])
  const seconds = Math.round((performance.now() - startedAt) / 100) / 10
  const witness = `accounting-${((before?.leader ?? 0) + 1) % 4}`
  const after = await readHead(story, witness)
  await stopProcess(clusterPaths.node(story.dir, name))
  await startNode(story.dir, story.cluster(), name)
  const isOvercome = code === 0 && after !== undefined && after.term > (before?.term ?? 0)
  if (isOvercome) {
    story.tell(
      `  the others waited, saw that it was left out, and accounting-${after.leader} took over (term ${before?.term} to ${after.term}). On record and refused everywhere after ${seconds} s.`,
    )
  }
  return { step: 'censor', ok: isOvercome, censor: name, before, after, seconds, ...value }
}
