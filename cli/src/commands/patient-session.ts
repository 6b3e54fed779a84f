/** A person's session at the household's node, as the commands about her use it. */
import { existsSync, readFileSync, renameSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { callNode, type NodeAccess, NodeError, nodeAccess } from '../cluster/client.ts'
import { clusterPaths, resolvePerson, shellWord } from '../cluster/layout.ts'
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

/** A passphrase that a file holds. */
interface KeptPassphrase {
  readonly passphrase: string
  readonly file: string
  /** True if the caller named the file; else the cluster keeps it. */
  readonly isNamed: boolean
}

/** The passphrase of the file that was named, else of the cluster's own; undefined if that keeps none. @throws {CommandError} if the named one is not there. */
export function keptPassphrase({ dir, cluster, options }: Context, name: string): KeptPassphrase | undefined {
  const person = resolvePerson(cluster.patients, name, 'patient')
  const named = options['passphrase-file'] as string | undefined
  const file = named ?? clusterPaths.passphrase(dir, person.name)
  if (!existsSync(file)) {
    if (named === undefined) return undefined
    throw new CommandError(`${file} is not there: name the file that holds the passphrase with --passphrase-file`)
  }
  return { passphrase: passphraseIn(file), file, isNamed: named !== undefined }
}

function passphraseIn(file: string): string {
  return readFileSync(file, 'utf8').replace(/\r?\n$/, '')
}

/** True if a node says that the passphrase is wrong. */
export function isPassphraseWrong(error: unknown): boolean {
  return error instanceof NodeError && error.body.code === 'ERR_PASSPHRASE_WRONG'
}

/** Opens a session with a passphrase. @throws {NodeError} `ERR_PASSPHRASE_WRONG`; {CommandError} if there is no such person or node. */
export async function openSessionWith({ dir, cluster }: Context, name: string, passphrase: string): Promise<Session> {
  const person = resolvePerson(cluster.patients, name, 'patient')
  const node = cluster.nodes.find(({ role }) => role === 'user')
  const access = nodeAccess(dir, cluster, person.node !== '' ? person.node : (node?.name ?? 'user'))
  const { session } = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', {
    person: person.account,
    passphrase,
  })
  return { access: { ...access, bearer: session }, path: `/v1/people/${person.account}` }
}

/** Where a passphrase is written before it is changed; it takes the place of `file` afterwards. */
export function nextPassphraseFile(file: string): string {
  return `${file}.next`
}

/**
 * Opens a session with what a file holds. A command that was ended while it changed the passphrase may have left the one that is in force beside the
 * cluster's own file: it takes its place.
 *
 * @returns with the passphrase that opened it.
 * @throws {NodeError} `ERR_PASSPHRASE_WRONG`, and as `openSessionWith`.
 */
export async function openSessionKept(
  context: Context,
  name: string,
  { passphrase, file, isNamed }: KeptPassphrase,
): Promise<{ session: Session; passphrase: string }> {
  try {
    return { session: await openSessionWith(context, name, passphrase), passphrase }
  } catch (error) {
    const next = nextPassphraseFile(file)
    if (!isPassphraseWrong(error) || isNamed || !existsSync(next)) throw error
    const begun = passphraseIn(next)
    const session = await openSessionWith(context, name, begun)
    renameSync(next, file)
    return { session, passphrase: begun }
  }
}

/** Opens a session with the person's passphrase, as a file holds it. @throws {CommandError} if it cannot. */
export async function openSession(context: Context, name: string): Promise<Session> {
  const kept = keptPassphrase(context, name)
  if (kept === undefined)
    throw new CommandError(`no passphrase for ${name} is kept here: name the file that holds it with --passphrase-file`)
  try {
    return (await openSessionKept(context, name, kept)).session
  } catch (error) {
    if (!isPassphraseWrong(error) || kept.isNamed) throw error
    throw stale(context, name, { file: kept.file, cause: error })
  }
}

/** A kept passphrase is not hers any more: which one, and what to do. */
export function stale({ dir }: Context, name: string, { file, cause }: { file: string; cause: unknown }): CommandError {
  const words = `the passphrase that this cluster keeps for ${name} (${file}) is not hers any more: she changed it elsewhere`
  const command = `./healthblock patient passphrase ${name} --remember --dir ${shellWord(dir)}`
  const ways = `have the present one kept with ${command}, or name a file that holds it with --passphrase-file`
  return new CommandError(`${words}; ${ways}`, undefined, { cause })
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
