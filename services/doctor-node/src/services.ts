/** What a running node is made of, as its routes use it. */
import type { LedgerStanding } from '@healthblock/runtime/ledger-standing'
import type { Database } from '@healthblock/runtime/sqlite'
import type { DoctorNodeEvents } from './events.ts'
import type { Identity } from './identity/identity.ts'
import type { Alarms } from './judging/alarms.ts'
import type { Judge } from './judging/judge.ts'
import type { PatientLimits } from './judging/patient-limits.ts'
import type { ByHand } from './posting/by-hand.ts'
import type { Composer } from './posting/compose.ts'
import type { AlarmSentences } from './reading/alarm-sentences.ts'
import type { Experiments } from './reading/experiments.ts'
import type { OpenedRecords } from './reading/opened-records.ts'
import type { Petnames } from './reading/petnames.ts'
import type { Envelopes } from './watch/envelopes.ts'
import type { Grants } from './watch/grants.ts'

/** How far the node has come. */
export interface CaughtUp {
  /** Sizes of the verified logs. */
  readonly userchain: number
  readonly docchain: number
  /** Records that wait to be read, and entries without a final answer. */
  readonly pending: number
}

/** Whether the node hears of what happens: what is shown is as old as that. */
export interface Standing extends LedgerStanding {
  /** Since when there are granted records that the network does not give; null if there are none. */
  readonly unreadSince: string | null
}

/** What the routes work with. */
export interface Services {
  readonly identity: Identity
  readonly database: Database
  readonly grants: Grants
  readonly alarms: Alarms
  readonly alarmSentences: AlarmSentences
  readonly limits: PatientLimits
  readonly judge: Judge
  readonly envelopes: Envelopes
  readonly composer: Composer
  readonly byHand: ByHand
  readonly experiments: Experiments
  readonly opened: OpenedRecords
  readonly petnames: Petnames
  readonly events: DoctorNodeEvents
  readonly epochMs: number
  readonly nowMs: () => number
  readonly stopping: AbortSignal
  /** Posts the registration with the sponsor's signature. */
  readonly register: (signature: Uint8Array) => void
  readonly standing: () => Standing
  readonly catchUp: (timeoutMs: number) => Promise<CaughtUp>
  /** Begins the node's next round at once. */
  readonly wake: () => void
}
