/**
 * How a story that is kept goes on, for those who open its portals: at its end both doctors are out. One of them is let in again, so that
 * there is somebody to revoke, a patient to look at, and a doctor who is refused beside one who is not. An audit is begun, so that its
 * report is there.
 */
import { callNode, nodeAccess } from '../cluster/client.ts'
import { runDoctor } from '../commands/doctor.ts'
import { runPatient } from '../commands/patient.ts'
import { patient, streamSeconds } from './steps.ts'
import { eventually, runJson, type Story } from './story.ts'
import { damagedAccounting } from './tamper-step.ts'

const doctor = 'doctor-a'
/** The thermometer's value is older than the story. */
const beforeMs = 5 * 60_000

interface Written {
  readonly at: string
  readonly algorithm: string
}

async function letInAgain(story: Story): Promise<boolean> {
  const storyMs = performance.now() - (story.facts.get('startedAt') as number)
  const from = new Date(Date.now() - storyMs - beforeMs).toISOString()
  const since = new Date().toISOString()
  await runJson(story, runPatient, ['grant', patient, doctor, '--streams', 'ecg,vitals', '--from', from])
  const account = story.cluster().patients[0]?.account
  const node = nodeAccess(story.dir, story.cluster(), doctor)
  await callNode(node, 'PUT', `/v1/patients/${account}/petname`, { petname: 'Anna' })
  await Promise.all([streamSeconds(story, 'record', 30), streamSeconds(story, 'vitals', 30)])
  const written = await eventually(async () => {
    const { value } = await runJson<Written[]>(story, runDoctor, ['diagnoses', doctor])
    return value.some(({ at }) => at > since) ? true : undefined
  }, 60_000)
  return written === true
}

/** Lets doctor A in again and waits for her node's next diagnosis. Never throws: the story was told before it. */
export async function goOn(story: Story): Promise<void> {
  story.tell('')
  story.tell(
    'Afterwards, for the portals: Anna lets doctor A read again, also what was measured before. Doctor B stays out.',
  )
  try {
    const isWritten = await letInAgain(story)
    await callNode(nodeAccess(story.dir, story.cluster(), damagedAccounting), 'POST', '/v1/audits', {})
    story.tell(
      isWritten ? "  doctor A's node reads and judges again." : "  doctor A's node has not judged anything new yet.",
    )
  } catch (error) {
    story.tell(`  that did not succeed: ${error instanceof Error ? error.message : String(error)}`)
  }
}
