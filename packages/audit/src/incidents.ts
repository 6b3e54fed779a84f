/** The faults that nodes found in their own files: signed, and open until their operator acknowledges them. */
import { type Genesis, genesisAccounts } from '@healthblock/chain/genesis'
import { type Incident, parseStatement, verifyStatement } from '@healthblock/chain/statement'
import type { ChainName } from '@healthblock/chain/transaction'
import { fromBase64, toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import type { LiveNode, Nodes } from './nodes.ts'
import type { FindingList } from './report.ts'

const chainNames: Readonly<Record<number, ChainName>> = { 1: 'userchain', 2: 'docchain' }

/** Collects every node's incidents: those that nobody acknowledged and those that are not signed are findings. */
export async function collectIncidents(nodes: Nodes, genesis: Genesis, findings: FindingList): Promise<void> {
  const keys = nodeKeys(genesis)
  await Promise.all(nodes.answering.map((node) => collectFrom(nodes, node, { genesis, keys, findings })))
}

interface Context {
  readonly genesis: Genesis
  /** Node keys by account. */
  readonly keys: ReadonlyMap<string, Uint8Array>
  readonly findings: FindingList
}

function nodeKeys(genesis: Genesis): Map<string, Uint8Array> {
  const { nodes } = genesisAccounts(genesis)
  return new Map(genesis.body.nodes.map(([, key], rank) => [toHex(nodes[rank] as Uint8Array), key]))
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

function judge(node: LiveNode, number: number, item: unknown, { genesis, keys, findings }: Context): void {
  let incident: Incident
  let acknowledged: unknown
  try {
    const json = item as Record<string, unknown>
    const account = json.statement === undefined ? undefined : statedNode(json)
    const publicKey = account === undefined ? undefined : keys.get(account)
    if (publicKey === undefined) throw new TypeError('not signed by a node of the policy')
    incident = verifyStatement({ name: 'incident', signed: signedOf(json), ledgerId: genesis.ledgerId, publicKey })
    acknowledged = json.acknowledged
  } catch (error) {
    const message = `incident ${number} of ${node.name} is not a signed statement: ${messageOf(error)}`
    findings.add({ code: 'incident.forged', node: node.name, message })
    return
  }
  if (typeof acknowledged === 'number') return
  const { code, chain, height, index, file, healed } = incident
  const place = `${chainNames[chain]}, height ${height}, index ${index} (${file})`
  const message = `${node.name} found ${code} in its own files: ${place}, ${healed === 1 ? 'healed' : 'not healed'}, not acknowledged`
  findings.add({
    code: `incident.${code}`,
    chain: chainNames[chain] as ChainName,
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
