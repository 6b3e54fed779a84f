/**
 * What the records that a bundle proves say of a doctor's licence at a time (SPEC.md §8): beside the answer about a grant, which says nothing of
 * it. Records of a later state tell: they gain nothing but the index at which they closed.
 */
import { equalBytes } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import { ChainError } from '../errors.ts'
import { inForceAt } from '../state/live-at.ts'
import type { LicenceRecord, Lifetime } from '../state/tables.ts'
import { bytes, faultFinder, isMap, optional, uint } from '../transaction/schema.ts'

/** `out of date`: the time lies outside of its days; `none`: none was in force. */
export type LicenceAnswer = 'active' | 'suspended' | 'ended' | 'out of date' | 'of a removed organisation' | 'none'

/** A record of Userchain's state that is proved, present or absent, under a SEAL that is not older than the time in question. */
export interface ProvedRecord {
  /** Of its key, the table's name first. */
  readonly parts: readonly (string | number | Uint8Array)[]
  readonly value?: Uint8Array
}

const [active, suspended] = [1, 2]
const lifetime = { o: uint(), c: optional(uint()) }
const licenceFault = faultFinder({ org: bytes(32), state: uint(), from: uint(), to: uint(), ...lifetime })
const organisationFault = faultFinder(lifetime)

function decoded<T>(value: Uint8Array, isOf: (decoded: CborValue) => boolean): T {
  try {
    const record = decodeCbor(value)
    if (isOf(record)) return record as T
  } catch (cause) {
    if (!(cause instanceof EncodingError)) throw cause
  }
  const [step, reason] = ['state', 'not the record that its key says']
  throw new ChainError(`${step}: ${reason}`, { code: 'ERR_RECEIPT_INVALID', step, reason })
}

const isLicence = (value: CborValue): boolean => isMap(value) && licenceFault(value) === undefined
const isOrganisation = (value: CborValue): boolean => isMap(value) && organisationFault(value) === undefined
const isNumber = (value: CborValue): boolean => typeof value === 'number'

/**
 * The licence of a doctor as of the first `size` entries, at a time; undefined if the records do not tell.
 *
 * @throws {ChainError} `ERR_RECEIPT_INVALID` for a value that is no such record.
 */
export function provedLicence(
  records: readonly ProvedRecord[],
  { doctor, size, atMs }: { readonly doctor: Uint8Array; readonly size: number; readonly atMs: number },
): LicenceAnswer | undefined {
  const of = (table: string, account: Uint8Array): readonly ProvedRecord[] =>
    records.filter(({ parts }) => parts[0] === table && parts[1] instanceof Uint8Array && equalBytes(parts[1], account))
  const known = new Set<number>()
  let licence: LicenceRecord | undefined
  for (const { parts, value } of of('licence', doctor)) {
    if (value === undefined) continue
    const record = decoded<LicenceRecord>(value, isLicence)
    known.add(parts[2] as number)
    if (inForceAt(record, size)) licence = record
  }
  if (licence === undefined) {
    const [head] = of('licencehead', doctor)
    if (head === undefined) return undefined
    const newest = head.value === undefined ? -1 : decoded<number>(head.value, isNumber)
    for (let k = 0; k <= newest; k++) if (!known.has(k)) return undefined
    return 'none'
  }
  if (licence.state === suspended) return 'suspended'
  if (licence.state !== active) return 'ended'
  if (atMs < licence.from || atMs >= licence.to) return 'out of date'
  const [organisation] = of('org', licence.org)
  if (organisation === undefined) return undefined
  const isThere =
    organisation.value !== undefined && inForceAt(decoded<Lifetime>(organisation.value, isOrganisation), size)
  return isThere ? 'active' : 'of a removed organisation'
}
