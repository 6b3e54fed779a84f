/** What an audit says (SPEC.md §2, §3): findings with stable codes, and in words what nobody looked at. */
import type { ChainName } from '@healthblock/chain/transaction'

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
  readonly message: string
}

/** Most findings of one code about one node that are listed; the rest is counted. */
export const findingsPerKindMax = 100

/** Collects findings, each once. */
export class FindingList {
  readonly #found = new Map<string, FindingParts>()
  readonly #counts = new Map<string, number>()

  /** Adds a finding, unless it is known or its kind is full. */
  add(parts: FindingParts): void {
    const key = JSON.stringify([parts.code, parts.chain, parts.height, parts.index, parts.node])
    if (this.#found.has(key)) return
    const kind = `${parts.code} ${parts.node ?? ''}`
    const count = (this.#counts.get(kind) ?? 0) + 1
    this.#counts.set(kind, count)
    if (count <= findingsPerKindMax) this.#found.set(key, parts)
  }

  /** How many findings of each kind were left out. */
  get leftOut(): readonly string[] {
    return [...this.#counts]
      .filter(([, count]) => count > findingsPerKindMax)
      .map(([kind, count]) => `${count - findingsPerKindMax} further findings ${kind.trimEnd()} are not listed`)
  }

  /** All findings, in the order in which they came; `heightOf` fills in heights that follow from an index. */
  list(heightOf: (chain: ChainName, index: number) => number | undefined): Finding[] {
    return [...this.#found.values()].map(({ code, chain, height, index, node, message }) => {
      const derived = chain === undefined || index === undefined ? undefined : heightOf(chain, index)
      return {
        code,
        chain: chain ?? null,
        height: height ?? derived ?? null,
        index: index ?? null,
        node: node ?? null,
        message,
      }
    })
  }
}
