/** A person's session at the household's node, as the commands about her use it. */
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { callNode, type NodeAccess, nodeAccess } from '../cluster/client.ts'
import { clusterPaths, resolvePerson } from '../cluster/layout.ts'
import { CommandError } from '../io.ts'
import { shortId } from '../table.ts'
import type { ActionContext } from './actions.ts'

/** What a command about a person said, and where. */
export type Context = ActionContext<Readonly<Record<string, string | boolean | undefined>>>

/** A session of one person at the household's node. */
export interface Session {
  readonly access: NodeAccess
  readonly path: string
}

/** A doctor's name in this cluster; of a stranger the first characters of the account. */
export function nameOfDoctor(cluster: ActionContext<object>['cluster'], account: string): string {
  return cluster.doctors.find((doctor) => doctor.account === account)?.name ?? shortId(account)
}

/** Opens a session with the person's passphrase. @throws {CommandError} if it cannot. */
export async function openSession(context: Context, name: string): Promise<Session> {
  const { dir, cluster, options } = context
  const person = resolvePerson(cluster.patients, name, 'patient')
  const node = cluster.nodes.find(({ role }) => role === 'user')
  const access = nodeAccess(dir, cluster, person.node !== '' ? person.node : (node?.name ?? 'user'))
  const file = (options['passphrase-file'] as string | undefined) ?? clusterPaths.passphrase(dir, person.name)
  if (!existsSync(file)) {
    const reason =
      options['passphrase-file'] === undefined ? `no passphrase for ${name} is kept here` : `${file} is not there`
    throw new CommandError(`${reason}: name the file that holds it with --passphrase-file`)
  }
  const passphrase = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
  const { session } = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', {
    person: person.account,
    passphrase,
  })
  return { access: { ...access, bearer: session }, path: `/v1/people/${person.account}` }
}

interface TransactionStatus {
  readonly status: string
  readonly receipt?: string
  readonly refusal?: unknown
}

/** The path of a transaction's receipt; undefined if there is none in time. @throws {CommandError} if it was refused. */
export async function waitForReceipt(session: Session, id: string, timeoutMs: number): Promise<string | undefined> {
  const deadline = Date.now() + timeoutMs
  do {
    const state = await callNode<TransactionStatus>(session.access, 'GET', `${session.path}/transactions/${id}`)
    if (state.status === 'refused') throw new CommandError(`${id} was refused`, { refused: state.refusal })
    if (state.receipt !== undefined) return state.receipt
    await delay(50)
  } while (Date.now() < deadline)
  return undefined
}
