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
  'rule.anchor-due',
  'storage.missing',
  'witness.ahead',
  'witness.invalid',
])

/** True if a finding of this code may be over by the next look, and is told again when it comes back. */
export function canPass(code: string): boolean {
  return passing.has(code)
}

/** Height of the block that holds a leaf, as far as it is known. */
export type HeightOf = (chain: ChainName, index: number) => number | undefined

/** Findings of one kind that are counted although they are not listed. */
const beyondMax = 100_000

/** What is listed up to a number: a code, and the node it is about. */
function kindOf({ code, node }: FindingParts): string {
  return `${code} ${node ?? ''}`
}

/** Collects findings, each once. */
export class FindingList {
  readonly #found = new Map<string, FindingParts>()
  /** How many of a kind are listed. */
  readonly #counts = new Map<string, number>()
  /** Keys of those that are not, by kind: who looks again meets the same ones again. */
  readonly #beyond = new Map<string, Set<string>>()
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
    const kind = kindOf(parts)
    const count = this.#counts.get(kind) ?? 0
    if (count >= findingsPerKindMax) {
      const beyond = this.#beyond.get(kind) ?? new Set()
      if (beyond.size < beyondMax) this.#beyond.set(kind, beyond.add(key))
      return
    }
    this.#counts.set(kind, count + 1)
    const told = { ...parts, message: plainText(parts.message) }
    this.#found.set(key, told)
    this.#onFinding?.(told)
  }

  /** Ends a look at the nodes: what has passed since the last one is a new finding when it comes back. */
  endLook(): void {
    for (const [key, parts] of this.#found) {
      const kind = kindOf(parts)
      if (!canPass(parts.code) || this.#seen.has(key)) continue
      this.#found.delete(key)
      this.#counts.set(kind, (this.#counts.get(kind) ?? 1) - 1)
      this.#beyond.delete(kind)
    }
    this.#seen = new Set()
  }

  /** How many findings of each kind were left out. */
  get leftOut(): readonly string[] {
    return [...this.#beyond].map(([kind, { size }]) => {
      const count = size < beyondMax ? String(size) : `at least ${size}`
      return `${count} further findings ${kind.trimEnd()} are not listed`
    })
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
