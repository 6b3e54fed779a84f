/** The doctor's keys: one file that only the service's user can read, written before the account is shown to anyone. */
import { parseBody } from '@healthblock/chain/transaction'
import { type KemKeyPair, kemKeyPairFromSeed } from '@healthblock/crypto/envelope'
import { type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { readFileIfPresent, writeSecretFile } from '@healthblock/runtime/files'
import { DoctorNodeError } from '../errors.ts'

/** What the file holds. */
export interface DoctorKeys {
  /** For people at this node; never on a ledger. */
  readonly name: string
  readonly root: SigningKey
  readonly op: SigningKey
  /** Newest last; older ones open older envelopes. */
  readonly kems: readonly KemKeyPair[]
  /** The organisation that vouches: 32 bytes. */
  readonly sponsor: Uint8Array
  /** The `register` body, byte for byte: its id is the account. */
  readonly register: Uint8Array
}

/** Writes the file, readable by its owner alone. */
export function writeKeysFile(path: string, keys: DoctorKeys): void {
  const { name, root, op, kems, sponsor, register } = keys
  const seeds = kems.map((kem) => kem.exportSeed())
  const bytes = encodeCbor({
    v: 1,
    name: encodeUtf8(name),
    root: root.exportSeed(),
    op: op.exportSeed(),
    kems: seeds,
    sponsor,
    register,
  })
  writeSecretFile(path, bytes)
  bytes.fill(0)
}

/** The account is the id of these bytes: damaged ones would be somebody whom nobody knows. */
function checkRegister(
  register: Uint8Array,
  keys: { root: SigningKey; op: SigningKey; kem: KemKeyPair; sponsor: Uint8Array },
): void {
  const body = parseBody(register)
  const isOwn =
    body.t === 'register' &&
    equalBytes(body.root, keys.root.publicKey) &&
    equalBytes(body.op, keys.op.publicKey) &&
    equalBytes(body.kem, keys.kem.publicKey) &&
    equalBytes(body.sponsor, keys.sponsor)
  if (!isOwn) throw new TypeError('the registration is not of these keys')
}

/**
 * Reads the file.
 *
 * @returns undefined if there is none: the node has no doctor yet.
 * @throws {DoctorNodeError} `ERR_KEYS_CORRUPT`.
 */
export function readKeysFile(path: string): DoctorKeys | undefined {
  const bytes = readFileIfPresent(path)
  if (bytes === undefined) return undefined
  try {
    const map = decodeCbor(bytes) as Record<string, unknown>
    if (map.v !== 1) throw new TypeError('unknown version')
    const kems = (map.kems as Uint8Array[]).map((seed) => kemKeyPairFromSeed(seed.slice()))
    if (kems.length === 0) throw new TypeError('no KEM key')
    const root = signingKeyFromSeed((map.root as Uint8Array).slice())
    const op = signingKeyFromSeed((map.op as Uint8Array).slice())
    const register = (map.register as Uint8Array).slice()
    const sponsor = (map.sponsor as Uint8Array).slice()
    checkRegister(register, { root, op, kem: kems[0] as KemKeyPair, sponsor })
    return { name: new TextDecoder().decode(map.name as Uint8Array), root, op, kems, sponsor, register }
  } catch (cause) {
    const message = `${path} is damaged: restore it from a backup of its folder`
    throw new DoctorNodeError(message, { code: 'ERR_KEYS_CORRUPT', path }, { cause })
  } finally {
    bytes.fill(0)
  }
}
