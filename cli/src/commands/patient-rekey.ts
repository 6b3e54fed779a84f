import { callNode } from '../cluster/client.ts'
import type { ExitCode } from '../io.ts'
import { takePositionals } from '../options.ts'
import { print } from './actions.ts'
import { type Context, openSession, untilNotOvertaken } from './patient-session.ts'

/** `./healthblock patient rekey NAME`: her root key replaces the op key of her household's node, and all her keys change. */
export async function rekey(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const session = await openSession(context, name)
  const done = await untilNotOvertaken(session, 'update.counter', async () => {
    const path = `${session.path}/op-key`
    return (await callNode<{ transactionId: string }>(session.access, 'POST', path, {})).transactionId
  })
  return print(
    context,
    done,
    () => `the op key of ${name} is another one: whoever has the old one can do nothing with it any more
Her streams get new keys now, and go on beyond whatever was done with the old key: look at "patient alarms ${name}", "patient grants ${name}" and "patient device list ${name}".
receipt      ${done.receipt}
`,
  )
}
