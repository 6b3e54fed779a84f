/** Lists of what other stores have heard of erasures, which are read a page at a time from where they were read up to. */
import { toHex } from '@healthblock/encoding/bytes'
import { hashBlock } from '../store/block-id.ts'
import type { BelowEntry } from '../store/operations.ts'

/** An entry of another store's list: its number there, and what tells it from another one that has the same number. */
export interface ListPlace {
  id: number
  name: string
}

/** A word of another store's list. */
export interface Word {
  id: number
  bytes: Uint8Array
}

/** What another store lists below an erased root. */
export type BelowPlaced = BelowEntry & { id: number }

/** Where a word is in its store's list. */
export function placeOfWord({ id, bytes }: Word): ListPlace {
  return { id, name: toHex(hashBlock(bytes)) }
}

/** Where an entry of what lies below is in its store's list. */
export function placeBelow({ id, digest }: BelowPlaced): ListPlace {
  return { id, name: toHex(digest) }
}

/**
 * The pages of another store's list from where it was read up to. A store that began anew, or was put back from a copy, gives
 * its numbers once more: where the last entry that was read is another one now, all of the list is read again.
 */
export async function* pagesAfter<Entry>(
  read: ListPlace,
  ask: (after: number) => Promise<Entry[]>,
  placeOf: (entry: Entry) => ListPlace,
): AsyncGenerator<Entry[]> {
  let after = Math.max(0, read.id - 1)
  for (let isFirst = read.id > 0; ; isFirst = false) {
    let page = await ask(after)
    if (isFirst) {
      const [first, ...rest] = page
      const { id, name } = first === undefined ? { id: 0, name: '' } : placeOf(first)
      page = id === read.id && name === read.name ? rest : await ask(0)
    }
    const last = page.at(-1)
    if (last === undefined) return
    yield page
    after = placeOf(last).id
  }
}

/** As it is kept. */
export function encodeListPlace({ id, name }: ListPlace): Uint8Array {
  return Buffer.from(`${id} ${name}`)
}

/** Reads what {@link encodeListPlace} wrote, or a number alone as earlier versions wrote it, or nothing. */
export function parseListPlace(bytes: Uint8Array | undefined): ListPlace {
  const [id, name = ''] = Buffer.from(bytes ?? [])
    .toString()
    .split(' ')
  return { id: Number(id), name }
}
