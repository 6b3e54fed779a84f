/** Where the portals of a local cluster are, and who logs in there with which passphrase. */
import { existsSync } from 'node:fs'
import { formatTable } from '../table.ts'
import { type ClusterFile, clusterPaths } from './layout.ts'
import { readProcess } from './processes.ts'

/** One portal of a running node. */
export interface PortalDoor {
  readonly portal: 'patient' | 'doctor' | 'auditor'
  readonly url: string
  /** Names that log in there; the passphrase of each is in `DIR/secrets/NAME.passphrase`. */
  readonly names: readonly string[]
}

/** Browsers use security keys at names, not at numbers: this machine's own name leads to the same node. */
function named(url: string): string {
  return url.replace('://127.0.0.1:', '://localhost:')
}

/** The portals of the nodes that run: the household's, each doctor's, and one accounting node's, the first unless another is named. */
export function portalDoors(dir: string, cluster: ClusterFile, accounting?: string): PortalDoor[] {
  const urlOf = (name: string): string | undefined => {
    const { url } = readProcess(clusterPaths.node(dir, name))
    return url === undefined ? undefined : named(url)
  }
  const kept = (names: readonly string[]): string[] =>
    names.filter((name) => existsSync(clusterPaths.passphrase(dir, name)))
  const doors: PortalDoor[] = []
  for (const { name, role } of cluster.nodes) {
    const url = urlOf(name)
    if (url === undefined) continue
    const patients = cluster.patients.filter(({ node }) => node === name).map((person) => person.name)
    if (role === 'user') doors.push({ portal: 'patient', url, names: kept(patients) })
    if (role === 'doctor') doors.push({ portal: 'doctor', url, names: kept([name]) })
  }
  // Every accounting node has the portal; one is enough to begin with.
  const running = cluster.nodes.filter(({ name, role }) => role === 'accounting' && urlOf(name) !== undefined)
  const first = running.find(({ name }) => name === accounting) ?? running[0]
  if (first !== undefined) {
    const names = kept(['auditor', 'administrator'])
    doors.push({ portal: 'auditor', url: urlOf(first.name) as string, names })
  }
  return doors
}

/** The same for people; empty while nothing runs. */
export function formatDoors(dir: string, doors: readonly PortalDoor[]): string {
  if (doors.length === 0) return ''
  const rows = doors.map(({ portal, url, names }) => [portal, url, names.join(', ') || '-'])
  const table = formatTable([['portal', 'open in a browser', 'log in as'], ...rows])
  return `${table}passphrases: ${clusterPaths.passphrase(dir, 'NAME')}\n`
}
