/** The sealed content of a diagnosis transaction. See SPEC.md §4. */
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { type CborValue, encodeCbor } from '@healthblock/encoding/cbor'
import { stateBytesMax } from './diagnose.ts'
import { DiagnosisError } from './errors.ts'
import { createFieldReader } from './fields.ts'
import { type Evidence, type Finding, type FindingCode, findingKinds, type Severity, severities } from './findings.ts'
import { decodeParameters, encodeParameters, type Parameters, parameterKeys } from './parameters.ts'

/** Records of one stream that a diagnosis rests on. */
export interface InputRange {
  /** Eight bytes. */
  stream: Uint8Array
  /** First and last sequence, inclusive. */
  from: number
  to: number
}

/** A diagnosis, by an algorithm or by a person. */
export interface DiagnosisDocument {
  /** Name and version of the algorithm and its hash; a hash of 32 zero bytes: written by hand. */
  algorithm: { name: string; version: string; hash: Uint8Array }
  parameters: Parameters
  /** Unix ms at which it was made; no input of the algorithm. */
  atMs: number
  in: InputRange[]
  findings: Finding[]
  /** State for the diagnosis that carries this one on; empty when by hand. */
  state: Uint8Array
  /** SHA-256 of the state that this one carried on; empty when it began afresh. */
  carried: Uint8Array
  /** What a doctor wrote; empty when by an algorithm. At most 4,000 bytes of UTF-8. */
  text: string
}

/** Most bytes of an encoded document, so that it fits the one sealed size of diagnoses. */
export const documentBytesMax = 16_000
const findingsMax = 64
/** How much evidence of each finding is tried, in this order. */
const evidenceSteps = [64, 32, 16, 8, 4, 2, 1, 0] as const
/** How many findings are tried, the most severe first, when all of them have no room without any evidence. */
const findingSteps = [12, 8, 4, 0] as const
const evidenceMax = 64
const rangesMax = 16
const sentenceBytesMax = 400
const textBytesMax = 4000
const timeMax = 2 ** 45
const scoreMax = 2 ** 40
const keys = ['v', 'algorithm', 'parameters', 'at', 'in', 'findings', 'state', 'carried', 'text']
const findingKeys = ['code', 'from', 'to', 'severity', 'score', 'open', 'evidence', 'sentence']

function wrong(field: string, reason: string, cause?: unknown): DiagnosisError {
  return new DiagnosisError(`diagnosis: ${field} ${reason}`, { code: 'ERR_DOCUMENT_INVALID', field }, { cause })
}
const read = createFieldReader(wrong)

function encodeFinding(finding: Finding): CborValue {
  return {
    code: finding.code,
    snomed: findingKinds[finding.code].snomed as string,
    from: finding.fromMs,
    to: finding.toMs,
    severity: finding.severity,
    score: finding.score,
    open: finding.isOpen ? 1 : 0,
    evidence: finding.evidence.map(({ record, first, last }) => [record, first, last]),
    sentence: encodeUtf8(finding.sentence),
  }
}

/**
 * Encodes a diagnosis as canonical CBOR.
 *
 * @throws {DiagnosisError} `ERR_DOCUMENT_INVALID` with the field for anything that `parseDiagnosis` would refuse.
 */
export function encodeDiagnosis(document: DiagnosisDocument): Uint8Array<ArrayBuffer> {
  const { algorithm, atMs, state, carried, text } = document
  let bytes: Uint8Array<ArrayBuffer>
  try {
    bytes = encodeCbor({
      v: 1,
      algorithm: [algorithm.name, algorithm.version, algorithm.hash],
      parameters: encodeParameters(document.parameters),
      at: atMs,
      in: document.in.map(({ stream, from, to }) => [stream, from, to]),
      findings: document.findings.map(encodeFinding),
      state,
      carried,
      text: encodeUtf8(text),
    })
  } catch (cause) {
    throw wrong('document', 'has a value that cannot be encoded', cause)
  }
  parseDiagnosis(bytes)
  return bytes
}

/**
 * Encodes a document that fits its block: the most severe 64 findings, each with as much of its evidence, from the
 * first on, as all of them have room for (64, 32, … 1 or 0 places); then the most severe 12, 8, 4 or 0 without evidence. So whoever judges again gets the same bytes.
 *
 * @throws {DiagnosisError} `ERR_DOCUMENT_INVALID` for what is wrong in another way.
 */
export function encodeFitting(document: DiagnosisDocument): Uint8Array {
  const findings = document.findings.slice(0, findingsMax)
  const sizes = [...evidenceSteps.map((most) => [findingsMax, most]), ...findingSteps.map((most) => [most, 0])]
  for (const [count, most] of sizes as [number, number][]) {
    try {
      const trimmed = findings.slice(0, count).map((one) => ({ ...one, evidence: one.evidence.slice(0, most) }))
      return encodeDiagnosis({ ...document, findings: trimmed })
    } catch (error) {
      if (!(error instanceof DiagnosisError) || count === findingSteps.at(-1)) throw error
    }
  }
  throw new TypeError('unreachable')
}

function parseEvidence(value: CborValue): Evidence {
  const row = read.array(value, 'findings.evidence', 3)
  const [record, first, last] = [0, 1, 2].map((i) => read.integer(row[i], 'findings.evidence')) as [
    number,
    number,
    number,
  ]
  if (last < first) throw wrong('findings.evidence', 'goes back')
  return { record, first, last }
}

function parseFinding(value: CborValue): Finding {
  const map = read.map(value, 'findings', findingKeys, ['snomed'])
  const code = read.text(map.code, 'findings.code')
  if (!Object.hasOwn(findingKinds, code)) throw wrong('findings.code', 'is not known')
  const known = code as FindingCode
  if (map.snomed !== findingKinds[known].snomed) throw wrong('findings.snomed', 'is not that of the code')
  const severity = read.text(map.severity, 'findings.severity')
  if (!severities.includes(severity as Severity)) throw wrong('findings.severity', 'is not known')
  const fromMs = read.integer(map.from, 'findings.from', timeMax)
  return {
    code: known,
    fromMs,
    toMs: read.integer(map.to, 'findings.to', timeMax, fromMs),
    severity: severity as Severity,
    score: read.integer(map.score, 'findings.score', scoreMax),
    isOpen: read.integer(map.open, 'findings.open', 1) === 1,
    evidence: read.array(map.evidence, 'findings.evidence', evidenceMax).map(parseEvidence),
    sentence: read.utf8(map.sentence, 'findings.sentence', sentenceBytesMax),
  }
}

function parseRange(value: CborValue): InputRange {
  const row = read.array(value, 'in', 3)
  const from = read.integer(row[1], 'in.from')
  return { stream: read.bytes(row[0], 'in.stream', 8, 8), from, to: read.integer(row[2], 'in.to', undefined, from) }
}

function parseParametersMap(value: CborValue | undefined): Parameters {
  const map = read.map(value, 'parameters', parameterKeys)
  try {
    return decodeParameters(map)
  } catch (cause) {
    throw wrong('parameters', 'are out of bounds', cause)
  }
}

/**
 * Parses the content of a diagnosis. Whatever it accepts encodes to the same bytes.
 *
 * @throws {DiagnosisError} `ERR_DOCUMENT_INVALID` with the field.
 */
export function parseDiagnosis(bytes: Uint8Array): DiagnosisDocument {
  const map = read.map(read.decode(bytes, documentBytesMax), 'diagnosis', keys)
  if (map.v !== 1) throw wrong('v', 'is not 1')
  const algorithm = read.array(map.algorithm, 'algorithm', 3)
  const carried = read.bytes(map.carried, 'carried', 32)
  if (carried.length !== 0 && carried.length !== 32) throw wrong('carried', 'is neither empty nor 32 bytes')
  return {
    algorithm: {
      name: read.text(algorithm[0], 'algorithm.name'),
      version: read.text(algorithm[1], 'algorithm.version'),
      hash: read.bytes(algorithm[2], 'algorithm.hash', 32, 32),
    },
    parameters: parseParametersMap(map.parameters),
    atMs: read.integer(map.at, 'at', timeMax),
    in: read.array(map.in, 'in', rangesMax).map(parseRange),
    findings: read.array(map.findings, 'findings', findingsMax).map(parseFinding),
    state: read.bytes(map.state, 'state', stateBytesMax),
    carried,
    text: read.utf8(map.text, 'text', textBytesMax),
  }
}
