/**
 * Diagnoses judged again (SPEC.md §5): with the tree nodes that a patient discloses, every sealed diagnosis of the window is opened, the
 * algorithm is run on the records that it names, with the parameters and the carried state inside, and the bytes are compared.
 */
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import type { Disclosure } from '@healthblock/crypto/disclosure'
import { sha256 } from '@healthblock/crypto/hash'
import { epochKeyFrom, reachesEpoch, type TreeNode } from '@healthblock/crypto/key-tree'
import { openPayload, type PayloadFields, type PayloadKind, payloadKinds } from '@healthblock/crypto/payload'
import { algorithmHashHex, algorithmName, algorithmVersion } from '@healthblock/diagnosis/algorithm'
import { parseBatch } from '@healthblock/diagnosis/batch'
import { type DiagnosisRecord, diagnose } from '@healthblock/diagnosis/diagnose'
import { type DiagnosisDocument, encodeFitting, parseDiagnosis } from '@healthblock/diagnosis/document'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { isJudgeable } from '@healthblock/diagnosis/judgeable'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { DisclosedEntry, DisclosedRecord, DisclosedRecords, EntryPlace } from './disclosed-records.ts'
import type { RecordName } from './erasures.ts'
import type { FindingParts } from './report.ts'

/** Gives sealed blocks. */
export interface BlockSource {
  /** The block with this SHA-256; undefined if no storage node has it. It rejects if none could be asked. */
  get(digest: Uint8Array): Promise<Uint8Array | undefined>
}

/** What a disclosure is checked with. */
export interface DisclosureContext {
  readonly disclosure: Disclosure
  readonly records: DisclosedRecords
  readonly blocks: BlockSource
  /** True for a record that its patient erased: its block is gone, or will be. */
  readonly isErased: (record: RecordName) => boolean
  readonly add: (finding: FindingParts) => void
}

/** What came of the diagnoses of a window. */
export interface DisclosureSummary {
  /** Judged again, with the same bytes. */
  readonly same: number
  readonly notChecked: readonly string[]
}

/** `unreadable` codes of what stays wrong: header, commitment, format. The others may have passed. */
const lastingCodes: readonly number[] = [3, 4, 5]
const actCorrect = 2

type Reason = 'outside' | 'erased' | 'by-hand' | 'carry' | 'records' | 'algorithm'
const words: Readonly<Record<Reason, string>> = {
  outside: 'were not opened: the disclosed keys do not reach them',
  erased: 'were not judged again: they rest on records that she erased',
  'by-hand': 'are by hand: they were opened, and no algorithm made them',
  carry: 'were not judged again: they carry on a diagnosis that the disclosed keys do not reach',
  records: 'were not judged again: they rest on records that the disclosed keys do not reach',
  algorithm: `were not judged again by ${algorithmName} ${algorithmVersion}: they were made by`,
}

/** A thing that stands in the way of a check: a finding was added, or a reason is counted. */
class Stopped extends Error {
  readonly reason: Reason | undefined
  /** What stands behind the words of the reason; empty for most. */
  readonly detail: string
  constructor(reason?: Reason, detail = '') {
    super(reason ?? 'a finding')
    this.reason = reason
    this.detail = detail
  }
}

/** Checks everything of the window. Findings go to `context.add`. */
export async function checkDisclosure(context: DisclosureContext): Promise<DisclosureSummary> {
  return new DisclosureCheck(context).run()
}

class DisclosureCheck {
  readonly #context: DisclosureContext
  /** Entries by the words that say why they were not checked. */
  readonly #counts = new Map<string, number>()
  /** The diagnosis opened last: the next one mostly carries it on. */
  #last: { id: string; document: DiagnosisDocument } | undefined
  #same = 0

  constructor(context: DisclosureContext) {
    this.#context = context
  }

  async run(): Promise<DisclosureSummary> {
    const { diagnoses, amendments, unreadable } = this.#context.records
    for (const entry of diagnoses.values()) await this.#counted(() => this.#judge(entry))
    for (const entry of amendments) await this.#counted(() => this.#amendment(entry))
    for (const entry of unreadable) await this.#counted(() => this.#unreadable(entry))
    const notChecked = [...this.#counts].map(([why, count]) => `${count} entries of the patient ${why}`)
    return { same: this.#same, notChecked }
  }

  async #counted(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!(error instanceof Stopped)) throw error
      if (error.reason === undefined) return
      const why = `${words[error.reason]}${error.detail}`
      this.#counts.set(why, (this.#counts.get(why) ?? 0) + 1)
    }
  }

  #found(code: string, place: EntryPlace, message: string): Stopped {
    this.#context.add({ code, ...place, message })
    return new Stopped()
  }

  async #judge(entry: DisclosedEntry<'diagnosis'>): Promise<void> {
    const { body, place, id } = entry
    const { document, plaintext } = await this.#open(entry)
    this.#last = { id, document }
    const { hash, name, version } = document.algorithm
    if (!equalBytes(hash, body.alg))
      throw this.#found(
        'diagnosis.mismatch',
        place,
        `diagnosis ${id} names another algorithm inside than on the ledger`,
      )
    const isSameInput =
      document.in.length === body.in.length &&
      document.in.every(({ stream, from, to }, i) => {
        const [ledgerStream, first, last] = body.in[i] as (typeof body.in)[number]
        return equalBytes(stream, ledgerStream) && from === first && to === last
      })
    if (!isSameInput)
      throw this.#found('diagnosis.mismatch', place, `diagnosis ${id} names other records inside than on the ledger`)
    if (hash.every((byte) => byte === 0)) throw new Stopped('by-hand')
    if (toHex(hash) !== algorithmHashHex) throw new Stopped('algorithm', ` ${name} ${version}`)
    const carriedState = await this.#carried(entry, document)
    const inputs = await this.#inputs(entry)
    const again = judgeAgain(document, inputs, carriedState)
    if (again !== undefined && equalBytes(again, plaintext)) {
      this.#same++
      return
    }
    const reason =
      again === undefined ? 'the algorithm refuses these records' : `byte ${firstDifference(again, plaintext)} differs`
    throw this.#found(
      'diagnosis.differs',
      place,
      `diagnosis ${id}, judged again from its records, is another one: ${reason}`,
    )
  }

  /** The state that the diagnosis carried on; undefined if it began afresh. */
  async #carried(
    { body, place, id }: DisclosedEntry<'diagnosis'>,
    document: DiagnosisDocument,
  ): Promise<Uint8Array | undefined> {
    if (body.carry === undefined) {
      if (document.carried.length === 0) return undefined
      throw this.#found(
        'diagnosis.carried',
        place,
        `diagnosis ${id} says inside that it carries a state on, and on the ledger that it does not`,
      )
    }
    const name = toHex(body.carry)
    const before = this.#context.records.diagnoses.get(name)
    let carried = this.#last?.id === name ? this.#last.document : undefined
    if (carried === undefined && before !== undefined) {
      try {
        carried = (await this.#open(before)).document
      } catch (error) {
        throw error instanceof Stopped && error.reason === 'outside' ? new Stopped('carry') : error
      }
    }
    if (carried !== undefined && equalBytes(sha256(carried.state), document.carried)) return carried.state
    throw this.#found('diagnosis.carried', place, `diagnosis ${id} carries on another state than that of ${name}`)
  }

  /** The batches that a diagnosis rests on, in the order in which it names them; gaps and empty records have none. */
  async #inputs({ body, place, id }: DisclosedEntry<'diagnosis'>): Promise<DiagnosisRecord[]> {
    const inputs: DiagnosisRecord[] = []
    for (const [stream, from, to] of body.in) {
      for (let sequence = from; sequence <= to; sequence++) {
        const record = this.#context.records.record(stream, sequence)
        if (record === undefined)
          throw this.#found(
            'diagnosis.mismatch',
            place,
            `diagnosis ${id} names record ${sequence} of stream ${toHex(stream)}, which is not on record`,
          )
        if (record.kind !== payloadKinds.data) continue
        const plaintext = await this.#openRecord(record)
        try {
          inputs.push({ ...parseBatch(plaintext), stream, sequence })
        } catch (error) {
          if (!(error instanceof DiagnosisError)) throw error
          throw this.#found(
            'record.unreadable',
            record.place,
            `record ${sequence} of stream ${toHex(stream)} opens, and holds no readings`,
          )
        }
      }
    }
    return inputs
  }

  async #amendment({ body, place, id }: DisclosedEntry<'amend'>): Promise<void> {
    if (body.act !== actCorrect) return
    const of = this.#context.records.diagnoses.get(toHex(body.of)) as DisclosedEntry<'diagnosis'>
    const { gen, epoch, seq, cid, len, a } = body
    const fields = this.#entryFields({ a, pat: of.body.pat, gen, epoch, seq }, 'amend')
    const plaintext = await this.#openBlock(place, fields, { cid, sizeBytes: len }, 'diagnosis.unreadable')
    this.#document(plaintext, place, id)
    throw new Stopped('by-hand')
  }

  /** A doctor said that records cannot be read: those that open and hold readings could be. */
  async #unreadable({ body, place }: DisclosedEntry<'unreadable'>): Promise<void> {
    if (!lastingCodes.includes(body.code)) return
    for (const [stream, from, to] of body.in) {
      for (let sequence = from; sequence <= to; sequence++) {
        const record = this.#context.records.record(stream, sequence)
        if (record === undefined || record.kind !== payloadKinds.data) continue
        const plaintext = await this.#openRecord(record)
        const said = `record ${sequence} of stream ${toHex(stream)} was said to be unreadable (code ${body.code})`
        if (isReadable(plaintext)) throw this.#found('unreadable.false', place, `${said}, and opens under its key`)
      }
    }
  }

  async #open(entry: DisclosedEntry<'diagnosis'>): Promise<{ document: DiagnosisDocument; plaintext: Uint8Array }> {
    const { body, place, id } = entry
    const fields = this.#entryFields(body, 'diagnosis')
    const plaintext = await this.#openBlock(
      place,
      fields,
      { cid: body.cid, sizeBytes: body.len },
      'diagnosis.unreadable',
    )
    return { document: this.#document(plaintext, place, id), plaintext }
  }

  #document(plaintext: Uint8Array, place: EntryPlace, id: string): DiagnosisDocument {
    try {
      return parseDiagnosis(plaintext)
    } catch (error) {
      if (!(error instanceof DiagnosisError)) throw error
      throw this.#found('diagnosis.malformed', place, `${id} opens, and holds no diagnosis: ${error.message}`)
    }
  }

  async #openRecord({
    place,
    stream,
    sequence,
    generation,
    epoch,
    kind,
    cid,
    sizeBytes,
  }: DisclosedRecord): Promise<Uint8Array> {
    const { ledgerId, patient } = this.#context.disclosure
    const fields = { ledgerId, owner: patient, writer: patient, stream, generation, epoch, sequence }
    if (this.#context.isErased({ patient, stream, sequence })) throw new Stopped('erased')
    try {
      return await this.#openBlock(
        place,
        { ...fields, kind: kind as PayloadKind },
        { cid, sizeBytes },
        'record.unreadable',
      )
    } catch (error) {
      throw error instanceof Stopped && error.reason === 'outside' ? new Stopped('records') : error
    }
  }

  #entryFields(
    entry: { a: Uint8Array; pat: Uint8Array; gen: number; epoch: number; seq: number },
    kind: 'diagnosis' | 'amend',
  ): PayloadFields {
    const { ledgerId } = this.#context.disclosure
    const stream = diagnosisStreamId({ ledgerId, patient: entry.pat, doctor: entry.a })
    const parties = { ledgerId, owner: entry.pat, writer: entry.a, stream }
    return { ...parties, kind: payloadKinds[kind], generation: entry.gen, epoch: entry.epoch, sequence: entry.seq }
  }

  /** Fetches a block and opens it under the disclosed key of its place. Every field of the header must be the transaction's. */
  async #openBlock(
    place: EntryPlace,
    expected: PayloadFields,
    stored: { cid: Uint8Array; sizeBytes: number },
    code: string,
  ): Promise<Uint8Array> {
    const epochKey = this.#keyOf(expected)
    if (epochKey === undefined) throw new Stopped('outside')
    const block = await this.#context.blocks.get(stored.cid)
    const name = toHex(stored.cid)
    if (block === undefined) throw this.#found('storage.missing', place, `no storage node has block ${name}`)
    try {
      if (block.length === stored.sizeBytes) return openPayload({ block, epochKey, expected })
    } catch {
      // One cause or another: it is not what the ledger says.
    } finally {
      epochKey.fill(0)
    }
    throw this.#found(
      code,
      place,
      `block ${name} does not open under the key of its epoch as what the ledger says it is`,
    )
  }

  #keyOf({ stream, generation, epoch }: PayloadFields): Uint8Array | undefined {
    for (const held of this.#context.disclosure.nodes) {
      if (held.generation !== generation || !equalBytes(held.stream, stream)) continue
      const { first } = held
      const nodes = held.nodes as TreeNode[]
      if (reachesEpoch({ nodes, first, epoch })) return epochKeyFrom({ nodes, first, epoch })
    }
    return undefined
  }
}

function judgeAgain(
  document: DiagnosisDocument,
  records: readonly DiagnosisRecord[],
  carriedState: Uint8Array | undefined,
): Uint8Array | undefined {
  try {
    const { findings, state } = diagnose({ records, parameters: document.parameters, carriedState })
    return encodeFitting({ ...document, findings, state })
  } catch (error) {
    if (!(error instanceof DiagnosisError)) throw error
    return undefined
  }
}

/** True for readings that an algorithm takes: those a doctor's node can judge. */
function isReadable(plaintext: Uint8Array): boolean {
  try {
    return isJudgeable(parseBatch(plaintext))
  } catch (error) {
    if (!(error instanceof DiagnosisError)) throw error
    return false
  }
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  let i = 0
  while (i < a.length && a[i] === b[i]) i++
  return i
}
