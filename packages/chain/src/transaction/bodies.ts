/** The fields of every transaction type (SPEC.md §6), as tables; the types of bodies follow from them. */
import { bytes, bytesMax, type Fields, list, literal, map, optional, type Shape, text, tuple, uint } from './schema.ts'

/** One record of a stream as an `iot` transaction commits it. `kind`: 0 data, 1 empty, 2 gap, 3 file; `len` in bytes. */
export type IotRecord = readonly [
  stream: Uint8Array,
  seq: number,
  gen: number,
  epoch: number,
  kind: number,
  len: number,
  cid: Uint8Array,
]
/** The last sequence of generation `gen` in a stream. */
export type Cut = readonly [stream: Uint8Array, gen: number, last: number]
/** A grant that a `key` opens. `from` is an epoch, `until` in ms; `rights` bits: 1 read, 2 diagnose, 4 write, 8 live. */
export type GrantOpening = readonly [
  gid: Uint8Array,
  to: Uint8Array,
  streams: readonly Uint8Array[],
  from: number,
  until: number,
  rights: number,
  purpose: number,
  req?: Uint8Array,
]
/** An envelope (crypto's SPEC.md §5) for a grant and a generation. */
export type EnvelopeEntry = readonly [gid: Uint8Array, gen: number, bytes: Uint8Array]
/** Size and Merkle root of a log. */
export type LogHead = readonly [size: number, root: Uint8Array]
/** Records `from` to `to`, both included, of a stream. */
export type SequenceRange = readonly [stream: Uint8Array, from: number, to: number]
/** An organisation in genesis. */
export type GenesisOrganisation = readonly [
  root: Uint8Array,
  op: Uint8Array,
  kem: Uint8Array,
  suite: number,
  quota: number,
]
/** A node in genesis: position of its organisation, node key, log and cosigner keys of Userchain and of Docchain. */
export type GenesisNode = readonly [
  org: number,
  node: Uint8Array,
  ulog: Uint8Array,
  ucos: Uint8Array,
  dlog: Uint8Array,
  dcos: Uint8Array,
]
/** A store in genesis: position of its organisation, store key, peer id (binary). */
export type GenesisStore = readonly [org: number, key: Uint8Array, peer: Uint8Array]
/** Of a successor's genesis: the ledger before it, and that ledger's last attested heads of Userchain and of Docchain. */
export type GenesisPrior = readonly [ledgerId: Uint8Array, userchain: LogHead, docchain: LogHead]

const u = uint()
const b8 = bytes(8)
const b16 = bytes(16)
const b32 = bytes(32)
const kem = bytes(1216)
const signer = { a: b32 }
const consent = { a: b32, n: u, x: u }
/** Most organisations, nodes or stores in genesis. */
const genesisItemsMax = 256
const logHead = tuple<LogHead>([u, b32])
/** Most bytes of the argument of a `govern`. */
const governArgSizeBytesMax = 16_384
/** Most bytes of one piece of evidence. */
const evidenceNoteSizeBytesMax = 4096
const ranges = list(tuple<SequenceRange>([b8, u, u]), 1, 16)
const envelope = tuple<EnvelopeEntry>([b16, u, bytesMax(16_384)])
const grantOpening = tuple<GrantOpening>([b16, b32, list(b8, 1, 16), u, u, u, u, b32], 7)

const genesis = {
  start: u,
  params: map({ epochms: uint(1), seals: u }),
  q: uint(1),
  orgs: list(tuple<GenesisOrganisation>([b32, b32, kem, u, u]), 1, genesisItemsMax),
  nodes: list(tuple<GenesisNode>([u, b32, b32, b32, b32, b32]), 1, genesisItemsMax),
  stores: list(tuple<GenesisStore>([u, b32, bytesMax(64)]), 0, genesisItemsMax),
  prior: optional(tuple<GenesisPrior>([b32, logHead, logHead])),
}

/** The fields of each type, without `v` and `t`, which every body has. */
export const bodyShapes = {
  genesis,
  register: { role: uint(1, 8), root: b32, op: b32, kem, suite: u, sponsor: b32, salt: b16 },
  update: {
    ...consent,
    op: optional(b32),
    root: optional(b32),
    kem: optional(kem),
    suite: optional(u),
    why: uint(0, 255),
  },
  licence: { ...consent, doctor: b32, state: uint(1, 3), from: u, to: u },
  device: { ...consent, dev: b16, act: uint(1, 3), streams: list(b8, 0, 16), cert: b32, sid: optional(b16) },
  iot: { ...signer, r: list(tuple<IotRecord>([b8, u, u, u, u, u, b32]), 1, 64) },
  key: {
    ...consent,
    gen: u,
    first: u,
    cut: list(tuple<Cut>([b8, u, u]), 0, 256),
    close: list(b16, 0, 256),
    open: list(grantOpening, 0, 32),
    env: list(envelope, 0, 24),
    why: uint(1, 6),
    seen: logHead,
  },
  envelope: { ...signer, key: b32, env: list(envelope, 1, 24) },
  govern: { ...signer, act: uint(1, 4), arg: bytesMax(governArgSizeBytesMax), n: u },
  evidence: { ...signer, kind: uint(1, 4), notes: list(bytesMax(evidenceNoteSizeBytesMax), 1, 4) },
  erase: { ...consent, ranges: list(tuple<SequenceRange>([b8, u, u]), 1, 64), law: u },
  algorithm: { ...signer, id: text, version: text, hash: b32, act: uint(1, 2) },
  diagnosis: {
    ...signer,
    pat: b32,
    g: b16,
    basis: logHead,
    in: ranges,
    gen: u,
    epoch: u,
    seq: u,
    alg: b32,
    carry: optional(b32),
    pair: optional(b32),
    cid: b32,
    len: u,
    esc: optional(b16),
  },
  amend: { ...signer, of: b32, act: uint(1, 3), gen: u, epoch: u, seq: u, cid: b32, len: u },
  unreadable: { ...signer, pat: b32, g: b16, basis: logHead, in: ranges, code: uint(1, 5) },
} as const satisfies Record<string, Shape>

/** Name of a transaction type. */
export type TransactionType = keyof typeof bodyShapes

/** Body of one type, with the field names of SPEC.md §6. */
export type BodyOf<T extends TransactionType> = { readonly v: 1; readonly t: T } & Fields<(typeof bodyShapes)[T]>

/** The table of one type with the two fields that every body has. */
export function bodyShape(type: TransactionType): Shape {
  return { v: literal(1), t: literal(type), ...bodyShapes[type] }
}
