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

const actTimeoutMs = 120_000
/** A thief who has the op key may take the counter in between. */
const triesMax = 20

/**
 * Asks for something that her root key signs, and waits for its receipt; again, if another consent came before it.
 *
 * @param rule - the refusal that says so.
 * @param ask - gives the transaction's id.
 * @throws {CommandError} if it was refused, or is not committed in time.
 */
export async function untilNotOvertaken(
  session: Session,
  rule: string,
  ask: () => Promise<string>,
): Promise<{ transactionId: string; receipt: string }> {
  for (let tries = 1; ; tries++) {
    const transactionId = await ask()
    try {
      const receipt = await waitForReceipt(session, transactionId, actTimeoutMs)
      if (receipt !== undefined) return { transactionId, receipt }
      throw new CommandError(`${transactionId} is not committed yet: the node keeps trying`)
    } catch (error) {
      const refused = error instanceof CommandError ? (error.json?.refused as { rule?: string } | undefined) : undefined
      if (refused?.rule !== rule || tries === triesMax) throw error
    }
  }
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
