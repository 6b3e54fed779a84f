/** The tail of what a follower applied, for consumers that keep up: nothing is fetched twice. */
import type { FollowedBlock } from './follower-types.ts'

const blocksMax = 64
const sizeBytesMax = 8 * 1024 * 1024

function sizeOf({ leaves }: FollowedBlock): number {
  return leaves.reduce((sum, leaf) => sum + leaf.length, 0)
}

/** Contiguous blocks, oldest first: at most 64, and 8 MiB of leaves unless it is one. */
export class RecentBlocks {
  readonly #blocks: FollowedBlock[] = []
  #sizeBytes = 0

  /** Adds the next block; the oldest ones go. */
  add(block: FollowedBlock): void {
    this.#blocks.push(block)
    this.#sizeBytes += sizeOf(block)
    while (this.#blocks.length > blocksMax || (this.#sizeBytes > sizeBytesMax && this.#blocks.length > 1)) {
      this.#sizeBytes -= sizeOf(this.#blocks.shift() as FollowedBlock)
    }
  }

  /** The block whose first leaf has this index and all after it; undefined if it is not here. */
  from(firstIndex: number): FollowedBlock[] | undefined {
    const first = this.#blocks.findIndex((block) => block.firstIndex === firstIndex)
    return first === -1 ? undefined : this.#blocks.slice(first)
  }
}
