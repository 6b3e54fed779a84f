/** Writes one Bundle of every kind that is exported into the folder that is named. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { VitalRow, VitalSign } from '@healthblock/diagnosis/batch'
import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import type { DiagnosisDocument } from '@healthblock/diagnosis/document'
import { type FindingCode, findingKinds } from '@healthblock/diagnosis/findings'
import { bundleOf, encodeMissing } from '@healthblock/fhir/bundle'
import { encodeConsent, encodeReadEvent } from '@healthblock/fhir/ledger'
import { encodeObservations } from '@healthblock/fhir/observation'
import { encodeDiagnosis, encodeDiagnosisBundle } from '@healthblock/fhir/report'

const dir = process.argv[2] ?? 'out'
const startMs = 1_790_000_000_000
const context = { patient: 'Patient/p1', idPrefix: 'r', transactionId: 'ab'.repeat(32), cid: 'bafy' }
const values: [VitalSign, number][] = [
  ['heart-rate', 72],
  ['respiratory-rate', 16],
  ['spo2', 97],
  ['temperature', 36.8],
  ['systolic-pressure', 121],
  ['diastolic-pressure', 79],
  ['pulse', 71],
  ['glucose', 101],
  ['consciousness', 1],
  ['supplemental-oxygen', 2],
]
const rows = values.map(([sign, value]): VitalRow => ({ sign, value, atMs: startMs }))
const readings = [
  ...encodeObservations({ kind: 'vitals', startMs, rows }, context),
  ...encodeObservations(
    {
      kind: 'ecg',
      startMs,
      rateMilliHz: 250_000,
      leads: ['ii', 'mlii'],
      unit: 'mv',
      gainMilli: 200_000,
      baseline: 0,
      samples: new Int16Array(500),
    },
    { ...context, idPrefix: 'e' },
  ),
]
const document: DiagnosisDocument = {
  algorithm: { name: 'healthblock-monitor', version: '1.0.0', hash: new Uint8Array(32).fill(7) },
  parameters: defaultParameters,
  atMs: startMs,
  in: [{ stream: new Uint8Array(8), from: 1, to: 9 }],
  findings: (Object.keys(findingKinds) as FindingCode[]).map((code) => ({
    code,
    fromMs: startMs,
    toMs: startMs + 60_000,
    severity: 'medium',
    score: 5000,
    isOpen: false,
    evidence: [{ record: 1, first: 3, last: 9 }],
    sentence: 'Pause of 3.1 s.',
  })),
  state: new Uint8Array(0),
  carried: new Uint8Array(0),
  text: '',
}
const place = {
  patient: 'Patient/p1',
  practitioner: 'Practitioner/d1',
  organization: 'Organization/o1',
  transactionId: 'cd'.repeat(32),
  cid: 'bafy',
  status: 'preliminary',
} as const
const byHand = { name: 'by-hand', version: '1', hash: new Uint8Array(32) }
const grant = { ...place, isActive: true, grantedAtMs: startMs, fromMs: startMs, streams: ['ecg'] }
const bundles = {
  readings: bundleOf(readings, startMs),
  diagnosis: encodeDiagnosisBundle(document, place),
  'by-hand': encodeDiagnosisBundle({ ...document, findings: [], text: 'Sinus rhythm.', algorithm: byHand }, place),
  ledger: bundleOf([encodeConsent(grant), encodeReadEvent({ ...place, atMs: startMs, isRefused: false })], startMs),
}
const missing = { fromMs: startMs, toMs: startMs + 10_000, stream: 'ecg' }
const period = [
  ...readings,
  encodeConsent({ ...grant, id: 'grant-1' }),
  ...['a1', 'b2'].flatMap((idPrefix) => encodeDiagnosis(document, { ...place, idPrefix })),
  encodeMissing([
    { ...missing, reason: 'erased' },
    { ...missing, reason: 'unreadable' },
  ]),
]
Object.assign(bundles, { period: bundleOf(period, startMs) })
mkdirSync(dir, { recursive: true })
for (const [name, bundle] of Object.entries(bundles)) writeFileSync(join(dir, `${name}.json`), JSON.stringify(bundle))
