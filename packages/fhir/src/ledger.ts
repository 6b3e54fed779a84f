/** What stands on the ledgers as FHIR R4: a grant as Consent, a read as AuditEvent. See SPEC.md §4. */
import type { AuditEvent, Consent } from 'fhir/r4.js'
import { isoOf } from './time.ts'

/** A grant of a patient to a doctor. References such as `Patient/abc`. */
export interface GrantView {
  /** Of [A-Za-z0-9.-], at most 64; default `grant`. */
  id?: string | undefined
  patient: string
  practitioner: string
  organization: string
  /** Of the transaction that opened it; absent where it is not known. */
  transactionId?: string | undefined
  /** `false` once it was revoked or has run out. */
  isActive: boolean
  grantedAtMs: number
  fromMs: number
  /** Undefined: until it is revoked. */
  untilMs?: number | undefined
  /** Kinds of streams, such as `ecg` and `vitals`. */
  streams: readonly string[]
}

/** A grant as a Consent that permits the doctor to read the named streams. */
export function encodeConsent(grant: GrantView): Consent {
  const { untilMs } = grant
  return {
    resourceType: 'Consent',
    id: grant.id ?? 'grant',
    ...(grant.transactionId === undefined
      ? {}
      : { identifier: [{ system: 'urn:healthblock:transaction', value: grant.transactionId }] }),
    status: grant.isActive ? 'active' : 'inactive',
    scope: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentscope', code: 'patient-privacy' }] },
    category: [{ coding: [{ system: 'http://loinc.org', code: '59284-0' }] }],
    patient: { reference: grant.patient },
    dateTime: isoOf(grant.grantedAtMs),
    organization: [{ reference: grant.organization }],
    policyRule: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'OPTIN' }] },
    provision: {
      type: 'permit',
      period: { start: isoOf(grant.fromMs), ...(untilMs === undefined ? {} : { end: isoOf(untilMs) }) },
      actor: [
        {
          role: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType', code: 'IRCP' }] },
          reference: { reference: grant.practitioner },
        },
      ],
      action: [{ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/consentaction', code: 'access' }] }],
      code: grant.streams.map((text) => ({ text })),
    },
  }
}

/** A read of a patient's readings as an AuditEvent. */
export function encodeReadEvent(read: {
  /** Of [A-Za-z0-9.-], at most 64; default `read`. */
  id?: string | undefined
  patient: string
  practitioner: string
  atMs: number
  transactionId: string
  isRefused: boolean
}): AuditEvent {
  return {
    resourceType: 'AuditEvent',
    id: read.id ?? 'read',
    type: { system: 'http://terminology.hl7.org/CodeSystem/audit-event-type', code: 'rest' },
    subtype: [{ system: 'http://hl7.org/fhir/restful-interaction', code: 'read' }],
    action: 'R',
    recorded: isoOf(read.atMs),
    outcome: read.isRefused ? '4' : '0',
    agent: [{ who: { reference: read.practitioner }, requestor: true }],
    source: { observer: { display: 'HealthBlock' } },
    entity: [
      {
        what: { reference: read.patient },
        role: { system: 'http://terminology.hl7.org/CodeSystem/object-role', code: '1' },
      },
      { what: { identifier: { system: 'urn:healthblock:transaction', value: read.transactionId } } },
    ],
  }
}
