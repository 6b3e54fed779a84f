/**
 * What the pages expect of their nodes, held against what the nodes send. Compiled, never run: pages cannot import a service, so their
 * shapes are written there once more, and a field that one side renames or drops stops the build here.
 */
import type { NodesView as SentNodes } from '../../services/accounting-node/src/overview/nodes-view.ts'
import type { AlarmView as SentDoctorAlarm } from '../../services/doctor-node/src/judging/alarms.ts'
import type {
  PatientSummary as SentPatient,
  DiagnosisView as SentSaid,
} from '../../services/doctor-node/src/reading/lists.ts'
import type { UnreadView as SentUnread } from '../../services/doctor-node/src/reading/unread.ts'
import type { ContactView as SentContact } from '../../services/user-node/src/people/contacts.ts'
import type { DiagnosisView as SentDiagnosis } from '../../services/user-node/src/reading/diagnoses.ts'
import type {
  ErasureStandingView as SentErasure,
  ErasurePreview as SentErasurePreview,
} from '../../services/user-node/src/reading/erasure-views.ts'
import type { ExposureView as SentExposure } from '../../services/user-node/src/reading/exposure.ts'
import type { GrantView as SentGrant } from '../../services/user-node/src/reading/lists.ts'
import type { LookView as SentLook, LookerView as SentLooker } from '../../services/user-node/src/reading/look-lists.ts'
import type { AlarmView as SentAlarm } from '../../services/user-node/src/sealing/alarms.ts'
import type { NodesView } from '../../web/src/auditor/model.ts'
import type * as Doctor from '../../web/src/doctor/model.ts'
import type * as Patient from '../../web/src/patient/model.ts'

/** A shape with its words and numbers as the nodes' types have them: any word for one of a few. */
type Wide<T> = T extends string
  ? string
  : T extends number
    ? number
    : T extends boolean
      ? boolean
      : T extends readonly (infer E)[]
        ? readonly Wide<E>[]
        : T extends object
          ? { readonly [K in keyof T]: Wide<T[K]> }
          : T

/** Does not compile unless whatever the node sends is what the page expects. */
type Expects<Page, Sent extends Wide<Page>> = [Page, Sent]

/** Each shape of a page that a node's type stands behind. */
export type Held = [
  Expects<Patient.Grant, SentGrant>,
  Expects<Patient.Contact, SentContact>,
  Expects<Patient.Exposure, SentExposure>,
  Expects<Patient.Diagnosis, SentDiagnosis>,
  Expects<Patient.Alarm, SentAlarm>,
  Expects<Patient.Looker, SentLooker>,
  Expects<Patient.Look, SentLook>,
  Expects<Patient.ErasureStanding, SentErasure>,
  Expects<Patient.ErasurePreview, SentErasurePreview>,
  Expects<Doctor.Alarm, SentDoctorAlarm>,
  Expects<Doctor.PatientSummary, SentPatient>,
  Expects<Doctor.Diagnosis, SentSaid>,
  Expects<Doctor.Unread, SentUnread>,
  Expects<NodesView, SentNodes>,
]
