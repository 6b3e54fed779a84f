import type { Ledger } from '@healthblock/chain/block'
import { isLicenceActive } from '@healthblock/chain/live-at'
import { type GrantRecord, keyRoles, userTables } from '@healthblock/chain/tables'
import { equalBytes } from '@healthblock/encoding/bytes'
import { decodeCbor } from '@healthblock/encoding/cbor'
import type { GrantOnRecord, LedgerView, RegisteredAccount } from './ledger-view.ts'

const grantIdBytes = 16
const unknownDevice = new Uint8Array(16)

function openGrantsOf(ledger: Ledger, patient: Uint8Array): GrantOnRecord[] {
  // Keys of one patient's grants differ in the id of the grant alone, which comes last.
  const prefix = userTables.grant.key(patient, new Uint8Array(grantIdBytes)).slice(0, -grantIdBytes)
  const found: GrantOnRecord[] = []
  for (const { key, value } of ledger.leaves('userchain')) {
    if (key.length !== prefix.length + grantIdBytes || !equalBytes(key.subarray(0, prefix.length), prefix)) continue
    const { to: recipient, streams, from, until, rights, purpose, o, c } = decodeCbor(value) as unknown as GrantRecord
    if (c !== undefined) continue
    const openedAtMs = ledger.index('userchain').boundaryAfter(o)?.ms ?? 0
    found.push({ grantId: key.slice(prefix.length), recipient, streams, from, until, rights, purpose, openedAtMs })
  }
  return found.sort((a, b) => a.openedAtMs - b.openedAtMs)
}

/** The view of a verified copy of the ledger. It is read anew at each question. */
export function createLedgerView(ledger: Ledger, nowMs: () => number): LedgerView {
  const state = () => ledger.state('userchain')
  return {
    ledgerId: ledger.ledgerId,
    epochLengthMs: ledger.epochMs,
    seen() {
      const head = ledger.head('userchain')
      return [head.size, head.root]
    },
    roleOf: (account) => userTables.account.get(state(), account)?.role,
    currentGeneration: (patient) => userTables.currentGeneration.get(state(), patient) ?? 0,
    openedBy: (patient, generation) => userTables.generation.get(state(), patient, generation)?.tx,
    opKey(account) {
      const k = userTables.keyHead.get(state(), account, keyRoles.op)
      const key = k === undefined ? undefined : userTables.key.get(state(), account, keyRoles.op, k)
      return key?.c === undefined ? key?.key : undefined
    },
    openStreams: (patient) =>
      (userTables.openStreams.get(state(), patient) ?? []).map((stream) => {
        const record = userTables.stream.get(state(), patient, stream)
        return { stream, device: record?.dev ?? unknownDevice, generation: record?.gen ?? 0 }
      }),
    device(patient, device) {
      const record = userTables.device.get(state(), patient, device)
      if (record === undefined) return undefined
      const addedAtMs = ledger.index('userchain').boundaryAfter(record.o)?.ms ?? 0
      return { addedAtMs, isRemoved: record.c !== undefined }
    },
    rules: () => ledger.rules('userchain'),
    cutOf: (patient, stream, generation) => userTables.cut.get(state(), patient, stream, generation)?.last,
    lastCounter: (patient) => userTables.counter.get(state(), patient) ?? 0,
    grantRecordedAtMs(patient, grantId) {
      const opened = userTables.grant.get(state(), patient, grantId)?.o
      return opened === undefined ? undefined : (ledger.index('userchain').boundaryAfter(opened)?.ms ?? 0)
    },
    isGrantClosed: (patient, grantId) => userTables.grant.get(state(), patient, grantId)?.c !== undefined,
    grantClosedAtMs(patient, grantId) {
      const closed = userTables.grant.get(state(), patient, grantId)?.c
      return closed === undefined ? undefined : (ledger.index('userchain').boundaryAfter(closed)?.ms ?? 0)
    },
    isGrantRecorded: (patient, grantId) => userTables.grant.get(state(), patient, grantId) !== undefined,
    hasEnvelope: (patient, grantId, generation) =>
      userTables.envelope.get(state(), patient, grantId, generation) !== undefined,
    openGrants: (patient) => openGrantsOf(ledger, patient),
    lastRecord(patient, stream) {
      const [sequence, epoch] = userTables.last.get(state(), patient, stream) ?? [0, 0]
      return { sequence, epoch }
    },
    blockSize: (patient, stream, generation) => userTables.streamClass.get(state(), patient, stream, generation),
    account(account): RegisteredAccount | undefined {
      const record = userTables.account.get(state(), account)
      const k = userTables.keyHead.get(state(), account, keyRoles.kem)
      const kem = k === undefined ? undefined : userTables.key.get(state(), account, keyRoles.kem, k)
      if (record === undefined || kem === undefined || kem.c !== undefined) return undefined
      const licenceNumber = userTables.licenceHead.get(state(), account)
      const licence = licenceNumber === undefined ? undefined : userTables.licence.get(state(), account, licenceNumber)
      const isLicensed = licence !== undefined && licence.c === undefined && isLicenceActive(licence, nowMs())
      return { role: record.role, suite: kem.suite ?? 0, kemKey: kem.key, isLicensed }
    },
  }
}
