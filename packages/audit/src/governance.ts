/** What the audit says of how the ledger is governed: the policy trail against the replayed policies, and evidence against nodes. */
import type { Ledger } from '@healthblock/chain/block'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { evidenceKinds } from '@healthblock/chain/misconduct'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import { docTables, type EvidenceRecord, type PolicyRecord, userTables } from '@healthblock/chain/tables'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import type { FindingList } from './report.ts'

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

/** True if the organisations have acted since: the node is in the policy no more, or all of its keys there are others. */
function isSettled(ledger: Ledger, { node, o }: EvidenceRecord, chain: ChainName): boolean {
  const policies = policiesOf(ledger)
  const own = (policy: PolicyRecord | undefined) => policy?.nodes.find(([, account]) => equalBytes(account, node))
  const now = own(policies.at(-1))
  if (now === undefined) return true
  const size = chain === 'docchain' ? (ledger.index(chain).boundaryAfter(o)?.anchorSize ?? 0) : o
  const then = own(policies.findLast((policy) => policy.o < size))
  return then !== undefined && now.slice(2).every((key, i) => !equalBytes(key, then[i + 2] as Uint8Array))
}

/** Evidence on record is a finding until the organisations have removed the node or replaced its keys. */
export function listEvidence(ledger: Ledger, findings: FindingList, notes: string[]): void {
  let settled = 0
  for (const chain of chainNames) {
    const tables = chain === 'userchain' ? userTables : docTables
    for (let k = 0; ; k++) {
      const record = tables.evidence.get(ledger.state(chain), k)
      if (record === undefined) break
      if (isSettled(ledger, record, chain)) settled++
      else add(chain, record, findings)
    }
  }
  if (settled > 0) notes.push(`evidence against nodes that were removed or have other keys since: ${settled} on record`)
}

function add(chain: ChainName, record: EvidenceRecord, findings: FindingList): void {
  const { kind, node, o, size, tx } = record
  const { code, text } = words[kind] as { code: string; text: string }
  const about = size === undefined ? `transaction ${toHex(tx ?? new Uint8Array())}` : `${size} entries of ${chain}`
  const message = `node ${toHex(node)} ${text} (${about}): proved at index ${o}`
  findings.add({ code, chain, index: o, node: toHex(node), message })
}
