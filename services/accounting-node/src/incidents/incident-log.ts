/**
 * The faults that this node found in its own files, each signed with its node key, in a file that is only ever appended
 * to: a fault is on disk before anything is done about it, and stays there when it is healed and acknowledged. One line
 * a record: base64 of canonical CBOR `[1, statement, signature]` (found), `[2, number, statement, signature]` (healed) or
 * `[3, number, ms]` (acknowledged). A last line without its newline was torn by a crash and is cut off.
 */
import { closeSync, fsyncSync, ftruncateSync, openSync, readFileSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import { type ChainName, chainOf, chains } from '@healthblock/chain/chains'
import { parseStatement, type SignedStatement, signStatement } from '@healthblock/chain/statement'
import type { SigningKey } from '@healthblock/crypto/signature'
import { encodeUtf8, fromBase64, toBase64 } from '@healthblock/encoding/bytes'
import { type CborMap, type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import { syncFolder } from '@healthblock/runtime/files'
import { AccountingError } from '../errors.ts'

/** What can be wrong with a file: an entry, a tile, the state's root, the log index, a staged block, the node's word, the list of incidents itself. */
export const incidentCodes = [
  'entry-damaged',
  'tile-damaged',
  'state-damaged',
  'index-damaged',
  'staged-damaged',
  'promise-damaged',
  'incidents-missing',
] as const
/** One of {@link incidentCodes}. */
export type IncidentCode = (typeof incidentCodes)[number]

/** A fault and where it lies. */
export interface Fault {
  readonly code: IncidentCode
  readonly chain: ChainName
  readonly height: number
  /** Index of the first leaf that it touches. */
  readonly index: number
  /** The file's path below the chain's folder. */
  readonly file: string
}

/** A recorded fault. */
export interface Incident extends Fault {
  /** Position in the file, from 0: what `acknowledge` names. */
  readonly number: number
  /** Unix ms. */
  readonly foundMs: number
  readonly isHealed: boolean
  /** Unix ms; undefined while nobody acknowledged it. */
  readonly acknowledgedMs: number | undefined
  /** The newest statement: that of the finding, or of the healing. */
  readonly signed: SignedStatement
}

/** How to open the file. */
export interface IncidentLogOptions {
  readonly path: string
  readonly ledgerId: Uint8Array
  /** This node's account and key. */
  readonly account: Uint8Array
  readonly nodeKey: SigningKey
  readonly nowMs: () => number
}

/** Most incidents that are kept open at one time; a disk that fails everywhere needs no longer list. */
export const incidentsMax = 10_000

/** The file, and what it says. One per node. */
export class IncidentLog {
  readonly #options: IncidentLogOptions
  readonly #descriptor: number
  readonly #incidents: Incident[] = []
  readonly #listeners = new Set<(number: number) => void>()

  /** Opens the file, creating it if absent. @throws {AccountingError} `ERR_INCIDENTS_DAMAGED` for a line that is none. */
  constructor(options: IncidentLogOptions) {
    this.#options = options
    this.#descriptor = openSync(options.path, 'a+', 0o600)
    syncFolder(dirname(options.path))
    const bytes = readFileSync(options.path)
    const end = bytes.lastIndexOf(0x0a) + 1
    if (end < bytes.length) ftruncateSync(this.#descriptor, end)
    const lines = bytes.subarray(0, end).toString('latin1').split('\n').slice(0, -1)
    lines.forEach((line, position) => {
      try {
        this.#apply(decodeCbor(fromBase64(line)) as CborValue[])
      } catch (cause) {
        throw new AccountingError(
          `${options.path}: line ${position + 1} is damaged; restore the file, or move it away to begin a new one`,
          { code: 'ERR_INCIDENTS_DAMAGED', path: options.path, line: position + 1 },
          { cause },
        )
      }
    })
  }

  #apply(record: CborValue[]): void {
    const [kind, first, second, third] = record
    if (kind === 1) {
      const signed = { statement: encodeCbor(first as CborMap), signature: second as Uint8Array }
      this.#incidents.push(this.#incident(this.#incidents.length, signed))
      return
    }
    const incident = this.#incidents[first as number]
    if (incident === undefined) throw new TypeError('no such incident')
    if (kind === 2) {
      const signed = { statement: encodeCbor(second as CborMap), signature: third as Uint8Array }
      this.#incidents[incident.number] = { ...incident, isHealed: true, signed }
    } else if (kind === 3) this.#incidents[incident.number] = { ...incident, acknowledgedMs: second as number }
    else throw new TypeError('not a record')
  }

  #incident(number: number, signed: SignedStatement): Incident {
    const { code, chain, height, index, file, found, healed } = parseStatement('incident', signed.statement)
    return {
      number,
      code: code as IncidentCode,
      chain: chainOf(chain),
      height,
      index,
      file,
      foundMs: found,
      isHealed: healed === 1,
      acknowledgedMs: undefined,
      signed,
    }
  }

  #append(record: CborValue[]): void {
    writeSync(this.#descriptor, encodeUtf8(`${toBase64(encodeCbor(record))}\n`))
    fsyncSync(this.#descriptor)
    this.#apply(record)
    const number = record[0] === 1 ? this.#incidents.length - 1 : (record[1] as number)
    for (const listener of this.#listeners) listener(number)
  }

  /** Tells the number of each incident that is found, healed or acknowledged; returns the function that ends it. */
  onChange(listener: (number: number) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #sign(fault: Fault, foundMs: number, healed: 0 | 1): SignedStatement {
    const { account, ledgerId, nodeKey } = this.#options
    const statement = {
      v: 1 as const,
      node: account,
      code: fault.code,
      chain: chains[fault.chain],
      height: fault.height,
      index: fault.index,
      file: fileText(fault.file),
      found: foundMs,
      healed,
    }
    return signStatement({ name: 'incident', statement, ledgerId, signingKey: nodeKey })
  }

  /**
   * Records a fault, durably, before anything is done about it.
   *
   * @returns The incident: an open one of the same place if there is one already.
   */
  found(fault: Fault): Incident {
    const file = fileText(fault.file)
    const same = this.#incidents.find(
      (one) =>
        !one.isHealed &&
        one.code === fault.code &&
        one.chain === fault.chain &&
        one.index === fault.index &&
        one.file === file,
    )
    if (same !== undefined) return same
    const number = this.#incidents.length
    if (number >= incidentsMax) return this.#incidents[number - 1] as Incident
    const { statement, signature } = this.#sign(fault, this.#options.nowMs(), 0)
    this.#append([1, decodeCbor(statement), signature])
    return this.#incidents[number] as Incident
  }

  /** Records that a fault is repaired and checked. */
  healed(number: number): Incident {
    const incident = this.get(number)
    if (incident.isHealed) return incident
    const { statement, signature } = this.#sign(incident, incident.foundMs, 1)
    this.#append([2, number, decodeCbor(statement), signature])
    return this.get(number)
  }

  /**
   * Records that an administrator knows of it. Twice is once.
   *
   * @throws {AccountingError} `ERR_INCIDENT_ABSENT`.
   */
  acknowledge(number: number): Incident {
    if (this.get(number).acknowledgedMs === undefined) this.#append([3, number, this.#options.nowMs()])
    return this.get(number)
  }

  /** One incident. @throws {AccountingError} `ERR_INCIDENT_ABSENT`. */
  get(number: number): Incident {
    const incident = this.#incidents[number]
    if (incident === undefined) {
      throw new AccountingError(`there is no incident ${number}`, { code: 'ERR_INCIDENT_ABSENT', number })
    }
    return incident
  }

  /** All of them, oldest first. */
  list(): readonly Incident[] {
    return this.#incidents
  }

  /** Those that nobody acknowledged. */
  get openCount(): number {
    return this.#incidents.filter(({ acknowledgedMs }) => acknowledgedMs === undefined).length
  }

  /** Closes the file. */
  close(): void {
    closeSync(this.#descriptor)
  }
}

/** A path as statements carry it: their texts have no slash and no upper case. */
function fileText(path: string): string {
  return path
    .toLowerCase()
    .replaceAll(/[^a-z0-9._-]/g, '.')
    .slice(-64)
}
