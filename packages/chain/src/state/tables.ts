/** The tables of SPEC.md §5, typed. `o` and `c` are the log indices at which a record opened and closed. */
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { EncodingError } from '@healthblock/encoding/errors'
import type { ChainName } from '../chains.ts'
import type { StateOverlay, StateReader } from './state.ts'

/** A record that opens at one index and closes, at most once, at another. */
export interface Lifetime {
  readonly o: number
  readonly c?: number
}

/** `role`: 1 patient, 2 doctor, 3 organisation, 4 node, 5 guardian, 6 insurer, 7 auditor, 8 agency, 9 store. */
export interface AccountRecord {
  readonly role: number
  readonly o: number
  readonly sponsor?: Uint8Array
}
/** `key`: 32 bytes; of a KEM 1,216 bytes, with its suite. */
export interface KeyRecord extends Lifetime {
  readonly key: Uint8Array
  readonly suite?: number
}
/** `state`: 1 active, 2 suspended, 3 ended; `from` and `to` in ms. */
export interface LicenceRecord extends Lifetime {
  readonly org: Uint8Array
  readonly state: number
  readonly from: number
  readonly to: number
}
/** A patient's device with the streams that it was added with. */
export interface DeviceRecord extends Lifetime {
  readonly streams: readonly Uint8Array[]
  readonly cert: Uint8Array
}
/** `gen`: the generation in which the stream began. */
export interface StreamRecord extends Lifetime {
  readonly dev: Uint8Array
  readonly gen: number
}
/** `first`: the epoch of leaf 0; `tx`: the `key` that opened the generation. */
export interface GenerationRecord {
  readonly o: number
  readonly first: number
  readonly tx: Uint8Array
}
/** `from` is an epoch, `until` in ms; `rights` bits: 1 read, 2 diagnose, 4 write, 8 live. */
export interface GrantRecord extends Lifetime {
  readonly to: Uint8Array
  readonly streams: readonly Uint8Array[]
  readonly from: number
  readonly until: number
  readonly rights: number
  readonly purpose: number
  readonly req?: Uint8Array
}
/** Records `from` to `to` of a stream, erased by the transaction at `o`. */
export interface ErasedRecord {
  readonly from: number
  readonly to: number
  readonly o: number
}
/** An algorithm that an organisation registered. */
export interface AlgorithmRecord extends Lifetime {
  readonly org: Uint8Array
  readonly id: string
  readonly version: string
}
/** A node of a policy, with its keys. */
export type PolicyNode = readonly [
  org: Uint8Array,
  account: Uint8Array,
  node: Uint8Array,
  ulog: Uint8Array,
  ucos: Uint8Array,
  dlog: Uint8Array,
  dcos: Uint8Array,
]
/** A store of a policy: its key and its peer id (binary). */
export type PolicyStore = readonly [org: Uint8Array, account: Uint8Array, key: Uint8Array, peer: Uint8Array]
/** Who cosigns, and how many must. */
export interface PolicyRecord extends Lifetime {
  readonly q: number
  readonly nodes: readonly PolicyNode[]
  readonly stores: readonly PolicyStore[]
  /** Ranks of the nodes, ascending; absent: their positions. */
  readonly ranks?: readonly number[]
  /** Cosigner keys that this policy replaced, each with the last size that it signed for its node. */
  readonly last?: readonly (readonly [key: Uint8Array, size: number])[]
}
/** A version of the rules, in force from a height of Userchain. */
export interface RulesRecord {
  readonly o: number
  readonly version: number
  readonly from: number
}
/** What a node was shown to have done. `kind`: 1 equivocation, 2 conflict, both of a `size`; 3 broken promise, 4 false refusal, both of a transaction `tx`. */
export interface EvidenceRecord {
  readonly kind: number
  /** Account of the node. */
  readonly node: Uint8Array
  readonly o: number
  readonly size?: number
  readonly tx?: Uint8Array
}
/** `c`: index of the withdrawal. */
export interface DiagnosisRecord extends Lifetime {
  readonly pat: Uint8Array
  readonly doctor: Uint8Array
  readonly g: Uint8Array
  readonly gen: number
  readonly epoch: number
}

/** Numbers of an account's keys in the table `key`. */
export const keyRoles = { root: 0, op: 1, node: 2, kem: 3 } as const

/** A part of a key: a byte string of this length, or an unsigned integer. */
export type PartForm = number | 'uint'

/** One table: how its keys are written, and its records read and set. */
export interface Table<Parts extends readonly (Uint8Array | number)[], Value> {
  readonly name: string
  /** The form of its keys after the name. */
  readonly parts: readonly PartForm[]
  key(...parts: Parts): Uint8Array
  get(state: StateReader, ...parts: Parts): Value | undefined
  set(state: StateOverlay, value: Value, ...parts: Parts): void
}

type Account = readonly [account: Uint8Array]
type PatientStream = readonly [patient: Uint8Array, stream: Uint8Array]
type PatientGrant = readonly [patient: Uint8Array, gid: Uint8Array]

/** Integers below this are one byte of CBOR; so is the head of a byte string that is shorter. */
const shortMax = 24

function isShort(part: number): boolean {
  return part < shortMax && part >= 0 && Number.isInteger(part)
}

/** A key that is only asked for is written here: rules ask ten times for each that they set. Longer ones get an array of their own. */
const asked = new Uint8Array(256)
/** The beginnings of `asked`, by their length. */
const askedViews = Array.from({ length: asked.length + 1 }, (_, length) => asked.subarray(0, length))

function newKey(length: number): Uint8Array {
  return new Uint8Array(length)
}

function askedKey(length: number): Uint8Array {
  return askedViews[length] ?? newKey(length)
}

/** Canonical CBOR of `[table, id parts…]`; written out because every rule reads by such keys. */
function encodeKey(
  title: Uint8Array,
  parts: readonly (Uint8Array | number)[],
  placeOf: (length: number) => Uint8Array = newKey,
): Uint8Array {
  let length = 1 + title.length
  let long: Uint8Array[] | undefined
  for (const part of parts) {
    if (typeof part !== 'number') length += part.length + (part.length < shortMax ? 1 : 2)
    else if (isShort(part)) length++
    else {
      const encoded = encodeCbor(part)
      long ??= []
      long.push(encoded)
      length += encoded.length
    }
  }
  const key = placeOf(length)
  key[0] = 0x80 + parts.length + 1
  key.set(title, 1)
  let at = 1 + title.length
  let nextLong = 0
  for (const part of parts) {
    if (typeof part === 'number') {
      if (isShort(part)) key[at++] = part
      else {
        const encoded = long?.[nextLong++] as Uint8Array
        key.set(encoded, at)
        at += encoded.length
      }
      continue
    }
    if (part.length < shortMax) key[at++] = 0x40 + part.length
    else {
      key[at++] = 0x58
      key[at++] = part.length
    }
    key.set(part, at)
    at += part.length
  }
  return key
}

function table<Parts extends readonly (Uint8Array | number)[], Value>(
  name: string,
  ...forms: { readonly [P in keyof Parts]: Parts[P] extends number ? 'uint' : number }
): Table<Parts, Value> {
  const title = encodeCbor(name)
  return {
    name,
    parts: forms,
    key: (...parts) => encodeKey(title, parts),
    get(state, ...parts) {
      return state.get(encodeKey(title, parts, askedKey))?.decoded as Value | undefined
    },
    set(state, value, ...parts) {
      state.set(encodeKey(title, parts), encodeCbor(value as CborValue))
    },
  }
}

/** Lengths of byte strings in keys. */
const account = 32
const hash = 32
const stream = 8
/** Of grants and of devices. */
const gid = 16

const evidenceTables = {
  evidence: table<readonly [k: number], EvidenceRecord>('evidence', 'uint'),
  /** Head: `k` of the newest. */
  evidenceHead: table<readonly [], number>('evidencehead'),
  /** Head: `k`, by node, kind and H(CBOR of the size or the transaction). */
  evidenceOf: table<readonly [node: Uint8Array, kind: number, subject: Uint8Array], number>(
    'evidenceof',
    account,
    'uint',
    hash,
  ),
  /** Head: number of a policy, and how many came on record under it. */
  evidenceCount: table<readonly [node: Uint8Array, kind: number], readonly [policy: number, count: number]>(
    'evidencecount',
    account,
    'uint',
  ),
} as const

/** Userchain's tables. Heads (SPEC.md §5: marked *) say so; they are never read from Docchain. */
export const userTables = {
  account: table<Account, AccountRecord>('account', account),
  /** `r`: `keyRoles`; `k` from 0. */
  key: table<readonly [account: Uint8Array, r: number, k: number], KeyRecord>('key', account, 'uint', 'uint'),
  /** Head: `k` of the newest key. */
  keyHead: table<readonly [account: Uint8Array, r: number], number>('keyhead', account, 'uint'),
  /** Head: H(public key) of every key ever registered. */
  used: table<readonly [keyHash: Uint8Array], 1>('used', hash),
  organisation: table<Account, Lifetime>('org', account),
  /** Head. */
  quota: table<Account, readonly [maximum: number, used: number]>('quota', account),
  licence: table<readonly [doctor: Uint8Array, k: number], LicenceRecord>('licence', account, 'uint'),
  /** Head: `k` of the newest licence. */
  licenceHead: table<readonly [doctor: Uint8Array], number>('licencehead', account),
  /** Head: the last consent counter. */
  counter: table<Account, number>('counter', account),
  device: table<readonly [patient: Uint8Array, device: Uint8Array], DeviceRecord>('device', account, gid),
  /** Head: open streams, in order of creation. */
  openStreams: table<readonly [patient: Uint8Array], readonly Uint8Array[]>('streams', account),
  stream: table<PatientStream, StreamRecord>('stream', account, stream),
  /** Head: of the stream's newest record. */
  last: table<PatientStream, readonly [seq: number, epoch: number]>('last', account, stream),
  /** Head: `len` of records of kind 0 and 1. */
  streamClass: table<readonly [patient: Uint8Array, stream: Uint8Array, gen: number], number>(
    'class',
    account,
    stream,
    'uint',
  ),
  generation: table<readonly [patient: Uint8Array, gen: number], GenerationRecord>('generation', account, 'uint'),
  /** Head; absent = 0. */
  currentGeneration: table<readonly [patient: Uint8Array], number>('current', account),
  cut: table<
    readonly [patient: Uint8Array, stream: Uint8Array, gen: number],
    { readonly last: number; readonly o: number }
  >('cut', account, stream, 'uint'),
  keyTransaction: table<readonly [transactionId: Uint8Array], { readonly a: Uint8Array; readonly gen: number }>(
    'keytx',
    hash,
  ),
  grant: table<PatientGrant, GrantRecord>('grant', account, gid),
  envelope: table<
    readonly [patient: Uint8Array, gid: Uint8Array, gen: number],
    { readonly o: number; readonly hash: Uint8Array }
  >('env', account, gid, 'uint'),
  /** Head: H(encapsulation) of every envelope that the patient ever committed. */
  encapsulation: table<readonly [patient: Uint8Array, encapsulationHash: Uint8Array], 1>('enc', account, hash),
  erased: table<readonly [patient: Uint8Array, stream: Uint8Array, k: number], ErasedRecord>(
    'erased',
    account,
    stream,
    'uint',
  ),
  /** Head: `k` of the newest erasure. */
  erasedHead: table<PatientStream, number>('erasedhead', account, stream),
  algorithm: table<readonly [hash: Uint8Array], AlgorithmRecord>('algorithm', hash),
  policy: table<readonly [k: number], PolicyRecord>('policy', 'uint'),
  /** Head: organisations in force; absent: those of genesis. */
  organisations: table<readonly [], readonly Uint8Array[]>('orgs'),
  /** Head: n of the newest `govern`. */
  governed: table<readonly [], number>('governed'),
  rules: table<readonly [k: number], RulesRecord>('rules', 'uint'),
  ...evidenceTables,
} as const

/** Docchain's tables. */
export const docTables = {
  /** Head: sequence of the stream's newest entry, epoch of its newest diagnosis. */
  diagnosisStream: table<readonly [patient: Uint8Array, doctor: Uint8Array], readonly [seq: number, epoch: number]>(
    'diagnosisstream',
    account,
    account,
  ),
  diagnosis: table<readonly [transactionId: Uint8Array], DiagnosisRecord>('diagnosis', hash),
  ...evidenceTables,
} as const

const forms: Readonly<Record<ChainName, ReadonlyMap<string, readonly PartForm[]>>> = {
  userchain: formsOf(userTables),
  docchain: formsOf(docTables),
}

function formsOf(tables: Readonly<Record<string, Pick<Table<never, never>, 'name' | 'parts'>>>) {
  return new Map(Object.values(tables).map(({ name, parts }) => [name, parts]))
}

/**
 * The parts of a state key, its table's name first; undefined if no table of the chain has such keys. A proof that there is no record says
 * nothing if the key is one that can have none.
 *
 * @param key - Any bytes.
 */
export function parseTableKey(
  chain: ChainName,
  key: Uint8Array,
): readonly [name: string, ...parts: (Uint8Array | number)[]] | undefined {
  let decoded: CborValue
  try {
    decoded = decodeCbor(key)
  } catch (error) {
    if (!(error instanceof EncodingError)) throw error
    return undefined
  }
  const [name, ...parts] = Array.isArray(decoded) ? decoded : []
  const expected = typeof name === 'string' ? forms[chain].get(name) : undefined
  const isFitting = (form: PartForm, part: CborValue | undefined): boolean =>
    form === 'uint' ? typeof part === 'number' : part instanceof Uint8Array && part.length === form
  if (expected?.length !== parts.length || !expected.every((form, i) => isFitting(form, parts[i]))) return undefined
  return [name as string, ...(parts as (Uint8Array | number)[])]
}
