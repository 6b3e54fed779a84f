import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { callNode, nodeAccess } from '../cluster/client.ts'
import { createCluster } from '../cluster/create.ts'
import { clusterPaths } from '../cluster/layout.ts'
import { readProcess } from '../cluster/processes.ts'
import { startCluster } from '../cluster/start.ts'
import { clusterStatus } from '../cluster/status.ts'
import { runDoctor } from '../commands/doctor.ts'
import { runPatient } from '../commands/patient.ts'
import { enrolEverybody } from '../commands/up.ts'
import { runVerify } from '../commands/verify.ts'
import { CommandError } from '../io.ts'
import { auditStep } from './audit-step.ts'
import { censorStep } from './censor-step.ts'
import { eventually, isFile, runJson, type StepResult, type Story } from './story.ts'
import { tamperStep } from './tamper-step.ts'

/** The story's patient. */
export const patient = 'anna'
const periodMs = 10_000
const newsCode = 'early-warning.news2'

interface Reading {
  readonly sequence: number
  readonly stream: string
  readonly kind: string
  readonly transactionId: string
}

interface Diagnosis {
  readonly transactionId: string
  readonly doctor: string
  readonly findings: { code: string; severity: string; sentence: string }[]
}

interface Reason {
  readonly rule: string
  readonly height: number
}

async function verifyReceipt(story: Story, path: unknown): Promise<boolean> {
  if (!isFile(path)) return false
  const { code } = await runJson<unknown>(story, runVerify, [path, '--genesis', clusterPaths.genesis(story.dir)])
  return code === 0
}

async function start(story: Story): Promise<StepResult> {
  story.tell(
    'Four hospitals start one accounting node each; three storage nodes keep sealed blocks; nobody trusts anybody alone.',
  )
  const size = { accounting: 4, storage: 3, replicas: 3, doctors: 2, patients: [patient], periodMs }
  const cluster = await createCluster(story.dir, size, Date.now())
  await startCluster(story.dir, cluster, story.io)
  const status = await clusterStatus(story.dir, cluster)
  const ready = status.nodes.filter(({ state }) => state === 'ready').length
  story.tell(`${status.nodes.length} processes run, ${ready} are ready. Ledger ${cluster.ledgerId.slice(0, 16)}….`)
  return {
    step: 'start',
    ok: status.nodes.every(({ state }) => state !== 'stopped'),
    ledgerId: cluster.ledgerId,
    nodes: status.nodes.length,
  }
}

async function enrol(story: Story): Promise<StepResult> {
  story.tell(
    'A hospital vouches for two doctors and for the patient Anna. On the ledger stand pseudonyms and public keys, no names.',
  )
  await enrolEverybody(story.dir, story.cluster(), [patient], story.io)
  const { doctors, patients } = story.cluster()
  return { step: 'enrol', ok: doctors.length === 2 && patients.length === 1, patients, doctors }
}

interface Streamed {
  readonly transactions: string[]
  readonly batches: number
  readonly lastSequence: number
}

/** Streams the next seconds of one of the story's recordings. */
export async function streamSeconds(story: Story, what: 'record' | 'vitals', seconds: number): Promise<Streamed> {
  const fact = `${what} streamed to`
  const { path, seconds: length } = story[what]
  const from = (story.facts.get(fact) as number | undefined) ?? 0
  const to = Math.min(length, from + seconds)
  const { value } = await runJson<Streamed>(story, runPatient, [
    ...['stream', patient, '--record', path, '--from', String(from), '--to', String(to)],
    ...['--speed', String(story.speed), '--wait'],
  ])
  story.facts.set(fact, to)
  return value
}

/** What a thermometer and a cuff measured a minute ago, over HTTP as a device sends it. Made up, and said so. */
const measured = { temperature: 38.6, 'systolic-pressure': 90, consciousness: 0 } as const

async function postMeasurement(story: Story): Promise<void> {
  const { value } = await runJson<{ credential: string }>(story, runPatient, ['device', patient])
  const node = nodeAccess(story.dir, story.cluster(), 'user')
  const timeMs = Date.now() - 61_000
  await callNode({ ...node, bearer: value.credential }, 'POST', '/v1/streams/vitals/samples', {
    rows: Object.entries(measured).map(([sign, value]) => ({ timeMs, sign, value })),
  })
}

async function stream(story: Story): Promise<StepResult> {
  const { record, vitals } = story
  const kind = record.isReal ? 'a real ECG' : 'a generated ECG (no recording was found; name one with --record)'
  story.tell(
    `Anna's devices stream ${kind}: ${record.name}; and vital signs: ${vitals.name}, with what a thermometer and a cuff say (${measured.temperature} °C, ${measured['systolic-pressure']} mmHg: made up). Her node seals every ten seconds under a key of its own, stores the block on two nodes at once, and posts its hash.`,
  )
  await postMeasurement(story)
  const [ecg, signs] = await Promise.all([streamSeconds(story, 'record', 60), streamSeconds(story, 'vitals', 60)])
  const receiptOf = ({ transactions }: Streamed): string =>
    join(clusterPaths.node(story.dir, 'user'), 'receipts', `${transactions.at(-1)}.json`)
  const receipt = receiptOf(ecg)
  const verified = await Promise.all([verifyReceipt(story, receipt), verifyReceipt(story, receiptOf(signs))])
  story.tell(
    `${ecg.batches} batches of ECG and ${signs.batches} of vital signs are on record; each has a receipt that anyone can check without us.`,
  )
  return {
    step: 'stream',
    ok: ecg.batches > 0 && signs.batches > 0 && verified.every(Boolean),
    ...ecg,
    vitals: signs,
    receipt,
    check: `./healthblock verify ${receipt} --genesis ${clusterPaths.genesis(story.dir)}`,
  }
}

async function grant(story: Story): Promise<StepResult> {
  story.tell(
    'Anna lets doctor A and doctor B read her ECG and her vital signs: the keys travel in sealed envelopes, on the ledger, to these two alone.',
  )
  const receipts: string[] = []
  for (const doctor of ['doctor-a', 'doctor-b']) {
    const { value } = await runJson<{ transactionId: string; receipt: string }>(story, runPatient, [
      ...['grant', patient, doctor, '--streams', 'ecg,vitals'],
    ])
    receipts.push(value.receipt)
  }
  const verified = await Promise.all(receipts.map((receipt) => verifyReceipt(story, receipt)))
  return { step: 'grant', ok: verified.every(Boolean), receipts }
}

async function diagnosesOf(story: Story): Promise<Diagnosis[]> {
  return (await runJson<Diagnosis[]>(story, runPatient, ['diagnoses', patient])).value
}

async function diagnose(story: Story): Promise<StepResult> {
  story.tell(
    "Both doctors' nodes see it, fetch the blocks, open them, judge ECG and vital signs by themselves, and post sealed diagnoses. Only Anna and the one who wrote it can read them.",
  )
  const doctors = story.cluster().doctors
  const found = await eventually(async () => {
    const diagnoses = await diagnosesOf(story)
    const hasScored = ({ account }: { account: string }): boolean =>
      diagnoses.some(({ doctor, findings }) => doctor === account && findings.some(({ code }) => code === newsCode))
    return doctors.every(hasScored) ? diagnoses : undefined
  }, 60_000)
  const findings = (found ?? []).flatMap((diagnosis) => diagnosis.findings)
  const told = (isOfEcg: boolean): string[] => [
    ...new Set(findings.filter(({ code }) => code.startsWith('ecg.') === isOfEcg).map(({ sentence }) => sentence)),
  ]
  const [rhythm, vitals] = [told(true), told(false)]
  for (const sentence of rhythm.slice(0, 4)) story.tell(`  in the ECG: ${sentence}`)
  for (const sentence of vitals.slice(0, 2)) story.tell(`  in the vital signs: ${sentence}`)
  const alarms = await alarmsEverywhere(story)
  if (alarms > 0) story.tell(`  ${alarms === 1 ? 'One alarm' : `${alarms} alarms`} reached Anna and both doctors.`)
  return {
    step: 'diagnose',
    ok: found !== undefined,
    diagnoses: found?.length ?? 0,
    findings: [...rhythm, ...vitals],
    alarms,
  }
}

/** Alarms that reached the patient's node and both doctors' nodes: as many as the one that has fewest. */
async function alarmsEverywhere(story: Story): Promise<number> {
  const own = (await runJson<unknown[]>(story, runPatient, ['alarms', patient])).value.length
  const ofDoctors = story
    .cluster()
    .doctors.map(({ node }) =>
      callNode<unknown[]>(nodeAccess(story.dir, story.cluster(), node), 'GET', '/v1/alarms').then(
        ({ length }) => length,
      ),
    )
  return Math.min(own, ...(await Promise.all(ofDoctors)))
}

interface Revoked {
  readonly transactionId: string
  readonly receipt: string
  readonly changedAt: string
  readonly recordedAt: string
  readonly refusedEverywhereAt: string
}

async function revoke(story: Story): Promise<StepResult> {
  story.tell(
    'Anna takes the keys back from doctor B. Her node changes the keys at once, before anyone is asked; then the ledger hears of it.',
  )
  const { code, value } = await runJson<Revoked>(story, runPatient, ['revoke', patient, 'doctor-b', '--wait'])
  story.facts.set('revoked', value)
  const verified = code === 0 && (await verifyReceipt(story, value.receipt))
  const ms = (text: string): number => Date.parse(text) - Date.parse(value.changedAt)
  if (verified) {
    story.tell(
      `  keys changed: at once. On record: after ${ms(value.recordedAt)} ms. Refused everywhere: after ${ms(value.refusedEverywhereAt)} ms. Anna holds the receipt.`,
    )
  }
  return { step: 'revoke', ok: verified, ...value }
}

async function tryToPost(story: Story, doctor: string, reading: Reading): Promise<Reason | undefined> {
  const text = join(story.dir, 'finding.txt')
  await writeFile(text, 'Seen after access had ended.\n')
  try {
    await runJson(story, runDoctor, [
      'post',
      doctor,
      patient,
      '--in',
      `${reading.stream}:${reading.sequence}`,
      '--text',
      text,
    ])
    return undefined
  } catch (error) {
    const refused = error instanceof CommandError ? (error.json?.refused as Reason | undefined) : undefined
    if (refused === undefined) throw error
    return refused
  }
}

async function experiment(
  story: Story,
  name: 'decrypt' | 'envelope',
): Promise<{ refused: boolean; evidence: unknown }> {
  const doctor = nodeAccess(story.dir, story.cluster(), 'doctor-b')
  const account = story.cluster().patients[0]?.account
  return callNode(doctor, 'POST', `/v1/experiments/${name}`, { patient: account })
}

async function revoked(story: Story): Promise<StepResult> {
  story.tell("The stream goes on. Doctor A's node goes on reading it. Doctor B's node tries three ways in.")
  const before = (await diagnosesOf(story)).length
  await Promise.all([streamSeconds(story, 'record', 30), streamSeconds(story, 'vitals', 30)])
  const readings = (await runJson<Reading[]>(story, runPatient, ['readings', patient])).value
  const newest = readings.filter(({ kind }) => kind === 'ecg').at(-1) as Reading
  const doctorB = nodeAccess(story.dir, story.cluster(), 'doctor-b')
  await callNode(doctorB, 'POST', '/v1/catch-up', { timeoutMs: 30_000 })
  const decrypt = await experiment(story, 'decrypt')
  const envelope = await experiment(story, 'envelope')
  const post = await tryToPost(story, 'doctor-b', newest)
  const readByA = await eventually(async () => {
    const { value } = await runJson<Reading[]>(story, runDoctor, ['readings', 'doctor-a', patient])
    return value.some(({ transactionId }) => transactionId === newest.transactionId) ? true : undefined
  }, 30_000)
  const word = (isRefused: boolean): string => (isRefused ? 'refused' : 'NOT refused')
  story.tell(
    `  open the next reading: ${word(decrypt.refused)}; post a diagnosis: ${word(post !== undefined)} (rule ${post?.rule}); use the old envelope: ${word(envelope.refused)}.`,
  )
  const ok = decrypt.refused && envelope.refused && post !== undefined && readByA === true
  return {
    step: 'revoked',
    ok,
    decrypt: word(decrypt.refused),
    post: word(post !== undefined),
    replayedEnvelope: word(envelope.refused),
    doctorAStillReads: readByA === true,
    diagnosesBefore: before,
    evidence: { decrypt: decrypt.evidence, envelope: envelope.evidence, refusal: post },
  }
}

async function summary(story: Story, results: readonly StepResult[]): Promise<StepResult> {
  const revokedFacts = story.facts.get('revoked') as Revoked | undefined
  const genesis = clusterPaths.genesis(story.dir)
  const url = readProcess(clusterPaths.node(story.dir, 'accounting-1')).url
  const ok = results.every((result) => result.ok)
  return {
    step: 'summary',
    ok,
    seconds: Math.round((performance.now() - (story.facts.get('startedAt') as number)) / 100) / 10,
    promises: results.map(({ step, ok: kept }) => ({ step, kept })),
    check: [
      `./healthblock verify ${revokedFacts?.receipt} --genesis ${genesis}`,
      `./healthblock audit --dir ${story.dir}`,
      `./healthblock audit --url ${url} --genesis ${genesis} --token "$(./healthblock ledger token --dir ${story.dir})"`,
    ],
  }
}

/** The steps in their order; `summary` looks at what the others found. */
export const steps: readonly {
  name: string
  run: (story: Story, results: readonly StepResult[]) => Promise<StepResult>
}[] = [
  { name: 'start', run: start },
  { name: 'enrol', run: enrol },
  { name: 'stream', run: stream },
  { name: 'grant', run: grant },
  { name: 'diagnose', run: diagnose },
  { name: 'revoke', run: revoke },
  { name: 'revoked', run: revoked },
  { name: 'tamper', run: tamperStep },
  { name: 'censor', run: censorStep },
  { name: 'audit', run: auditStep },
  { name: 'summary', run: summary },
]
