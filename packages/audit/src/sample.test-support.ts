/** For this package's tests: a ledger, nodes that serve it over HTTP and may lie, and audits of them. */
import type { LedgerStores } from '@healthblock/chain/block'
import { MemoryChainStore } from '@healthblock/chain/store'
import { genesisTrust, LedgerClient } from '@healthblock/runtime/ledger-client'
import {
  type Consortium,
  createConsortium,
  type Lies,
  startTestNode,
  TestLedger,
  type TestNode,
} from '../../runtime/src/testkit.ts'
import { type AuditNode, type AuditRequest, audit } from './audit.ts'
import type { AuditNodes } from './nodes.ts'
import type { AuditReport, Finding } from './report.ts'

/** Empty stores for both chains. */
export function memoryStores(): LedgerStores {
  return { userchain: new MemoryChainStore(), docchain: new MemoryChainStore() }
}

/** One finding a line, in the order of the alphabet. */
export function places(findings: readonly Finding[]): string[] {
  return findings.map(({ code, chain, height, index, node }) => `${code} ${chain} ${height} ${index} ${node}`).sort()
}

/** The same bytes but for one bit in the middle. */
export function altered(leaf: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(leaf)
  const middle = Math.floor(changed.length / 2)
  changed[middle] = (changed[middle] as number) ^ 1
  return changed
}

/** A history and the nodes that serve it. */
export class Sample {
  readonly consortium: Consortium = createConsortium()
  readonly history: TestLedger = new TestLedger(this.consortium)
  readonly running: TestNode[] = []

  /** Starts one node for each item, with its lies. */
  async cluster(...lies: readonly Lies[]): Promise<AuditNode[]> {
    const nodes: AuditNode[] = []
    for (const [rank, one] of lies.entries()) nodes.push(await this.node(rank, this.history, one))
    return nodes
  }

  async node(rank: number, history: TestLedger, lies: Lies = {}): Promise<AuditNode> {
    const started = await startTestNode(history, { rank, lies })
    this.running.push(started)
    return { name: `node-${rank}`, url: started.url }
  }

  request(nodes: AuditNodes, options: Partial<AuditRequest> & { token?: string } = {}): AuditRequest {
    const { token = 'test-token', ...rest } = options
    const client = new LedgerClient({
      urls: (typeof nodes === 'function' ? nodes() : nodes).flatMap(({ url }) => (url === undefined ? [] : [url])),
      trust: genesisTrust(this.consortium.genesis),
      token: () => token,
    })
    const genesis = this.consortium.genesis.bytes
    const wait = async () => {}
    return { genesis, nodes, client, stores: memoryStores(), now: () => Date.now(), wait, ...rest }
  }

  run(nodes: readonly AuditNode[], options: Partial<AuditRequest> & { token?: string } = {}): Promise<AuditReport> {
    return audit(this.request(nodes, options))
  }

  /** Patients, then blocks of algorithms until Userchain has at least so many entries: by default more than two bundles. */
  fill(count = 540): void {
    const { history } = this
    history.block('userchain', [history.registration().transaction, history.registration(2).transaction])
    while (history.leaves.userchain.length < count) {
      history.block(
        'userchain',
        Array.from({ length: 100 }, () => history.algorithm()),
      )
    }
  }

  /** Appends leaves that no ledger would commit, as a cosigned part of the log. */
  append(leaves: readonly Uint8Array[], hashOf: (leaf: Uint8Array) => Uint8Array): { size: number; root: Uint8Array } {
    const { history } = this
    for (const leaf of leaves) {
      history.leaves.userchain.push(leaf)
      history.ranges.userchain.append(hashOf(leaf), history.hashes.userchain.keep)
    }
    return { size: history.leaves.userchain.length, root: history.ranges.userchain.root }
  }

  /** A block of Docchain without transactions, anchored at Userchain's head: due because a licence is suspended. */
  anchored(): void {
    const { history } = this
    const { transaction, person } = history.registration(2)
    history.block('userchain', [transaction])
    history.block('userchain', [history.licence(person, 2)])
    history.block('docchain', [])
  }

  async close(): Promise<void> {
    for (const one of this.running.splice(0)) await one.close()
  }
}
