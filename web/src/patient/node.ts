/** What every screen of a patient knows, and how receipts are asked for. */
import { createContext } from 'preact'
import { useContext } from 'preact/hooks'
import { callBytes, type SessionView } from '../frame/api.ts'
import type { FactorView } from '../frame/evidence.tsx'
import type { Live } from '../frame/live.ts'
import type { Resource } from '../frame/resource.ts'
import type { ProofSource } from '../proof/proof.tsx'
import type { Alarm, Contact, Security } from './model.ts'

/** What every screen of a patient knows. */
export interface Patient {
  readonly session: SessionView
  readonly live: Live
  /** Where her own routes begin. */
  readonly base: string
  readonly nameOf: (account: string) => string
  readonly contactOf: (account: string) => Contact | undefined
  readonly reloadNames: () => void
  readonly security: Resource<Security>
  readonly alarms: Resource<readonly Alarm[]>
  readonly factor: Resource<FactorView>
}

/** The patient's context. */
export const PatientContext = createContext<Patient | undefined>(undefined)

/** The context of a screen. */
export function usePatient(): Patient {
  const patient = useContext(PatientContext)
  if (patient === undefined) throw new Error('no patient around this screen')
  return patient
}

let genesis: Promise<Uint8Array<ArrayBuffer>> | undefined

/** The genesis file of the reader's own node, asked for once. */
function loadGenesis(): Promise<Uint8Array<ArrayBuffer>> {
  genesis ??= callBytes('/v1/genesis', { isBackground: true }).catch((error: unknown) => {
    genesis = undefined
    throw error
  })
  return genesis
}

/** The receipt of a transaction, to be checked against the node's genesis file. */
export function receiptSource(base: string, transactionId: string): ProofSource {
  return {
    load: () => callBytes(`${base}/receipts/${transactionId}`, { isBackground: true }),
    genesis: loadGenesis,
  }
}
