/** What an audit says (SPEC.md §2, §3): findings with stable codes, and in words what nobody looked at. */
import type { ChainName } from '@healthblock/chain/chains'
import { plainText } from '@healthblock/runtime/plain-text'

/** Something that is not as it must be. `chain`, `height`, `index`, `node` are null where they do not apply. */
export interface Finding {
  /** A code of SPEC.md §3: dotted lower-case text. */
  readonly code: string
  readonly chain: ChainName | null
  readonly height: number | null
  /** Index of the leaf in the log. */
  readonly index: number | null
  /** Name of the node that serves it. */
  readonly node: string | null
  /** One sentence for a person; no payload. */
  readonly message: string
}

/** How far a chain was replayed. Roots in lower-case hex. */
export interface ChainReport {
  readonly height: number
  readonly size: number
  readonly root: string
  readonly stateRoot: string
}

/** The result of an audit: `ok` exactly if there are no findings. */
export interface AuditReport {
  readonly ok: boolean
  readonly chains: Readonly<Record<ChainName, ChainReport>>
  /** Transactions of both chains that were replayed. */
  readonly transactions: number
  readonly seconds: number
  /** One sentence for each thing that was not checked. */
  readonly notChecked: readonly string[]
  readonly findings: readonly Finding[]
}

/** A finding in the making: what is absent does not apply. */
export interface FindingParts {
  readonly code: string
  readonly chain?: ChainName
  readonly height?: number
  readonly index?: number
  readonly node?: string
  /** Tells findings of one code and place apart; not a part of the report. */
  readonly subject?: string
  readonly message: string
}

/** Most findings of one code about one node that are listed; the rest is counted. */
export const findingsPerKindMax = 100

/** What may be over by the next look: a node that was away, a checkpoint that was old. */
const passing = new Set([
  'node.unreachable',
  'node.refused',
  'node.behind',
  'checkpoint.invalid',
  'checkpoint.log-line',
  'checkpoint.stale',
  'log.unavailable',
  'entry.missing',
  'tile.missing',
  'incident.unavailable',
  'succession.missing',
  'succession.invalid',
  'storage.missing',
  'witness.ahead',
  'witness.invalid',
])

/** Height of the block that holds a leaf, as far as it is known. */
export type HeightOf = (chain: ChainName, index: number) => number | undefined

/** Collects findings, each once. */
export class FindingList {
  readonly #found = new Map<string, FindingParts>()
  readonly #counts = new Map<string, number>()
  readonly #onFinding: ((finding: FindingParts) => void) | undefined
  /** Keys of findings that may pass and were seen again in this look. */
  #seen = new Set<string>()

  /** @param onFinding - Told of each finding when it is new. */
  constructor(onFinding?: (finding: FindingParts) => void) {
    this.#onFinding = onFinding
  }

  /** Adds a finding, unless it is known or its kind is full. */
  add(parts: FindingParts): void {
    const key = JSON.stringify([parts.code, parts.chain, parts.height, parts.index, parts.node, parts.subject])
    this.#seen.add(key)
    if (this.#found.has(key)) return
    const kind = `${parts.code} ${parts.node ?? ''}`
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count > findingsPerKindMax) return
    const told = { ...parts, message: plainText(parts.message) }
    this.#found.set(key, told)
    this.#onFinding?.(told)
  }

  /** Ends a look at the nodes: what has passed since the last one is a new finding when it comes back. */
  endLook(): void {
    for (const [key, { code, node }] of this.#found) {
      if (!passing.has(code) || this.#seen.has(key)) continue
      this.#found.delete(key)
      const kind = `${code} ${node ?? ''}`
      this.#counts.set(kind, (this.#counts.get(kind) ?? 1) - 1)
    }
    this.#seen = new Set()
  }

  /** How many findings of each kind were left out. */
  get leftOut(): readonly string[] {
    return [...this.#counts]
      .filter(([, count]) => count > findingsPerKindMax)
      .map(([kind, count]) => `${count - findingsPerKindMax} further findings ${kind.trimEnd()} are not listed`)
  }

  /** All findings, in the order in which they came. */
  list(heightOf: HeightOf): Finding[] {
    return [...this.#found.values()].map((parts) => toFinding(parts, heightOf))
  }
}

/** Fills in what is absent; `heightOf` gives heights that follow from an index. */
export function toFinding(parts: FindingParts, heightOf: HeightOf): Finding {
  const { code, chain, height, index, node, message } = parts
  const derived = chain === undefined || index === undefined ? undefined : heightOf(chain, index)
  return {
    code,
    chain: chain ?? null,
    height: height ?? derived ?? null,
    index: index ?? null,
    node: node ?? null,
    message,
  }
}
