/** The faults that nodes found in their own files: signed, and open until their operator acknowledges them. */
import type { Ledger } from '@healthblock/chain/block'
import { chainOf } from '@healthblock/chain/chains'
import { type Incident, parseStatement, verifyStatement } from '@healthblock/chain/statement'
import { fromBase64, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { policiesOf } from './governance.ts'
import type { LiveNode, Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'

/** Collects every node's incidents: those that nobody acknowledged and those that are not signed are findings. */
export async function collectIncidents(nodes: Nodes, ledger: Ledger, findings: FindingList): Promise<void> {
  const keys = nodeKeys(ledger)
  await Promise.all(
    nodes.answering.map((node) => collectFrom(nodes, node, { ledgerId: ledger.ledgerId, keys, findings })),
  )
}

interface Context {
  readonly ledgerId: Uint8Array
  /** Node keys by account, of every policy. */
  readonly keys: ReadonlyMap<string, readonly Uint8Array[]>
  readonly findings: FindingList
}

function nodeKeys(ledger: Ledger): Map<string, Uint8Array[]> {
  const keys = new Map<string, Uint8Array[]>()
  for (const { nodes } of policiesOf(ledger)) {
    for (const [, account, key] of nodes) keys.set(toHex(account), [...(keys.get(toHex(account)) ?? []), key])
  }
  return keys
}

/** The incident, if one of the keys signed it. */
function verifiedBy(keys: readonly Uint8Array[], json: Record<string, unknown>, ledgerId: Uint8Array): Incident {
  let failure: unknown
  for (const publicKey of keys) {
    try {
      return verifyStatement({ name: 'incident', signed: signedOf(json), ledgerId, publicKey })
    } catch (error) {
      failure = error
    }
  }
  throw failure
}

async function collectFrom(nodes: Nodes, node: LiveNode, context: Context): Promise<void> {
  const asked = await nodes.ask(node, (client, url) => client.list('incidents', { url }))
  if (asked.kind === 'gone') return
  if (asked.kind !== 'answer') {
    if (asked.kind === 'refused' && (asked.status === 401 || asked.status === 403)) return
    const message = `${node.name} does not serve its list of incidents`
    context.findings.add({ code: 'incident.unavailable', node: node.name, message })
    return
  }
  for (const [number, item] of asked.value.entries()) judge(node, number, item, context)
}

function judge(node: LiveNode, number: number, item: unknown, { ledgerId, keys, findings }: Context): void {
  let incident: Incident
  let acknowledged: unknown
  try {
    const json = item as Record<string, unknown>
    const account = json.statement === undefined ? undefined : statedNode(json)
    const known = account === undefined ? undefined : keys.get(account)
    if (known === undefined) throw new TypeError('not signed by a node of the policy')
    incident = verifiedBy(known, json, ledgerId)
    acknowledged = json.acknowledged
  } catch (error) {
    const message = `incident ${number} of ${node.name} is not a signed statement: ${messageOf(error)}`
    findings.add({ code: 'incident.forged', node: node.name, message })
    return
  }
  if (typeof acknowledged === 'number') return
  const { code, chain, height, index, file, healed } = incident
  const place = `${chainOf(chain)}, height ${height}, index ${index} (${file})`
  const message = `${node.name} found ${code} in its own files: ${place}, ${healed === 1 ? 'healed' : 'not healed'}, not acknowledged`
  findings.add({
    code: `incident.${code}`,
    chain: chainOf(chain),
    height,
    index,
    node: node.name,
    message,
  })
}

function signedOf(json: Record<string, unknown>): { statement: Uint8Array; signature: Uint8Array } {
  if (typeof json.statement !== 'string' || typeof json.signature !== 'string') throw new TypeError('no signature')
  return { statement: fromBase64(json.statement), signature: fromBase64(json.signature) }
}

function statedNode(json: Record<string, unknown>): string {
  return toHex(parseStatement('incident', signedOf(json).statement).node)
}
