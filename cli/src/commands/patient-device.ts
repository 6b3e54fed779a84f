/** Devices of a person on the ledger: `patient device list|remove`, `device list|remove`. */
import { callNode } from '../cluster/client.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'
import { print } from './actions.ts'
import { type Context, openSession, type Session, untilNotOvertaken } from './patient-session.ts'

interface Device {
  readonly device: string
  readonly isOwn: boolean
  readonly state: string
  readonly addedAt: string
  readonly streams: readonly { readonly kind: string | null; readonly records: number }[]
}

/** Refusals of who signs with a key that is not in force, or with one that was refused itself. */
const rulesOfKey = new Set(['device.signature', 'outbox.dependency'])

function listOf({ access, path }: Session): Promise<Device[]> {
  return callNode<Device[]>(access, 'GET', `${path}/devices`)
}

/** `device list NAME`: her node's device, and those that it did not add. */
export async function listDevices(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const devices = await listOf(await openSession(context, name))
  const isForeign = devices.some(({ isOwn }) => !isOwn)
  return print(context, devices, () => {
    const rows = devices.map(({ device, isOwn, state, addedAt, streams }) => {
      const kinds = streams.map(({ kind, records }) => `${kind ?? 'unknown'} (${records})`).join(', ')
      return [device, isOwn ? 'her node' : 'somebody else', state, addedAt, kinds]
    })
    const advice = `Whoever added a device that is not her node's has the op key of ${name}. First shut him out, then remove it:
./healthblock patient rekey ${name}
./healthblock patient device remove ${name} DEVICE
`
    return `${formatTable([['device', 'added by', 'state', 'since', 'streams (records)'], ...rows])}${isForeign ? advice : ''}`
  })
}

/** `device remove NAME DEVICE`: her root key removes it; its streams close for ever. */
export async function removeDevice(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, device] = takePositionals(positionals, ['NAME', 'DEVICE'] as const)
  if (!/^[0-9a-f]{32}$/.test(device))
    throw new UsageError(
      `a device is 32 hexadecimal characters, as "patient device list ${name}" prints them, not "${device}"`,
    )
  const session = await openSession(context, name)
  const done = await untilNotOvertaken(session, 'device.counter', async () => {
    const path = `${session.path}/devices/${device}`
    return (await callNode<{ transactionId: string }>(session.access, 'DELETE', path)).transactionId
  }).catch((error: unknown) => {
    const refused = error instanceof CommandError ? (error.json?.refused as { rule?: string } | undefined) : undefined
    if (refused?.rule === undefined || !rulesOfKey.has(refused.rule)) throw error
    const words = `the ledger does not take the op key of this node: first "patient rekey ${name}", then this again`
    throw new CommandError(words, { refused }, { cause: error })
  })
  return print(
    context,
    { device, ...done },
    () => `${device} is removed: nothing of it is recorded any more. What it recorded stays on the ledger.
receipt      ${done.receipt}
`,
  )
}
