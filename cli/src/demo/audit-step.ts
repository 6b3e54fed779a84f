import { callNode, nodeAccess } from '../cluster/client.ts'
import { runAudit } from '../commands/audit.ts'
import { runLedger } from '../commands/ledger.ts'
import { runJson, type StepResult, type Story } from './story.ts'

interface Finding {
  readonly code: string
  readonly chain: string
  readonly height: number
  readonly index: number
  readonly node: string
  readonly message: string
}

interface AuditReport {
  readonly ok: boolean
  readonly chains: Record<string, { height: number; size: number; root: string; stateRoot: string }>
  readonly transactions: number
  readonly seconds: number
  readonly notChecked: string[]
  readonly findings: Finding[]
}

async function acknowledgeAll(story: Story): Promise<number> {
  let count = 0
  for (const { name, role } of story.cluster().nodes) {
    if (role !== 'accounting') continue
    const incidents = await callNode<unknown[]>(nodeAccess(story.dir, story.cluster(), name), 'GET', '/v1/incidents')
    for (const [index] of incidents.entries()) {
      await runJson(story, runLedger, ['acknowledge', name, String(index)])
      count++
    }
  }
  return count
}

/** An auditor replays both ledgers from nothing: first with the alteration on record, then after it was acknowledged. */
export async function auditStep(story: Story): Promise<StepResult> {
  story.tell(
    'An auditor starts from nothing but the genesis file and replays both ledgers: every byte, signature and rule.',
  )
  const first = await runJson<AuditReport>(story, runAudit, [])
  const isReported =
    first.code === 1 &&
    first.value.findings.length > 0 &&
    first.value.findings.every(({ code }) => code.includes('INCIDENT') || code.includes('incident'))
  for (const { message } of first.value.findings) story.tell(`  finding: ${message}`)
  const acknowledged = await acknowledgeAll(story)
  const second = await runJson<AuditReport>(story, runAudit, [])
  if (second.value.ok) {
    story.tell(
      `  the alteration is acknowledged by its operator; a second replay of ${second.value.transactions} transactions finds nothing (${second.value.seconds} s).`,
    )
    story.tell(`  not checked: ${second.value.notChecked.join('; ')}`)
  }
  return {
    step: 'audit',
    ok: isReported && second.code === 0,
    firstFindings: first.value.findings,
    acknowledged,
    report: second.value,
  }
}
