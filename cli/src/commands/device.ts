/** `device`: what devices of the household send, and which are watched. */

import { setTimeout as delay } from 'node:timers/promises'
import { callNode } from '../cluster/client.ts'
import { decodeText, readFileText } from '../input-file.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseCount, takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'
import { print, runAction } from './actions.ts'
import { sendInOrder } from './device-send.ts'
import { listDevices, removeDevice } from './patient-device.ts'
import { type Context, openSession, type Session } from './patient-session.ts'

const help = `Usage: ./healthblock device ACTION …

  show NAME                      the credential of her device, its streams, and which are switched on
  list NAME                      the devices of hers on the ledger: her node's, and any that somebody else added with a stolen key
  remove NAME DEVICE             her root key removes one of the latter: its streams close, for ever
  switch NAME ecg|vitals on|off  the device of a stream is watched: empty records while it is silent, and an alarm
  send NAME ecg|vitals FILE      what a device sends, as POST /v1/streams/:kind/samples takes it: one JSON object a line, or one in all
  fhir NAME FILE                 readings as an Observation of FHIR R4, or a Bundle of them

FILE may be - for the standard input. What is answered "accepted" is durable; sending it again changes nothing. As a device does, "send" drops a
batch that no time makes right and goes on (exit code 1), and stops at one that the node does not take yet: that one comes again, before the rest.
Options: --dir DIR, --json, --passphrase-file FILE (default DIR/secrets/NAME.passphrase);
send: --wait SECONDS (at most so long, what is not taken yet is sent again when the node says; default 0)
`

interface DeviceState {
  readonly device: string
  readonly credential: string
  readonly streams: Record<string, string>
  readonly switchedOn: { stream: string; since: string; silent: boolean }[]
}

/** `patient device NAME`, `patient device list NAME`, `patient device remove NAME DEVICE`. */
export async function patientDevice(context: Context, positionals: string[]): Promise<ExitCode> {
  const [action, ...rest] = positionals
  // Who is called so is asked for with "device show".
  if (action === 'list') return listDevices(context, rest)
  if (action === 'remove') return removeDevice(context, rest)
  if (action !== undefined && rest.length === 0) return showDevice(context, positionals)
  throw new UsageError('needs NAME, list NAME, or remove NAME DEVICE')
}

/** `device show`, `patient device`. */
export async function showDevice(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const session = await openSession(context, name)
  const state = await callNode<DeviceState>(session.access, 'GET', `${session.path}/device`)
  const wordsOf = (kind: string): string => {
    const on = state.switchedOn.find(({ stream }) => stream === kind)
    return on === undefined ? 'off' : `on since ${on.since}${on.silent ? ', silent' : ''}`
  }
  return print(
    context,
    state,
    () =>
      `device      ${state.device}\ncredential  ${state.credential}\n${formatTable([
        ['stream', 'id', 'switched'],
        ...Object.entries(state.streams).map(([kind, id]) => [kind, id, wordsOf(kind)]),
      ])}`,
  )
}

/** `device switch`, `patient switch`. */
export async function switchDevice(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, kind, wanted] = takePositionals(positionals, ['NAME', 'STREAM', 'on|off'] as const)
  if (wanted !== 'on' && wanted !== 'off') throw new UsageError(`the switch is on or off, not "${wanted}"`)
  const session = await openSession(context, name)
  const path = `${session.path}/switches/${encodeURIComponent(kind)}`
  const state = await callNode<{ on: boolean; since?: string }>(session.access, 'POST', path, { on: wanted === 'on' })
  return print(context, state, () => `${kind} is ${state.on ? `on since ${state.since}` : 'off'}\n`)
}

async function readInput(context: Context, file: string): Promise<string> {
  if (file === '-') {
    const pieces: Uint8Array[] = []
    for await (const piece of context.io.stdin) pieces.push(typeof piece === 'string' ? Buffer.from(piece) : piece)
    return decodeText(Buffer.concat(pieces), 'the standard input')
  }
  return readFileText(file)
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new CommandError(`${where} is not JSON: ${(cause as Error).message}`, undefined, { cause })
  }
}

/** A file of one JSON value, however it is broken into lines, or of one a line. */
function parseValues(text: string, file: string): unknown[] {
  const lines = text.split('\n').map((line, at) => ({ line, where: `line ${at + 1} of ${file}` }))
  const filled = lines.filter(({ line }) => line.trim() !== '')
  if (filled.length === 0) throw new CommandError(`${file} is empty`)
  try {
    return [JSON.parse(text)]
  } catch {
    return filled.map(({ line, where }) => parseJson(line, where))
  }
}

/** The session by which the device itself speaks. */
async function deviceSession(context: Context, name: string): Promise<Session['access']> {
  const session = await openSession(context, name)
  const { credential } = await callNode<DeviceState>(session.access, 'GET', `${session.path}/device`)
  return { ...session.access, bearer: credential }
}

async function send(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, kind, file] = takePositionals(positionals, ['NAME', 'STREAM', 'FILE'] as const)
  const limits = { least: 0, most: 86_400, preset: 0 }
  const waitSeconds = parseCount(context.options.wait as string | undefined, 'wait', limits)
  const batches = parseValues(await readInput(context, file), file)
  const access = await deviceSession(context, name)
  const sent = await sendInOrder(batches, {
    ...{ access, path: `/v1/streams/${encodeURIComponent(kind)}/samples`, waitMs: waitSeconds * 1000 },
    pause: (ms) => delay(ms),
    say: context.io.stderr,
  })
  const { accepted, dropped } = sent
  const words = dropped === 0 ? `${accepted} accepted\n` : `${accepted} accepted, ${dropped} dropped\n`
  print(context, dropped === 0 ? { accepted } : sent, () => words)
  return dropped === 0 ? 0 : 1
}

async function fhir(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, file] = takePositionals(positionals, ['NAME', 'FILE'] as const)
  const resource = parseJson(await readInput(context, file), file)
  const answer = await callNode<{ batches: number }>(await deviceSession(context, name), 'POST', '/v1/fhir', resource)
  return print(context, answer, () => `accepted, in ${answer.batches} batches\n`)
}

const actions: Record<string, (context: Context, positionals: string[]) => Promise<ExitCode>> = {
  show: showDevice,
  list: listDevices,
  remove: removeDevice,
  switch: switchDevice,
  send,
  fhir,
}

const options = { 'passphrase-file': { type: 'string' }, wait: { type: 'string' } } as const

/** `./healthblock device …`. */
export async function runDevice(args: string[], io: Io): Promise<ExitCode> {
  return runAction(args, io, { help, options, actions })
}
