/**
 * Puts of large blocks become durable with one sync: behind the records of a group lies a record that says what is to be
 * put, and the rows that are committed then are synced at some later time. After a loss of power the next start puts again
 * what the tables have not heard of (SPEC.md §8). A journal is sealed for its place: it is either whole, and of this store, or nothing.
 */
import { existsSync, statSync } from 'node:fs'
import { atRestOverheadBytes, openAtRest, sealAtRest } from './at-rest.ts'
import { decodePuts, encodePuts } from './group-message.ts'
import type { PutOperation } from './operations.ts'
import { readRecord, recordsOf } from './pack-files.ts'
import { encodeMark, endOf, markBytes, type Place, packPathOf, parseMark, type RecordPlace } from './pack-place.ts'

/** In place of a block's digest. */
export const journalDigest = new Uint8Array(32)

/** Puts, each with the place of its block, and the place of the journal that has them. */
export interface JournaledPuts {
  readonly staged: ReadonlyMap<PutOperation, Uint8Array>
  readonly journal: Uint8Array
}

/** What the packs have behind what the tables know of. */
export interface Unheard {
  /** In their order. The blocks of the last one are whole, and with them those of all before it were durable. */
  readonly groups: readonly JournaledPuts[]
  /** Records before the end that no group has. */
  readonly strays: readonly Place[]
  /** Behind the last group. */
  readonly end: Omit<Place, 'length'>
}

/** True for a record that is no block. */
export function isJournal(digest: Uint8Array): boolean {
  return Buffer.compare(digest, journalDigest) === 0
}

/** Length of the journal of puts in a pack, sealed. */
export function journalBytesOf(content: Uint8Array): number {
  return content.length + atRestOverheadBytes
}

/** What a journal says: the number of its puts, their blocks' places, and the puts themselves. */
export function encodeJournal(staged: ReadonlyMap<PutOperation, Uint8Array>): Uint8Array {
  const count = Buffer.alloc(4)
  count.writeUInt32BE(staged.size)
  return Buffer.concat([count, ...staged.values(), encodePuts([...staged.keys()])])
}

/** Seals a journal for its place. */
export function sealJournal(key: Uint8Array, place: Place, content: Uint8Array): Uint8Array {
  return sealAtRest(key, encodeMark(place), content)
}

function decodeJournal(content: Buffer): Map<PutOperation, Uint8Array> {
  const count = content.readUInt32BE(0)
  const marks = Array.from({ length: count }, (_, at) =>
    Uint8Array.from(content.subarray(4 + at * markBytes, 4 + (at + 1) * markBytes)),
  )
  const puts = decodePuts(content.subarray(4 + count * markBytes))
  return new Map(puts.map((put, at) => [put, marks[at] as Uint8Array]))
}

/** The journal at a place; undefined if it is not whole. */
function readJournal(folder: string, key: Uint8Array, place: Place): JournaledPuts | undefined {
  const journal = encodeMark(place)
  const sealed = readRecord(folder, place)
  const content = sealed && openAtRest(key, journal, sealed)
  return content && { staged: decodeJournal(content), journal }
}

function isWhole(folder: string, key: Uint8Array, { staged }: JournaledPuts): boolean {
  return [...staged].every(([{ digest }, mark]) => {
    const sealed = readRecord(folder, parseMark(mark))
    return sealed !== undefined && openAtRest(key, digest, sealed) !== undefined
  })
}

/** Looks at what lies behind a place. @param from - how far the newest pack of the tables is committed. */
export function findUnheard(folder: string, key: Uint8Array, from: Omit<Place, 'length'>): Unheard {
  const records: RecordPlace[] = []
  for (let { pack, offset } = from; existsSync(packPathOf(folder, pack)); pack++, offset = 0) {
    const path = packPathOf(folder, pack)
    for (const record of recordsOf(path, { from: offset, to: statSync(path).size })) records.push({ pack, ...record })
  }
  const groups = records
    .filter(({ digest }) => isJournal(digest))
    .map((place) => readJournal(folder, key, place))
    .filter((group) => group !== undefined)
  // Of the last ones a sync may have been under way: nobody was answered about them.
  while (groups.length > 0 && !isWhole(folder, key, groups.at(-1) as JournaledPuts)) groups.pop()
  const last = groups.at(-1)
  if (last === undefined) return { groups, strays: [], end: from }
  const end = { pack: parseMark(last.journal).pack, offset: endOf(parseMark(last.journal)) }
  const named = new Set(groups.flatMap(({ staged, journal }) => [...staged.values(), journal].map(nameOf)))
  const isBefore = ({ pack, offset }: Place): boolean => pack < end.pack || (pack === end.pack && offset < end.offset)
  const strays = records.filter((place) => isBefore(place) && !named.has(nameOf(encodeMark(place))))
  return { groups, strays, end }
}

function nameOf(mark: Uint8Array): string {
  return Buffer.from(mark).toString('latin1')
}
