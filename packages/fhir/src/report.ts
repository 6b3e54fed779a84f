/**
 * A diagnosis as FHIR R4: what the machine found as DetectedIssue and RiskAssessment, which a Device may author, in a preliminary DiagnosticReport of the doctor's
 * organisation; what a doctor wrote as ClinicalImpression; and Provenance to the ledger. See SPEC.md §3.
 */
import type { DiagnosisDocument } from '@healthblock/diagnosis/document'
import { type Finding, findingKinds, type Severity } from '@healthblock/diagnosis/findings'
import type {
  Bundle,
  ClinicalImpression,
  CodeableConcept,
  DetectedIssue,
  Device,
  DiagnosticReport,
  FhirResource,
  Provenance,
  RiskAssessment,
} from 'fhir/r4.js'
import { bundleOf } from './bundle.ts'
import { systems } from './codes.ts'
import { isoOf } from './time.ts'

/** Where a diagnosis stands, and who is who: references such as `Patient/abc`. */
export interface ReportContext {
  patient: string
  /** The doctor, and the organisation that answers for the report. */
  practitioner: string
  organization: string
  /** 64 hexadecimal digits. */
  transactionId: string
  cid?: string | undefined
  /** What the doctor wrote in its place. */
  correction?: string | undefined
  /** Begin of the ids of the resources, so that several diagnoses fit into one Bundle; at most 48 characters. Absent: none. */
  idPrefix?: string | undefined
  status: 'preliminary' | 'final' | 'corrected' | 'entered-in-error'
}

/** What a report calls the states of a diagnosis on the ledger; of others it is `preliminary`. */
export const reportStatuses: Readonly<Record<string, ReportContext['status']>> = {
  signed: 'final',
  corrected: 'corrected',
  withdrawn: 'entered-in-error',
}

const severityOf: Record<Severity, DetectedIssue['severity']> = {
  info: 'low',
  low: 'low',
  medium: 'moderate',
  high: 'high',
  critical: 'high',
}
const riskOf: Record<Severity, string> = {
  info: 'negligible',
  low: 'low',
  medium: 'moderate',
  high: 'high',
  critical: 'certain',
}
/** Findings that say how likely something is, not that it was seen. */
const risks: ReadonlySet<string> = new Set(['ecg.possible-af', 'early-warning.news2'])

/** An id within the Bundle. */
const idOf = ({ idPrefix }: ReportContext, name: string): string =>
  idPrefix === undefined ? name : `${idPrefix}-${name}`
const algorithmOf = (context: ReportContext): { reference: string } => ({
  reference: `Device/${idOf(context, 'algorithm')}`,
})

/** The code of a finding, with its SNOMED CT concept where there is one. */
function codeOf({ code, sentence }: Finding): CodeableConcept {
  const { snomed } = findingKinds[code]
  return {
    coding: [
      ...(snomed === undefined ? [] : [{ system: systems.snomed, code: snomed }]),
      { system: systems.own, code },
    ],
    text: sentence,
  }
}

const periodOf = ({ fromMs, toMs, isOpen }: Finding) => ({
  start: isoOf(fromMs),
  ...(isOpen ? {} : { end: isoOf(toMs) }),
})

/** The records that a finding rests on, as identifiers of IoT transactions by stream and sequence. */
function evidenceOf(document: DiagnosisDocument, finding: Finding): { display: string }[] {
  const sequences = document.in.flatMap(({ stream, from, to }) => {
    const name = Array.from(stream, (byte) => byte.toString(16).padStart(2, '0')).join('')
    return Array.from({ length: to - from + 1 }, (_, i) => ({ name, sequence: from + i }))
  })
  return finding.evidence.flatMap(({ record, first, last }) => {
    const at = sequences[record]
    return at === undefined
      ? []
      : [{ display: `stream ${at.name}, record ${at.sequence}, samples ${first} to ${last}` }]
  })
}

function issueOf(
  finding: Finding,
  id: string,
  context: ReportContext,
  document: DiagnosisDocument,
): DetectedIssue | RiskAssessment {
  const { status } = context
  const detail = evidenceOf(document, finding)
  if (risks.has(finding.code)) {
    return {
      resourceType: 'RiskAssessment',
      id,
      status,
      code: codeOf(finding),
      subject: { reference: context.patient },
      occurrencePeriod: periodOf(finding),
      performer: algorithmOf(context),
      basis: detail,
      prediction: [
        {
          outcome: codeOf(finding),
          qualitativeRisk: {
            coding: [
              { system: 'http://terminology.hl7.org/CodeSystem/risk-probability', code: riskOf[finding.severity] },
            ],
          },
        },
      ],
    }
  }
  return {
    resourceType: 'DetectedIssue',
    id,
    status,
    code: codeOf(finding),
    ...(finding.severity === 'info' ? {} : { severity: severityOf[finding.severity] }),
    patient: { reference: context.patient },
    identifiedPeriod: periodOf(finding),
    author: algorithmOf(context),
    ...(detail.length === 0 ? {} : { evidence: [{ detail }] }),
    detail: finding.sentence,
  }
}

function deviceOf({ algorithm }: DiagnosisDocument, context: ReportContext): Device {
  const hash = Array.from(algorithm.hash, (byte) => byte.toString(16).padStart(2, '0')).join('')
  return {
    resourceType: 'Device',
    id: idOf(context, 'algorithm'),
    identifier: [{ system: 'urn:healthblock:algorithm', value: hash }],
    deviceName: [{ name: algorithm.name, type: 'model-name' }],
    version: [{ value: algorithm.version }],
    note: [{ text: 'Not a medical device. Preliminary until a doctor signs.' }],
  }
}

/** The newest word first; what it was about stays readable. */
function corrected(text: string, { correction }: ReportContext): string {
  return correction === undefined ? text : `${correction.trim()} (Corrected by the doctor. Before: ${text.trim()})`
}

function reportOf(document: DiagnosisDocument, context: ReportContext): DiagnosticReport {
  const { findings } = document
  const codes = findings.map(codeOf)
  return {
    resourceType: 'DiagnosticReport',
    id: idOf(context, 'report'),
    identifier: [{ system: 'urn:healthblock:transaction', value: context.transactionId }],
    status: context.status,
    category: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v2-0074', code: 'OTH' }] }],
    code: { text: 'Automatic monitoring of ECG and vital signs' },
    subject: { reference: context.patient },
    ...(findings.length === 0
      ? {}
      : {
          effectivePeriod: {
            start: isoOf(Math.min(...findings.map(({ fromMs }) => fromMs))),
            end: isoOf(Math.max(...findings.map(({ toMs }) => toMs))),
          },
        }),
    issued: isoOf(document.atMs),
    performer: [{ reference: context.organization }],
    conclusion: corrected(findings.map(({ sentence }) => sentence).join(' ') || 'No finding.', context),
    ...(codes.length === 0 ? {} : { conclusionCode: codes }),
  }
}

function impressionOf(document: DiagnosisDocument, context: ReportContext): ClinicalImpression {
  return {
    resourceType: 'ClinicalImpression',
    id: idOf(context, 'report'),
    identifier: [{ system: 'urn:healthblock:transaction', value: context.transactionId }],
    status: context.status === 'entered-in-error' ? 'entered-in-error' : 'completed',
    subject: { reference: context.patient },
    date: isoOf(document.atMs),
    assessor: { reference: context.practitioner },
    summary: corrected(document.text, context),
  }
}

function provenanceOf(
  document: DiagnosisDocument,
  context: ReportContext,
  target: 'ClinicalImpression' | 'DiagnosticReport',
  isByHand: boolean,
): Provenance {
  const { transactionId, cid } = context
  return {
    resourceType: 'Provenance',
    id: idOf(context, 'provenance'),
    target: [{ reference: `${target}/${idOf(context, 'report')}` }],
    recorded: isoOf(document.atMs),
    agent: isByHand
      ? [{ who: { reference: context.practitioner } }]
      : [{ who: algorithmOf(context), onBehalfOf: { reference: context.practitioner } }],
    entity: [
      { role: 'source', what: { identifier: { system: 'urn:healthblock:transaction', value: transactionId } } },
      ...(cid === undefined
        ? []
        : [{ role: 'source' as const, what: { identifier: { system: 'urn:healthblock:cid', value: cid } } }]),
    ],
  }
}

/** A diagnosis as resources that name each other. A hash of zeros is a doctor's own. */
export function encodeDiagnosis(document: DiagnosisDocument, context: ReportContext): FhirResource[] {
  const isByHand = document.algorithm.hash.every((byte) => byte === 0)
  if (isByHand) return [impressionOf(document, context), provenanceOf(document, context, 'ClinicalImpression', true)]
  return [
    reportOf(document, context),
    deviceOf(document, context),
    ...document.findings.map((finding, i) => issueOf(finding, idOf(context, `finding-${i}`), context, document)),
    provenanceOf(document, context, 'DiagnosticReport', false),
  ]
}

/** A diagnosis as a Bundle of type `collection`. */
export function encodeDiagnosisBundle(document: DiagnosisDocument, context: ReportContext): Bundle {
  return bundleOf(encodeDiagnosis(document, context), document.atMs)
}
