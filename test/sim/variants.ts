/**
 * Builds of the accounting node with deliberate faults: each is a few lines of its source text, changed when it is loaded. The first
 * ones are bad nodes, of which a run may have one among three honest ones. The others are mutations: a fault that somebody could have
 * written, in all nodes, which the invariants must find.
 */

import { mutations } from './mutations.ts'
import type { SourceChange, Variant } from './source-change.ts'

const core = (file: string, from: string, to: string): SourceChange => ({
  file: `accounting-node/core/${file}`,
  from,
  to,
})
/** A leader that anchors Docchain four blocks late, and after a few blocks never moves its anchor again. */
const badAnchor: Variant = {
  name: 'bad-anchor',
  changes: [
    core(
      'sequencer.ts',
      'return published !== undefined && published.size >= (anchor?.size ?? 0) ? published : anchor',
      `const core = this.#core
    const late = core.ledger.index('userchain').boundaryAt(Math.max(0, (published?.height ?? 0) - 4))
    return late !== undefined && late.size >= (anchor?.size ?? 0) && core.head().height < 6 ? late : anchor`,
    ),
  ],
}

/**
 * A node that signs two roots for every size and tells each peer another one, sends two blocks of one height to different peers, acks
 * whatever it is asked to, and says of itself that it has staged nothing.
 */
const badEquivocation: Variant = {
  name: 'bad-equivocation',
  changes: [
    core(
      'attester.ts',
      'share(core, line, options.again === true)',
      `for (const rank of core.members.others(core.rank)) {
    const root = rank % 2 === 0 ? line.root : line.root.map((byte) => byte ^ 1)
    const cosigner = { rank: core.rank, signer: core.options.keys.cosigner, nowMs: core.nowMs() }
    const text = rank % 2 === 0 ? line.line : cosignCheckpoint({ origin: line.origin, size: line.size, root }, cosigner)
    core.call(rank, 'cosignature', encodeMessage({ size: line.size, root, line: encodeUtf8(text) })).catch(() => {})
  }`,
    ),
    core(
      'proposal.ts',
      'for (const rank of core.members.others(core.rank)) void this.#ask(rank, order)',
      `const { pending } = this.#proposal
    const other = core.ledger.buildBlock({
      chain: core.chain,
      candidates: pending.transactions.slice(1).map(({ transaction }) => transaction),
      nowMs: core.nowMs() + 7,
      ...(pending.head.anchor === undefined ? {} : { anchor: pending.head.anchor }),
    }).pending
    const otherOrder = other === undefined ? order : encodeMessage({ height, term: this.#term, block: encodeCbor(other.leaves) })
    for (const rank of core.members.others(core.rank)) {
      void this.#ask(rank, rank % 2 === 0 ? order : otherOrder)
      if (rank % 3 === 0) void core.call(rank, 'stage', rank % 2 === 0 ? otherOrder : order).catch(() => {})
    }`,
    ),
    core(
      'proposal.ts',
      "import { equalBytes } from '@healthblock/encoding/bytes'",
      "import { equalBytes } from '@healthblock/encoding/bytes'\nimport { encodeCbor } from '@healthblock/encoding/cbor'",
    ),
    core('stager.ts', "throw new Refused('promised')\n  }\n  const { size, root }", '}\n  const { size, root }'),
    core('stager.ts', 'const above = staged !== undefined && staged.height > height', 'const above = false'),
  ],
}

/**
 * A leader that decides with fewer acks than it needs, sends blocks that nobody decided as decided ones, and cosigns ahead of what it
 * has executed.
 */
const badDecision: Variant = {
  name: 'bad-decision',
  changes: [
    core('proposal.ts', 'if (this.#acks.size < this.#core.members.quorum) return\n', ''),
    core(
      'catch-up.ts',
      'const withStaged = blocks.length === 0 && staged?.height === from',
      `if (blocks.length === 0 && staged?.height === from) {
    blocks.push([staged.blockBytes, encodeAcks([{ rank: core.rank, term: staged.term, signature: staged.signature }])])
  }
  const withStaged = false`,
    ),
  ],
}

/** What one bad node may be. */
export const badVariants: readonly Variant[] = [badAnchor, badEquivocation, badDecision]

/**
 * The changes of a variant.
 *
 * @throws {Error} if there is no such variant.
 */
export function changesOf(name: string): readonly SourceChange[] {
  const found = [...badVariants, ...mutations].find((variant) => variant.name === name)
  if (found === undefined) throw new Error(`there is no variant ${name}`)
  return found.changes
}
