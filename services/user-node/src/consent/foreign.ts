/**
 * What somebody else did to a person's streams with her op key: a thief of it, or this node itself, of which the folder is an older copy. The
 * ledger's cuts take the place of this node's, its numbers go beyond them, and records that lie where they do not fit any more are sealed anew.
 */
import { cutAheadMax, generationStepMax } from '@healthblock/chain/rules'
import type { Cut } from '@healthblock/chain/transaction'
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Database } from '@healthblock/runtime/sqlite'
import type { LedgerView } from '../ledger-view.ts'
import type { Person } from '../store/person.ts'

interface Dependencies {
  readonly database: Database
  readonly ledger: LedgerView
}

/** True if the ledger has a generation with other keys than this node's: nobody else can open what it seals with them. */
export function isForeignGeneration(
  { database, ledger }: Dependencies,
  account: Uint8Array,
  generation: number,
): boolean {
  const tx = ledger.openedBy(account, generation)
  return tx !== undefined && database.get('SELECT 1 FROM consent WHERE tx = ?', tx) === undefined
}

/**
 * True if the ledger is ahead of the person's keys, or has the generation in use with other ones: the folder is an older copy, or somebody else
 * has the op key. These keys are not the current ones, and nothing is sealed with them.
 */
export function isOutrun(parts: Dependencies, { account, hot }: Person): boolean {
  return parts.ledger.currentGeneration(account) > hot.generation || isForeignGeneration(parts, account, hot.generation)
}

/**
 * True if somebody else ended a generation of this node's. What it sealed in it may be newer than that end, by which keys may have been taken from
 * a doctor: the folder is an older copy, and its numbers may lie within the cut.
 */
export function isEndedByOthers({ database, ledger }: Dependencies, account: Uint8Array, generation: number): boolean {
  const newest = Math.min(ledger.currentGeneration(account), generation + generationStepMax)
  for (let next = generation + 1; next <= newest; next++) {
    const tx = ledger.openedBy(account, next)
    if (tx !== undefined) return database.get('SELECT 1 FROM consent WHERE tx = ?', tx) === undefined
  }
  return false
}

/**
 * Takes over what the ledger has and this node does not: cuts of the generations before the current one, and how far this node's own cuts that
 * are not on record have to reach. Inside the caller's transaction. It is soon done if there is nothing.
 *
 * @param since - the current generation when it was done last: of those before it nothing changes any more.
 * @returns the streams that were changed.
 */
export function adoptCuts({ database, ledger }: Dependencies, person: Person, since: number): Uint8Array[] {
  const { account } = person
  const current = ledger.currentGeneration(account)
  const changed: Uint8Array[] = []
  if (current === 0) return changed
  const newest = "SELECT max(generation) AS generation FROM consent WHERE account = ? AND state = 'committed'"
  const committed = Number(database.get(newest, account)?.generation ?? 0)
  for (const { stream } of person.streams) {
    let isForeign = false
    for (let generation = current - 1; generation >= since; generation--) {
      const last = ledger.cutOf(account, stream, generation)
      if (last === undefined) break
      const key = [account, stream, generation] as const
      const own = database.get('SELECT last FROM cut WHERE account = ? AND stream = ? AND generation = ?', ...key)
      if (own !== undefined && Number(own.last) === last) {
        // Since this node's last one on record, somebody else may have made several; what is alike in one may differ in another.
        if (generation < committed) break
        continue
      }
      database.run('INSERT OR REPLACE INTO cut (account, stream, generation, last) VALUES (?, ?, ?, ?)', ...key, last)
      isForeign = true
    }
    const before = ledger.cutOf(account, stream, current - 1) ?? 0
    const least = Math.max(before, ledger.lastRecord(account, stream).sequence)
    const raised = database.run(
      'UPDATE cut SET last = ? WHERE account = ? AND stream = ? AND generation >= ? AND last < ?',
      ...[least, account, stream, current, least],
    )
    // One from before version 4 of the rules may lie where no numbers lead: the stream is barred, and is not filled with gaps for ever.
    if (isForeign && before - ledger.lastRecord(account, stream).sequence <= cutAheadMax)
      database.run(
        'UPDATE stream SET sequence = max(sequence, ?) WHERE account = ? AND stream = ?',
        ...[before, account, stream],
      )
    if (isForeign || raised > 0) changed.push(stream)
  }
  return changed
}

/**
 * Cuts that the rules ask for of open streams that are none of this node's: a thief's device has some. They end at their newest record.
 *
 * @param generation - the one that the `key` opens.
 */
export function foreignCuts({ ledger }: Dependencies, person: Person, generation: number): Cut[] {
  const { account } = person
  const current = ledger.currentGeneration(account)
  const isOwn = (stream: Uint8Array): boolean => person.streams.some((own) => equalBytes(own.stream, stream))
  return ledger.openStreams(account).flatMap(({ stream, generation: first }) => {
    if (isOwn(stream)) return []
    const before = ledger.cutOf(account, stream, Math.max(0, current - 1)) ?? 0
    const last = Math.max(before, ledger.lastRecord(account, stream).sequence)
    const cuts: Cut[] = []
    for (let cut = Math.max(current, first, 1); cut < generation; cut++) cuts.push([stream, cut, last])
    return cuts
  })
}
