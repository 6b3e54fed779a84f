/** What a running node is made of, as its routes use it. */
import type { LedgerStanding } from '@healthblock/runtime/ledger-standing'
import type { PortalCookie } from '@healthblock/runtime/portal-access'
import type { SecondFactors } from '@healthblock/runtime/second-factor'
import type { Database } from '@healthblock/runtime/sqlite'
import type { UserNodeConfig } from './config.ts'
import type { Consent } from './consent/consent.ts'
import type { Erasures } from './consent/erasure.ts'
import type { Settlement } from './consent/settlement.ts'
import type { UserNodeEvents } from './events.ts'
import type { Downloads } from './files/downloads.ts'
import type { Uploads } from './files/uploads.ts'
import type { LedgerView } from './ledger-view.ts'
import type { Contacts } from './people/contacts.ts'
import type { Devices } from './people/devices.ts'
import type { People } from './people/people.ts'
import type { Rehearsals } from './people/rehearsal.ts'
import type { Rekeys } from './people/rekey.ts'
import type { VaultFactors } from './people/second-factor.ts'
import type { Sessions } from './people/sessions.ts'
import type { Diagnoses } from './reading/diagnoses.ts'
import type { ErasureViews } from './reading/erasure-views.ts'
import type { ExportProgress } from './reading/export-progress.ts'
import type { FetchEvidence } from './reading/fetch-evidence.ts'
import type { FhirExport } from './reading/fhir-export.ts'
import type { Looks } from './reading/looks.ts'
import type { Measurements } from './reading/measurements.ts'
import type { Receipts } from './reading/receipts.ts'
import type { Access } from './routes/access.ts'
import type { Alarms } from './sealing/alarms.ts'
import type { SealingGate } from './sealing/gate.ts'
import type { RecordJobs } from './sealing/record.ts'
import type { Samples } from './sealing/samples.ts'
import type { Switches } from './sealing/switches.ts'
import type { Person, PersonStore } from './store/person.ts'

/** Whether the node hears of what happens, and hands on what it records. */
export interface Standing extends LedgerStanding {
  /** Since when the storage network does not take the person's sealed readings, ISO 8601; null if it does. */
  readonly unstoredSince: string | null
}

/** What the routes work with. */
export interface Services {
  readonly config: UserNodeConfig
  readonly access: Access
  readonly people: People
  readonly store: PersonStore
  readonly sessions: Sessions
  readonly consent: Consent
  readonly rekeys: Rekeys
  readonly devices: Devices
  readonly settlement: Settlement
  readonly erasures: Erasures
  readonly uploads: Uploads
  readonly downloads: Downloads
  readonly samples: Samples
  readonly switches: Switches
  readonly alarms: Alarms
  readonly jobs: RecordJobs
  readonly gate: SealingGate
  readonly diagnoses: Diagnoses
  readonly measurements: Measurements
  readonly contacts: Contacts
  readonly factors: SecondFactors
  readonly vaultFactors: VaultFactors
  readonly rehearsals: Rehearsals
  readonly receipts: Receipts
  readonly fetchEvidence: FetchEvidence
  readonly fhirExport: FhirExport
  readonly exportProgress: ExportProgress
  readonly erasureViews: ErasureViews
  readonly looks: Looks
  /** The genesis file's bytes. */
  readonly genesis: Uint8Array
  readonly events: UserNodeEvents
  readonly ledger: LedgerView
  readonly cookie: PortalCookie
  readonly database: Database
  readonly stopping: AbortSignal
  readonly nowMs: () => number
  /** Begins the node's next round at once. */
  readonly wake: () => void
  /** Catches up with what is published, true if nothing is left; without a network it returns and the lists are as old as they are. */
  readonly refresh: () => Promise<boolean>
  readonly standingOf: (person: Person) => Standing
  readonly confirm: (person: Person, signature: Uint8Array) => void
  readonly transaction: (
    person: Person,
    id: string,
  ) => { status: string; receipt?: string; refusal?: unknown } | undefined
  readonly drain: (timeoutMs: number) => Promise<number>
}
