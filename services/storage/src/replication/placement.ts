/**
 * Rendezvous hashing: each store gets a score per block, and the highest hold it. Every node computes the same order
 * from the member list alone, and a store that comes or goes moves only the blocks that it gains or loses.
 */
import { createHash } from 'node:crypto'
import type { Member } from '../access/members.ts'

/** The members in the order in which they shall hold a block: by SHA-256(digest || account), highest first. */
export function rankMembers(digest: Uint8Array, members: readonly Member[]): Member[] {
  const scored = members.map((member) => ({
    member,
    score: createHash('sha256').update(digest).update(member.account).digest(),
  }))
  scored.sort((a, b) => Buffer.compare(b.score, a.score))
  return scored.map(({ member }) => member)
}
