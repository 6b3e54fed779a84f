/** Bundles of type `collection`: of resources that are there, and of more than fits into memory, written piece by piece. */
import type { Bundle, FhirResource, OperationOutcome } from 'fhir/r4.js'
import { isoOf } from './time.ts'

/** An address of its own for each resource; nothing answers there. */
const urlOf = ({ resourceType, id }: FhirResource): string => `https://healthblock.invalid/fhir/${resourceType}/${id}`

/** A collection of resources. */
export function bundleOf(resources: readonly FhirResource[], atMs: number): Bundle {
  return {
    resourceType: 'Bundle',
    type: 'collection',
    timestamp: isoOf(atMs),
    entry: resources.map((resource) => ({ fullUrl: urlOf(resource), resource })),
  }
}

/** The same as JSON text, an entry at a time. Cut off anywhere before its end it is no JSON. */
export async function* writeBundle(
  resources: AsyncIterable<FhirResource> | Iterable<FhirResource>,
  atMs: number,
): AsyncGenerator<string> {
  let separator = `{"resourceType":"Bundle","type":"collection","timestamp":"${isoOf(atMs)}"`
  let isEmpty = true
  for await (const resource of resources) {
    yield `${separator}${isEmpty ? ',"entry":[' : ''}${JSON.stringify({ fullUrl: urlOf(resource), resource })}`
    separator = ','
    isEmpty = false
  }
  // An empty array is not FHIR.
  yield isEmpty ? `${separator}}` : ']}'
}

/** A stretch of readings, or a diagnosis, that is missing from an export. */
export interface MissingStretch {
  /** Unix ms. */
  readonly fromMs: number
  readonly toMs: number
  /** A kind of stream, such as `ecg`; `diagnosis`. */
  readonly stream: string
  /** erased: by the patient. unreadable: there, and does not open now. gap: lost before it came to the ledger. pending: not on the ledger yet. */
  readonly reason: 'erased' | 'unreadable' | 'gap' | 'pending'
}

/** Most stretches that are named; what comes after makes the last one longer. */
const missingMax = 1_000
/** Stretches so near to each other are one. */
const joinedMs = 1_000

/** Adds a stretch that begins no earlier than the last one of its stream, or makes that one longer. */
export function addMissing(missing: MissingStretch[], stretch: MissingStretch): void {
  const last = missing.at(-1)
  const isNext =
    last?.stream === stretch.stream && last.reason === stretch.reason && stretch.fromMs - last.toMs <= joinedMs
  if (last !== undefined && (isNext || missing.length >= missingMax)) {
    missing[missing.length - 1] = { ...last, toMs: Math.max(last.toMs, stretch.toMs) }
  } else missing.push(stretch)
}

/** What an export does not hold, so that nobody takes it for whole. At least one stretch. */
export function encodeMissing(stretches: readonly MissingStretch[]): OperationOutcome {
  return {
    resourceType: 'OperationOutcome',
    id: 'missing',
    issue: stretches.map(({ fromMs, toMs, stream, reason }) => ({
      severity: 'warning',
      code: reason === 'erased' ? 'deleted' : 'incomplete',
      diagnostics: `${stream} ${isoOf(fromMs)} to ${isoOf(toMs)}: ${reason}`,
    })),
  }
}
