/** `patient passphrase`: another passphrase for her vault, and what the local cluster keeps of it for its commands. */
import { existsSync, renameSync, rmSync } from 'node:fs'
import { writeSecretFile } from '@healthblock/runtime/files'
import { callNode, NodeError } from '../cluster/client.ts'
import { clusterPaths, resolvePerson } from '../cluster/layout.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { takePositionals } from '../options.ts'
import { type SecretInput, secretInput } from '../secret-input.ts'
import { print } from './actions.ts'
import {
  type Context,
  isPassphraseWrong,
  keptPassphrase,
  nextPassphraseFile,
  openSessionKept,
  openSessionWith,
  type Session,
  stale,
} from './patient-session.ts'

/** A vault is opened and written anew, each of which takes its time. */
const changeTimeoutMs = 120_000
/** Fewest characters that a node takes. */
const lengthMin = 8

interface Opened {
  readonly session: Session
  readonly passphrase: string
}

/** Asks for the present passphrase and opens a session with it. */
async function openTyped(context: Context, name: string, secrets: SecretInput): Promise<Opened> {
  const passphrase = await secrets.ask('Present passphrase')
  return { session: await openSessionWith(context, name, passphrase), passphrase }
}

/** A session with the passphrase of a file, else with one that is typed. */
async function open(context: Context, name: string, secrets: SecretInput): Promise<Opened> {
  const kept = keptPassphrase(context, name)
  if (kept === undefined) return openTyped(context, name, secrets)
  try {
    return await openSessionKept(context, name, kept)
  } catch (error) {
    if (!isPassphraseWrong(error) || kept.isNamed) throw error
    // A script's first line may be meant as the new one.
    if (!secrets.isTyped) throw stale(context, name, { file: kept.file, cause: error })
    context.io.stderr(`What this cluster keeps for ${name} is not her passphrase any more.\n`)
    return openTyped(context, name, secrets)
  }
}

async function askNew(secrets: SecretInput): Promise<string> {
  const passphrase = await secrets.ask(`New passphrase (at least ${lengthMin} characters)`)
  if ([...passphrase.normalize('NFKC')].length < lengthMin)
    throw new CommandError(`a passphrase has at least ${lengthMin} characters: nothing was changed`)
  if (secrets.isTyped && (await secrets.ask('The new one again')) !== passphrase)
    throw new CommandError('the two are not the same: nothing was changed')
  await secrets.end()
  return passphrase
}

/** True if a passphrase opens her vault now: no answer came, and the change may have been made. */
async function isInForce(context: Context, name: string, passphrase: string): Promise<boolean> {
  try {
    await close(await openSessionWith(context, name, passphrase))
    return true
  } catch {
    return false
  }
}

function close({ access }: Session): Promise<unknown> {
  return callNode(access, 'DELETE', '/v1/sessions').catch(() => undefined)
}

async function change(context: Context, name: string, secrets: SecretInput): Promise<ExitCode> {
  const { dir, io, options } = context
  const kept = clusterPaths.passphrase(dir, resolvePerson(context.cluster.patients, name, 'patient').name)
  const isKept = existsSync(kept)
  const { session, passphrase } = await open(context, name, secrets)
  const newPassphrase = await askNew(secrets)
  const next = nextPassphraseFile(kept)
  // Before the change: a disk that is full is found out while the old one is still in force.
  if (isKept) writeSecretFile(next, `${newPassphrase}\n`)
  try {
    const body = { passphrase, newPassphrase, code: options.code }
    await callNode(session.access, 'POST', `${session.path}/passphrase`, body, changeTimeoutMs)
  } catch (error) {
    // An answer that is no yes is a no; without an answer it may have been done.
    if (error instanceof NodeError || !(await isInForce(context, name, newPassphrase))) {
      rmSync(next, { force: true })
      throw error
    }
  }
  if (isKept) renameSync(next, kept)
  const { secondFactor } = await callNode<{ secondFactor: boolean }>(
    session.access,
    'GET',
    `${session.path}/security`,
  ).catch(() => ({ secondFactor: null }))
  await close(session)
  const named = options['passphrase-file'] as string | undefined
  if (named !== undefined && named !== kept) io.stderr(`${named} still holds the old one\n`)
  const result = { person: name, changed: true, kept: isKept ? kept : null, secondFactor }
  return print(
    context,
    result,
    () => `The passphrase of ${name} is changed; her other sessions have ended.${secondFactor === true ? ' Her second factor stays on.' : ''}
${isKept ? `The commands of this cluster go on with the new one, which is in ${kept}.` : 'It is kept nowhere here.'}
A copy of the household's folder that was made before opens with the old one.
`,
  )
}

/** Has the cluster keep the passphrase that she has now, because she changed it elsewhere. */
async function remember(context: Context, name: string, secrets: SecretInput): Promise<ExitCode> {
  const kept = clusterPaths.passphrase(context.dir, resolvePerson(context.cluster.patients, name, 'patient').name)
  const isNamed = context.options['passphrase-file'] !== undefined
  const { session, passphrase } = await (isNamed ? open : openTyped)(context, name, secrets)
  if (!isNamed) await secrets.end()
  await close(session)
  writeSecretFile(kept, `${passphrase}\n`)
  rmSync(nextPassphraseFile(kept), { force: true })
  return print(context, { person: name, changed: false, kept }, () => `It is right, and kept in ${kept}.\n`)
}

/** `./healthblock patient passphrase NAME [--remember]`. */
export async function passphrase(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const isRemembered = context.options.remember === true
  if (isRemembered && context.options.code !== undefined)
    throw new UsageError('--remember changes nothing, and takes no --code')
  return await (isRemembered ? remember : change)(context, name, secretInput(context.io))
}
