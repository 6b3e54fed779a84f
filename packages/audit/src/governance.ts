/** What the audit says of how the ledger is governed: the policy trail against the replayed policies, and evidence against nodes. */
import type { Ledger } from '@healthblock/chain/block'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { keyAt } from '@healthblock/chain/live-at'
import type { Boundary } from '@healthblock/chain/log-index'
import { evidenceKinds, noteSigner, parseSignedStatement, parseSingleNote } from '@healthblock/chain/misconduct'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import { parseStatement } from '@healthblock/chain/statement'
import { docTables, type EvidenceRecord, keyRoles, type PolicyRecord, userTables } from '@healthblock/chain/tables'
import type { EvidenceBody } from '@healthblock/chain/transaction'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'
import type { AuditedBlock } from './rules.ts'

/** Every policy on record, oldest first. */
export function policiesOf(ledger: Ledger): PolicyRecord[] {
  const policies: PolicyRecord[] = []
  for (let k = 0; ; k++) {
    const policy = userTables.policy.get(ledger.state('userchain'), k)
    if (policy === undefined) return policies
    policies.push(policy)
  }
}

/** The steps of the trail that nodes showed must lie where replay found the policies to change. */
export function checkTrail(ledger: Ledger, trail: PolicyTrail, findings: FindingList): void {
  for (const { chain, size, root } of trail.heads) {
    const head = ledger.head(chain)
    if (size > head.size) continue
    const boundary = ledger.index(chain).boundary(size)
    const isHere = boundary !== undefined && equalBytes(boundary.root, root)
    if (isHere && ledger.isSwitch(chain, boundary.height)) continue
    const message = `a quorum published a change of the policy at ${size} entries of ${chain} that is not of this log`
    findings.add({ code: 'policy.fork', chain, index: size - 1, message })
  }
}

const words: Readonly<Record<number, { code: string; text: string }>> = {
  [evidenceKinds.equivocation]: { code: 'evidence.equivocation', text: 'signed two roots' },
  [evidenceKinds.conflict]: { code: 'evidence.conflict', text: 'signed a head that is not of this log' },
  [evidenceKinds.brokenPromise]: { code: 'evidence.broken-promise', text: 'did not do what it had promised' },
  [evidenceKinds.falseRefusal]: { code: 'evidence.false-refusal', text: 'refused falsely' },
}

/** Whose key shows it, by the state after its block or any later one: of a note its signer's, of a statement the node key at the stated height. Undefined for what no rule would let in. */
function signingKey(ledger: Ledger, chain: ChainName, body: EvidenceBody, index: number): Uint8Array | undefined {
  const userchain = ledger.state('userchain')
  const sizeAt = (boundary: Boundary | undefined) => (chain === 'docchain' ? boundary?.anchorSize : boundary?.size) ?? 0
  const [first = new Uint8Array()] = body.notes
  const note = parseSingleNote(first)
  if (note !== undefined) {
    const size = chain === 'docchain' ? sizeAt(ledger.index(chain).boundaryAfter(index)) : index
    return noteSigner(note, { userchain, size, chain })?.key.publicKey
  }
  const signed = parseSignedStatement(first)
  if (signed === undefined) return undefined
  const name = body.kind === evidenceKinds.brokenPromise ? 'accepted' : 'refused'
  const { gateway, height } = parseStatement(name, signed.statement)
  return keyAt(userchain, gateway, keyRoles.node, sizeAt(ledger.index(chain).boundaryAt(height)))?.key
}

/** True if the node is in the policy no more, or all of its keys there are others than those beside `key`, the one that shows it. */
function isSettled(ledger: Ledger, node: Uint8Array, key: Uint8Array | undefined): boolean {
  const policies = policiesOf(ledger)
  const own = (policy: PolicyRecord | undefined) => policy?.nodes.find(([, account]) => equalBytes(account, node))
  const now = own(policies.at(-1))
  if (now === undefined) return true
  const then = own(
    policies.findLast((policy) =>
      own(policy)
        ?.slice(2)
        .some((one) => key !== undefined && equalBytes(one, key)),
    ),
  )
  return then !== undefined && now.slice(2).every((one, i) => !equalBytes(one, then[i + 2] as Uint8Array))
}

/**
 * Whether the organisations have removed the node of a piece of evidence, or replaced all keys that stood beside the one that shows it.
 *
 * @param record - of the chain's evidence table, in the ledger's newest state.
 * @param body - of the transaction at index `record.o`.
 * @see SPEC.md, evidence.equivocation
 */
export function isEvidenceSettled(
  { ledger, chain }: { readonly ledger: Ledger; readonly chain: ChainName },
  record: EvidenceRecord,
  body: EvidenceBody,
): boolean {
  return isSettled(ledger, record.node, signingKey(ledger, chain, body, record.o))
}

/**
 * Evidence on record is a finding until the organisations have removed the node or replaced its keys. One instance for one audit.
 *
 * What a key shows that was replaced before is nobody's fault but the thief's: it is counted with what is settled.
 */
export class EvidenceCheck {
  readonly #ledger: Ledger
  readonly #nodes: Pick<Nodes, 'nameOf'>
  readonly #findings: FindingList
  /** The key that shows it, by chain and index of the transaction. */
  readonly #keys = new Map<string, Uint8Array>()
  /** Chain and index of what is a finding already: a name that is learned later makes no second one. */
  readonly #told = new Set<string>()

  constructor(ledger: Ledger, nodes: Pick<Nodes, 'nameOf'>, findings: FindingList) {
    this.#ledger = ledger
    this.#nodes = nodes
    this.#findings = findings
  }

  /** Takes the next block, which the ledger has committed. */
  block({ chain, firstIndex, transactions }: Pick<AuditedBlock, 'chain' | 'firstIndex' | 'transactions'>): void {
    for (const [position, { body }] of transactions.entries()) {
      if (body.t !== 'evidence') continue
      const index = firstIndex + position
      const key = signingKey(this.#ledger, chain, body, index)
      if (key !== undefined) this.#keys.set(`${chain} ${index}`, key)
    }
  }

  /** Adds what is open to the findings, and counts in `notes` what is settled. */
  list(notes: string[]): void {
    let settled = 0
    for (const chain of chainNames) {
      const tables = chain === 'userchain' ? userTables : docTables
      for (let k = 0; ; k++) {
        const record = tables.evidence.get(this.#ledger.state(chain), k)
        if (record === undefined) break
        if (isSettled(this.#ledger, record.node, this.#keys.get(`${chain} ${record.o}`))) settled++
        else this.#add(chain, record)
      }
    }
    if (settled > 0)
      notes.push(`evidence against nodes that were removed or have other keys since: ${settled} on record`)
  }

  #add(chain: ChainName, { kind, node, o, size, tx }: EvidenceRecord): void {
    const place = `${chain} ${o}`
    if (this.#told.has(place)) return
    this.#told.add(place)
    const { code, text } = words[kind] as { code: string; text: string }
    const about = size === undefined ? `transaction ${toHex(tx ?? new Uint8Array())}` : `${size} entries of ${chain}`
    const account = toHex(node)
    const name = this.#nodes.nameOf(node)
    const who = name === undefined ? `node ${account}` : `${name} (node ${account})`
    const message = `${who} ${text} (${about}): proved at index ${o}`
    this.#findings.add({ code, chain, index: o, node: name ?? account, message })
  }
}
