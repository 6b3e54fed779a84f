/** A benchmark's cluster with people in it: a household, doctors who may read it, and how each is called. */
import { readFileSync } from 'node:fs'
import { callNode, type NodeAccess, nodeAccess } from '../../cli/src/cluster/client.ts'
import { clusterPaths, readCluster } from '../../cli/src/cluster/layout.ts'
import { readProcess } from '../../cli/src/cluster/processes.ts'
import { enrolEverybody } from '../../cli/src/commands/up.ts'
import { createProcessIo } from '../../cli/src/io.ts'
import type { BenchCluster } from './cluster.ts'
import { threadTimes } from './thread-times.ts'

/** A patient with an open session at her node. */
export interface EnrolledPatient {
  readonly account: string
  readonly session: NodeAccess
  /** Her routes: `/v1/people/<account>`. */
  readonly path: string
}

/** Enrols doctors and patients; each patient lets every doctor read. */
export async function enrolPeople({ dir }: BenchCluster, names: readonly string[]): Promise<EnrolledPatient[]> {
  await enrolEverybody(dir, readCluster(dir), names, createProcessIo())
  const cluster = readCluster(dir)
  const user = nodeAccess(dir, cluster, 'user')
  const patients: EnrolledPatient[] = []
  for (const { name, account } of cluster.patients) {
    const passphrase = readFileSync(clusterPaths.passphrase(dir, name), 'utf8').trim()
    const { session } = await callNode<{ session: string }>(user, 'POST', '/v1/sessions', {
      person: account,
      passphrase,
    })
    const patient = { account, session: { ...user, bearer: session }, path: `/v1/people/${account}` }
    for (const doctor of cluster.doctors)
      await callNode(patient.session, 'POST', `${patient.path}/grants`, { doctor: doctor.account })
    patients.push(patient)
  }
  return patients
}

/** Processor seconds of every node of a cluster up to now, by role. */
export function cpuSecondsByRole({ dir, cluster }: BenchCluster): Readonly<Record<string, number>> {
  const seconds: Record<string, number> = {}
  for (const { name, role } of cluster.nodes) {
    const { pid } = readProcess(clusterPaths.node(dir, name))
    const times = pid === undefined ? undefined : threadTimes(pid)
    const us = times === undefined ? 0 : times.main + times.workers + times.helpers + times.pool
    seconds[role] = (seconds[role] ?? 0) + us / 1e6
  }
  return seconds
}
