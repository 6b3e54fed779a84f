/**
 * Rendezvous hashing: each store gets a score per block, and the highest hold it. Every node computes the same order
 * from the member list alone, and a store that comes or goes moves only the blocks that it gains or loses.
 */
import { hash } from 'node:crypto'
import type { Member } from '../access/members.ts'

/** What is hashed for a score: the digest and an account, 32 bytes each. Hashing never waits, so that one place serves all. */
const scored = new Uint8Array(64)

/** The members in the order in which they shall hold a block: by SHA-256(digest || account), highest first. */
export function rankMembers(digest: Uint8Array, members: readonly Member[]): Member[] {
  const ranked: Member[] = []
  const scores: string[] = []
  scored.set(digest)
  for (const member of members) {
    scored.set(member.account, digest.length)
    // A character for each byte: such texts compare as the bytes do, and cost half as much to make.
    const score = hash('sha256', scored, 'latin1')
    let at = ranked.length
    for (; at > 0 && (scores[at - 1] as string) < score; at--) {
      ranked[at] = ranked[at - 1] as Member
      scores[at] = scores[at - 1] as string
    }
    ranked[at] = member
    scores[at] = score
  }
  return ranked
}
