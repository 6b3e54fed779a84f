/** What nodes signed, line by line, also below a quorum: two roots for one size, or a root that the log does not have. */
import type { Ledger } from '@healthblock/chain/block'
import type { ChainName } from '@healthblock/chain/chains'
import { parseCheckpoint, signatureTypes } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { noteSigner } from '@healthblock/chain/misconduct'
import { nodeChainKeys } from '@healthblock/chain/policy'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'

/** Signed heads that are remembered: those of some hours, of four nodes. */
const headsMax = 65_536

interface Served {
  readonly chain: ChainName
  /** Name of the node that served it. */
  readonly node: string
  readonly note: string
}

/** True for a log or cosigner key of this chain in the policy in force. */
function isInForce(ledger: Ledger, chain: ChainName, key: string): boolean {
  return ledger.policy(chain).nodes.some((node) => {
    const { log, cosigner } = nodeChainKeys(node, chain)
    return toHex(log) === key || toHex(cosigner) === key
  })
}

/** Remembers who signed which head. One instance for one audit. */
export class SignedHeads {
  readonly #findings: FindingList
  /** Not looked at yet: keys are known once Userchain is replayed. */
  #served: Served[] = []
  /** By key, chain and size. */
  readonly #roots = new Map<string, Uint8Array>()
  readonly #nodes: Nodes

  constructor(nodes: Nodes, findings: FindingList) {
    this.#nodes = nodes
    this.#findings = findings
  }

  /** Takes a checkpoint as a node served it, verified or not. */
  take(served: Served): void {
    this.#served.push(served)
  }

  /** Judges everything taken since the last time by the replayed ledger. Returns how many lines were verified. */
  judge(ledger: Ledger): number {
    const lines = this.#served.flatMap(({ chain, node, note }) => {
      try {
        const { signatures, ...head } = parseCheckpoint(note)
        return signatures.map((line) => ({ chain, node, head: { ...head, signatures: [line], line } }))
      } catch (error) {
        if (!(error instanceof ChainError)) throw error
        return []
      }
    })
    this.#served = []
    const view = { userchain: ledger.state('userchain'), size: ledger.head('userchain').size }
    const signed = lines.flatMap(({ chain, node, head }) => {
      const signer = noteSigner(head, { ...view, chain })
      if (signer === undefined) return []
      if (signer.key.type === signatureTypes.log) this.#nodes.learn(signer.account, node)
      return [{ chain, head, account: signer.account, key: toHex(signer.key.publicKey) }]
    })
    for (const { chain, head, account, key } of signed) {
      const node = this.#nodes.nameOf(account) ?? `node ${toHex(account).slice(0, 16)}`
      const by = isInForce(ledger, chain, key) ? node : `a key that ${node} has no longer (lost, stolen or replaced)`
      const { size, root } = head
      const place = { chain, index: Math.max(0, size - 1), node }
      const before = this.#remember(`${key} ${chain} ${size}`, root)
      if (before !== undefined && !equalBytes(before, root)) {
        const message = `${by} signed two roots of ${chain} at ${size} entries: ${toHex(before)} and ${toHex(root)}`
        this.#findings.add({ code: 'node.equivocation', ...place, message })
      }
      if (size > ledger.head(chain).size) continue
      const boundary = ledger.index(chain).boundary(size)
      if (boundary !== undefined && equalBytes(boundary.root, root)) continue
      const message = `${by} signed a root of ${chain} at ${size} entries that the log does not have: ${toHex(root)}`
      this.#findings.add({ code: 'node.conflict', ...place, message })
    }
    return signed.length
  }

  /** What the key had signed for this size before. */
  #remember(name: string, root: Uint8Array): Uint8Array | undefined {
    const before = this.#roots.get(name)
    if (before !== undefined) return before
    this.#roots.set(name, root)
    if (this.#roots.size > headsMax) this.#roots.delete(this.#roots.keys().next().value as string)
    return undefined
  }
}
