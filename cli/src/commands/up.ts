import { existsSync } from 'node:fs'
import { algorithmHashHex } from '@healthblock/diagnosis/algorithm'
import { createCluster } from '../cluster/create.ts'
import { enrolAlgorithm, enrolDoctor, enrolPatient, enrolPortalPeople, enrolReaders } from '../cluster/enrol.ts'
import { type ClusterFile, clusterFolder, clusterPaths, readCluster, startingCluster } from '../cluster/layout.ts'
import { startCluster } from '../cluster/start.ts'
import { clusterStatus } from '../cluster/status.ts'
import { type CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseCount, parseOptions, takePositionals } from '../options.ts'
import { formatStatus } from './status.ts'

const help = `Usage: ./healthblock up [--dir DIR] [--accounting 4] [--storage 3] [--replicas 3] [--doctors 2] [--patients 1]
                       [--register sqlite|etcd] [--etcd-members 1|3] [--period-ms 10000] [--json]

Starts a local cluster in the background and returns when it is ready. The first time it makes a new ledger with the
sizes given, enrols the doctors (doctor-a, doctor-b, …) and patients (patient-1, …); later it starts what is there,
with its data; other sizes than it has are refused. A node that does not start any more is told, and the others go
on without it: exit code 1. An accounting node that no policy has admitted yet runs and waits, and is told too.

  --replicas 1      a block stays where it was put (for benchmarks)
  --register etcd   the head register in an etcd of its own, with one member or --etcd-members 3, instead of a SQLite file;
                    Debian's etcd-server is installed if it is missing (it says so first)
  --period-ms       how often the user node publishes a batch of readings
`

const sizeOptions = [
  'accounting',
  'storage',
  'replicas',
  'doctors',
  'patients',
  'register',
  'etcd-members',
  'period-ms',
] as const

/** Enrols who was asked for and is not enrolled yet: an interrupted `up` is finished by the next. */
export async function enrolEverybody(
  dir: string,
  cluster: ClusterFile,
  patients: readonly string[],
  io: Io,
): Promise<void> {
  await enrolReaders(dir)
  await enrolAlgorithm(dir)
  await enrolPortalPeople(dir, cluster)
  for (const { name, role } of cluster.nodes) {
    if (role !== 'doctor' || readCluster(dir).doctors.some((doctor) => doctor.name === name)) continue
    io.stderr(`enrolling ${name}\n`)
    await enrolDoctor(dir, readCluster(dir), name)
  }
  for (const name of patients) {
    if (readCluster(dir).patients.some((patient) => patient.name === name)) continue
    io.stderr(`enrolling ${name}\n`)
    await enrolPatient(dir, readCluster(dir), name)
  }
}

/** Whether everybody who was asked for is on record. */
function isComplete({ auditor, tenant, nodes, doctors, wanted, patients }: ClusterFile): boolean {
  const known = [...doctors, ...patients].map(({ name }) => name)
  const expected = [...nodes.filter(({ role }) => role === 'doctor').map(({ name }) => name), ...wanted]
  return expected.every((name) => known.includes(name)) && auditor !== undefined && tenant !== undefined
}

/** Whether nothing is left to be put on record: nor the algorithm of this release, where an older one's cluster has another. */
function isEnrolled(cluster: ClusterFile): boolean {
  return isComplete(cluster) && cluster.algorithm === algorithmHashHex
}

/** Members of etcd that were asked for; 0 for a SQLite file. */
function etcdMembersOf(register: string | undefined, members: string | undefined): number {
  if (register !== undefined && register !== 'sqlite' && register !== 'etcd')
    throw new UsageError(`--register takes sqlite or etcd, not "${register}"`)
  if (register !== 'etcd') {
    if (members !== undefined) throw new UsageError('--etcd-members goes with --register etcd')
    return 0
  }
  const count = parseCount(members, 'etcd-members', { least: 1, most: 3, preset: 1 })
  if (count === 2) throw new UsageError('two members of etcd stop when one does: --etcd-members takes 1 or 3')
  return count
}

/** The same command again goes on with what is there. @throws {UsageError} for another size than the cluster has. */
function requireItsSizes(dir: string, values: Readonly<Record<string, string | boolean | undefined>>): void {
  const { nodes, replicas, wanted, periodMs, etcdMembers = 0 } = readCluster(dir)
  const count = (wantedRole: string): number => nodes.filter(({ role }) => role === wantedRole).length
  const sizes: Readonly<Record<(typeof sizeOptions)[number], string | number>> = {
    ...{ accounting: count('accounting'), storage: count('storage'), replicas, doctors: count('doctor') },
    ...{ patients: wanted.length, register: etcdMembers > 0 ? 'etcd' : 'sqlite' },
    ...{ 'etcd-members': etcdMembers, 'period-ms': periodMs },
  }
  const other = sizeOptions.find((option) => values[option] !== undefined && values[option] !== `${sizes[option]}`)
  if (other === undefined) return
  const words = `${dir} holds a cluster already, with --${other} ${sizes[other]}, which is fixed`
  throw new UsageError(`${words}: leave --${other} out, or name another folder with --dir`)
}

/** `./healthblock up`. */
export async function runUp(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    accounting: { type: 'string' },
    storage: { type: 'string' },
    replicas: { type: 'string' },
    doctors: { type: 'string' },
    patients: { type: 'string' },
    register: { type: 'string' },
    'etcd-members': { type: 'string' },
    'period-ms': { type: 'string' },
  })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  takePositionals(positionals, [])
  const dir = clusterFolder(values.dir)
  const isNew = !existsSync(clusterPaths.file(dir))
  if (!isNew) requireItsSizes(dir, values)
  const count = (name: (typeof sizeOptions)[number], least: number, most: number, preset: number): number =>
    parseCount(values[name], name, { least, most, preset })
  const storage = count('storage', 1, 16, 3)
  const size = {
    accounting: count('accounting', 1, 16, 4),
    storage,
    replicas: count('replicas', 1, storage, Math.min(3, storage)),
    doctors: count('doctors', 0, 26, 2),
    etcdMembers: etcdMembersOf(values.register, values['etcd-members']),
    periodMs: count('period-ms', 500, 3_600_000, 10_000),
  }
  const patients = Array.from({ length: count('patients', 0, 100, 1) }, (_, index) => `patient-${index + 1}`)
  if (isNew) io.stderr(`creating a new ledger in ${dir}\n`)
  const cluster = isNew ? await createCluster(dir, { ...size, patients }, Date.now()) : readCluster(dir)
  let isWhole = true
  const onLacking = (error: CommandError): void => {
    isWhole = false
    io.stderr(`${error.message}\nthe others go on without it\n`)
  }
  await startingCluster(dir, io, async () => {
    // Of a cluster that was whole once, a node may be lost: that holds up nobody. A new one needs all.
    const onWaiting = (words: string): void => io.stderr(`${words}\n`)
    await startCluster(dir, cluster, io, isComplete(readCluster(dir)) ? { onLacking, onWaiting } : { onWaiting })
    // What is left to be put on record waits for a start with every node.
    if (isWhole && !isEnrolled(readCluster(dir))) await enrolEverybody(dir, cluster, cluster.wanted, io)
  })
  if (isNew) io.stderr(`passphrases are in ${clusterPaths.secrets(dir)} (a local cluster only)\n`)
  const status = await clusterStatus(dir, readCluster(dir))
  io.stdout(values.json === true ? `${JSON.stringify(status)}\n` : formatStatus(status))
  return isWhole ? 0 : 1
}
