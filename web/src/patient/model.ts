/** What the patient's node tells (services/user-node SPEC.md §1). Moments are ISO 8601, ids lower-case hex. */

/** An access, with its life. */
export interface Grant {
  readonly grant: string
  readonly doctor: string
  readonly streams: readonly string[]
  readonly from: string
  readonly until: string | null
  readonly openedAt: string
  readonly recordedAt: string | null
  readonly closedAt: string | null
  readonly state: 'open' | 'ended' | 'expired' | 'refused'
  readonly purpose: number
  readonly openedBy: string | null
  readonly closedBy: string | null
}

/** Somebody who can be given access. */
export interface Contact {
  readonly account: string
  readonly petname: string | null
  readonly name: string | null
  readonly role: number
  readonly isLicensed: boolean
  readonly words: readonly string[]
  readonly isCardRight: boolean
  readonly comparedAt: string | null
  readonly isKeyChanged: boolean
}

/** The directory as it was found. */
export interface Directory {
  readonly found: readonly Contact[]
  readonly isMore: boolean
  readonly unreachable: number
}

/** What one doctor will, can, or could read of one stream. */
export interface Exposure {
  readonly doctor: string
  readonly grant: string | null
  readonly kind: string
  readonly state: 'before' | 'open' | 'expired' | 'ended' | 'refused'
  readonly from: string
  readonly to: string | null
  readonly records: number
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
  readonly fetched: number
}

/** Where a revocation stands. */
export interface Revocation {
  readonly transactionId: string
  readonly changedAt: string
  readonly recordedAt: string | null
  readonly refusedEverywhereAt: string | null
}

/** A diagnosis. */
export interface Diagnosis {
  readonly transactionId: string
  readonly doctor: string
  readonly at: string
  readonly algorithm: string
  readonly findings: readonly Finding[]
  readonly text?: string
  readonly status: 'preliminary' | 'signed' | 'corrected' | 'withdrawn' | 'sealed'
  readonly amendments: readonly Amendment[]
}

/** What its doctor did with a diagnosis since. */
export interface Amendment {
  readonly transactionId: string
  readonly act: 'sign' | 'correct' | 'withdraw'
  readonly at: string
  readonly text?: string
}

/** What a diagnosis found. */
export interface Finding {
  readonly code: string
  readonly from: string
  readonly to: string
  readonly severity: string
  readonly sentence: string
  readonly open: boolean
}

/** An alarm of the house. */
export interface Alarm {
  readonly id: number
  readonly at: string
  readonly code: string
  readonly severity: string
  readonly about: string | null
  readonly endedAt: string | null
  readonly acknowledged: boolean
}

/** The last look of somebody. */
export interface Looker {
  readonly reader: string
  readonly at: string
  readonly kind: string
  readonly standing: 'granted' | 'keeper' | 'none'
  readonly count: number
}

/** Who looked, as the storage nodes tell. */
export interface Lookers {
  readonly asOf: string | null
  readonly unreachable: number
  readonly lookers: readonly Looker[]
}

/** What somebody fetched within one hour, of one kind. */
export interface Look extends Looker {
  readonly firstAt: string
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
}

/** A page of them, newest first. */
export interface Looks {
  readonly looks: readonly Look[]
  readonly next: string | null
}

/** What guards the account. */
export interface Security {
  readonly rehearsedAt: string | null
}

/** Readings of one stream that go, or went. */
export interface ErasedStream {
  readonly kind: string
  readonly records: number
  readonly measuredFrom: string | null
  readonly measuredTo: string | null
}

/** An erasure that she asked for. */
export interface Erasure {
  readonly transactionId: string
  readonly askedAt: string
  readonly state: 'waiting' | 'recorded' | 'refused'
  readonly streams: readonly ErasedStream[]
}

/** Where it stands at one store, as that says of its own copies. */
export interface StoreStanding {
  readonly place: number
  readonly state: 'away' | 'unheard' | 'serving' | 'gone'
  readonly removeAt: string | null
}

/** An erasure, and where it stands at each store. */
export interface ErasureStanding extends Erasure {
  readonly blocks: number
  readonly asked: number
  readonly stores: readonly StoreStanding[]
}

/** A doctor who may have a copy of what goes. */
export interface ErasureReader {
  readonly doctor: string
  readonly hasAccess: boolean
  readonly fetched: number
}

/** What an erasure would do. */
export interface ErasurePreview {
  readonly from: string
  readonly until: string
  readonly streams: readonly ErasedStream[]
  readonly readers: readonly ErasureReader[]
  readonly diagnoses: number
  readonly erasedBy: string | null
  readonly late: { readonly records: number; readonly until: string } | null
}
