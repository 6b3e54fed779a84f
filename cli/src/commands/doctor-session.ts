/** A doctor's node, as the commands about a doctor use it. */
import { callNode, type NodeAccess, NodeError, nodeAccess } from '../cluster/client.ts'
import { resolvePerson } from '../cluster/layout.ts'
import { CommandError, type ExitCode } from '../io.ts'
import { type ActionContext, print } from './actions.ts'

/** What a command about a doctor said, and where. */
export type DoctorContext = ActionContext<{
  readonly in?: string[] | undefined
  readonly text?: string | undefined
  readonly set?: string[] | undefined
  readonly open?: boolean | undefined
  readonly minutes?: string | undefined
  readonly out?: string | undefined
  readonly from?: string | undefined
  readonly until?: string | undefined
}>

/** How to call a doctor's own node. @throws {CommandError} if it is not in this cluster, or does not run. */
export function doctorAccess(context: DoctorContext, name: string): NodeAccess {
  const doctor = resolvePerson(context.cluster.doctors, name, 'doctor')
  if (doctor.node === '') throw new CommandError(`${name} has no node in this cluster`)
  return nodeAccess(context.dir, context.cluster, doctor.node)
}

/** Lets the node read up to the published checkpoint. */
export async function catchUp(access: NodeAccess): Promise<void> {
  await callNode(access, 'POST', '/v1/catch-up', { timeoutMs: 55_000 }, 60_000)
}

const diagnosesPageMax = 1000

/** Every diagnosis of the doctor, page by page from the newest back; oldest first. */
export async function allDiagnoses<T extends { transactionId: string }>(access: NodeAccess): Promise<T[]> {
  const pages: T[][] = []
  for (;;) {
    const before = pages[0]?.[0] === undefined ? '' : `&before=${pages[0][0].transactionId}`
    const page = await callNode<T[]>(access, 'GET', `/v1/diagnoses?limit=${diagnosesPageMax}${before}`)
    pages.unshift(page)
    if (page.length < diagnosesPageMax) return pages.flat()
  }
}

/** A transaction that the doctor's node posted. */
interface Posted {
  readonly transactionId: string
  readonly receipt: string
}

/**
 * Has a transaction posted and prints where its receipt is.
 *
 * @throws {CommandError} with the ledger's signed refusal.
 */
export async function postAndPrint(
  context: DoctorContext,
  access: NodeAccess,
  request: { path: string; body: unknown; done: string },
): Promise<ExitCode> {
  try {
    const posted = await callNode<Posted>(access, 'POST', request.path, request.body)
    return print(context, posted, () => `${request.done}: ${posted.transactionId}\nreceipt: ${posted.receipt}\n`)
  } catch (error) {
    if (!(error instanceof NodeError) || error.body.refused === undefined) throw error
    const { transactionId, refused, statement } = error.body as { refused: Record<string, unknown> } & typeof error.body
    const words = `refused by rule ${refused.rule} at height ${refused.height}`
    // What the signature is of stands beside it: whoever is shown the refusal can check it.
    throw new CommandError(words, { refused, transactionId, statement })
  }
}
