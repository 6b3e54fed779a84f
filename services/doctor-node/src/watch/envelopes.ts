/**
 * The keys that patients gave this doctor. Envelopes are kept as they stand on the ledger, sealed to the doctor's own key;
 * they are opened when a key is needed, and what was opened stays in memory only.
 */
import { diagnosisStreamId } from '@healthblock/chain/diagnosis-stream'
import { type EnvelopeContents, envelopeNodes, openEnvelope } from '@healthblock/crypto/envelope'
import { epochKeyFrom, reachesEpoch } from '@healthblock/crypto/key-tree'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Logger } from '@healthblock/runtime/logger'
import type { Database } from '@healthblock/runtime/sqlite'
import type { Doctor } from '../identity/identity.ts'

/** An envelope of this doctor, as it lies in the database. */
export interface KeptEnvelope {
  readonly patient: Uint8Array
  readonly gid: Uint8Array
  readonly generation: number
  readonly bytes: Uint8Array
}

/** Keys of a stream that one envelope holds. */
export interface HeldKeys {
  readonly gid: Uint8Array
  readonly generation: number
  /** Epoch of the generation's leaf 0. */
  readonly first: number
  readonly stream: Uint8Array
  readonly nodes: ReturnType<typeof envelopeNodes>
}

/** Envelopes of one grant, or of one generation. */
interface EnvelopeChoice {
  readonly gid?: Uint8Array
  readonly generation?: number
}

interface Dependencies {
  readonly database: Database
  readonly ledgerId: Uint8Array
  readonly doctor: () => Doctor
  readonly logger: Logger
  readonly nowMs: () => number
}

const openedMax = 1_024
/** Most envelopes that one question looks into, the newest first: a patient may rotate as often as she likes, and opening costs. */
const askedMax = 64
/** And where every key is tried that is held. */
const everyMax = 10_000

/** Opens envelopes and derives epoch keys from them. */
export class Envelopes {
  readonly #deps: Dependencies
  readonly #opened = new Map<string, Promise<EnvelopeContents | undefined>>()
  constructor(deps: Dependencies) {
    this.#deps = deps
  }

  /** A patient's envelopes, of one grant or generation if they are named: those of the newest generation and grant first, at most `countMax`. */
  of(patient: Uint8Array, which: EnvelopeChoice = {}, countMax = askedMax): KeptEnvelope[] {
    const { gid = null, generation = null } = which
    return this.#deps.database
      .all(
        `SELECT patient, gid, generation, bytes FROM envelope
         WHERE patient = ?1 AND (?2 IS NULL OR gid = ?2) AND (?3 IS NULL OR generation = ?3)
         ORDER BY generation DESC, position DESC LIMIT ?4`,
        ...[patient, gid, generation, countMax],
      )
      .map((row) => ({
        patient: row.patient as Uint8Array,
        gid: row.gid as Uint8Array,
        generation: Number(row.generation),
        bytes: row.bytes as Uint8Array,
      }))
  }

  /** What an envelope holds; undefined if it does not open, which is noted once. */
  contents(envelope: KeptEnvelope): Promise<EnvelopeContents | undefined> {
    const name = `${toHex(envelope.patient)}/${toHex(envelope.gid)}/${envelope.generation}`
    let opened = this.#opened.get(name)
    if (opened === undefined) {
      const oldest = this.#opened.keys().next()
      if (this.#opened.size >= openedMax && oldest.done !== true) this.#opened.delete(oldest.value)
      opened = this.tryOpen(envelope, {}).then((contents) => {
        if (contents === undefined) this.#quarantine(name)
        return contents
      })
      this.#opened.set(name, opened)
    }
    return opened
  }

  /** Opens an envelope as if it were for the grant and generation given, with each of the doctor's keys. */
  async tryOpen(
    envelope: KeptEnvelope,
    as: { gid?: Uint8Array; generation?: number },
  ): Promise<EnvelopeContents | undefined> {
    const { account, kems } = this.#deps.doctor()
    const context = {
      ledgerId: this.#deps.ledgerId,
      patient: envelope.patient,
      grantId: as.gid ?? envelope.gid,
      generation: as.generation ?? envelope.generation,
      recipient: account,
    }
    for (const keyPair of [...kems].reverse()) {
      try {
        return await openEnvelope({ keyPair, context, envelope: envelope.bytes })
      } catch {
        // Sealed to another of the doctor's keys, or to nobody: the next one is tried.
      }
    }
    return undefined
  }

  /** The key of an epoch of a data stream with the stream's kind, from the first envelope that reaches it. */
  async epochKey(place: {
    patient: Uint8Array
    stream: Uint8Array
    generation: number
    epoch: number
  }): Promise<{ epochKey: Uint8Array; kind: number } | undefined> {
    for (const envelope of this.of(place.patient, { generation: place.generation })) {
      const contents = await this.contents(envelope)
      const held = contents?.streams.find(({ stream }) => equalBytes(stream, place.stream))
      if (contents === undefined || held === undefined) continue
      const keys = { nodes: envelopeNodes(contents, held.keys), first: contents.first, epoch: place.epoch }
      if (reachesEpoch(keys)) return { epochKey: epochKeyFrom(keys), kind: held.kind }
    }
    return undefined
  }

  /** Keys of the diagnosis stream with a patient, the newest generation first; each is opened when it is asked for. */
  async *diagnosisKeys(patient: Uint8Array, which: EnvelopeChoice): AsyncGenerator<HeldKeys> {
    const own = { ledgerId: this.#deps.ledgerId, patient, doctor: this.#deps.doctor().account }
    const stream = diagnosisStreamId(own)
    for (const envelope of this.of(patient, which))
      for (const held of await this.#keysOf(envelope)) if (equalBytes(held.stream, stream)) yield held
  }

  /** What the newest envelopes say of a patient's streams: kind by stream id in hex. */
  async streamKinds(patient: Uint8Array): Promise<Map<string, number>> {
    const kinds = new Map<string, number>()
    for (const envelope of this.of(patient).reverse()) {
      for (const { stream, kind } of (await this.contents(envelope))?.streams ?? []) kinds.set(toHex(stream), kind)
    }
    return kinds
  }

  /** Every key that this doctor holds of a patient, data and diagnosis streams, the newest generation first. */
  async everyKey(patient: Uint8Array): Promise<HeldKeys[]> {
    const found: HeldKeys[] = []
    for (const envelope of this.of(patient, {}, everyMax)) found.push(...(await this.#keysOf(envelope)))
    return found
  }

  async #keysOf(envelope: KeptEnvelope): Promise<HeldKeys[]> {
    const contents = await this.contents(envelope)
    if (contents === undefined) return []
    return [...contents.streams, ...contents.diagnosis].map(({ stream, keys }) => {
      const nodes = envelopeNodes(contents, keys)
      return { gid: envelope.gid, generation: envelope.generation, first: contents.first, stream, nodes }
    })
  }

  #quarantine(reference: string): void {
    const { database, logger, nowMs } = this.#deps
    const reason = 'the envelope does not open'
    database.run(
      "INSERT OR IGNORE INTO quarantine (what, reference, reason, ms) VALUES ('envelope', ?, ?, ?)",
      ...[reference, reason, nowMs()],
    )
    logger.warn({ envelope: reference }, reason)
  }
}
