/** Names of diagnosis streams (SPEC.md §6). */
import { sha256 } from '@healthblock/crypto/hash'
import { encodeUtf8 } from '@healthblock/encoding/bytes'

const streamLabel = encodeUtf8('healthblock/1 diagnosis stream\0')

/** Id of the diagnosis stream of a patient and a doctor: 8 bytes. */
export function diagnosisStreamId(parties: {
  readonly ledgerId: Uint8Array
  readonly patient: Uint8Array
  readonly doctor: Uint8Array
}): Uint8Array {
  return sha256(streamLabel, parties.ledgerId, parties.patient, parties.doctor).slice(0, 8)
}
