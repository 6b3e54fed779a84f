import { callNode } from '../cluster/client.ts'
import { CommandError, type ExitCode } from '../io.ts'
import { takePositionals } from '../options.ts'
import { print } from './actions.ts'
import { type Context, openSession, type Session, waitForReceipt } from './patient-session.ts'

const rekeyTimeoutMs = 120_000
/** A thief who still has the old key may take the counter in between: it is asked again, for the same new key. */
const triesMax = 20

async function replaced(session: Session): Promise<{ transactionId: string; receipt: string }> {
  for (let tries = 1; ; tries++) {
    const { transactionId } = await callNode<{ transactionId: string }>(
      ...([session.access, 'POST', `${session.path}/op-key`, {}] as const),
    )
    try {
      const receipt = await waitForReceipt(session, transactionId, rekeyTimeoutMs)
      if (receipt !== undefined) return { transactionId, receipt }
      throw new CommandError(`${transactionId} is not committed yet: the node keeps trying`)
    } catch (error) {
      const refused = error instanceof CommandError ? (error.json?.refused as { rule?: string } | undefined) : undefined
      if (refused?.rule !== 'update.counter' || tries === triesMax) throw error
    }
  }
}

/** `./healthblock patient rekey NAME`: her root key replaces the op key of her household's node, and all her keys change. */
export async function rekey(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const session = await openSession(context, name)
  const done = await replaced(session)
  return print(
    context,
    done,
    () => `the op key of ${name} is another one: whoever has the old one can do nothing with it any more
Her streams get new keys now, and go on beyond whatever was done with the old key: look at "patient alarms ${name}" and "patient grants ${name}".
receipt      ${done.receipt}
`,
  )
}
