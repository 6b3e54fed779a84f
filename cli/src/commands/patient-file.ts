import { createWriteStream } from 'node:fs'
import { type FileHandle, open, rename } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { ReadableStream } from 'node:stream/web'
import { setTimeout as delay } from 'node:timers/promises'
import { plainText } from '@healthblock/runtime/plain-text'
import { callNode, type NodeAccess, NodeError, retryAfterMsOf } from '../cluster/client.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { takePositionals } from '../options.ts'
import { formatTable } from '../table.ts'
import { print } from './actions.ts'
import { type Context, openSession, type Session, waitForReceipt } from './patient-session.ts'

interface Upload {
  readonly sequence: number
  readonly offset: number
  readonly size: number
  readonly stored: boolean
  readonly partSizeMax: number
}

interface FileRow {
  readonly sequence: number
  readonly name: string
  readonly type: string
  readonly size: number
  readonly state: string
  readonly at: string
  readonly cid: string | null
  readonly transactionId: string | null
}

const partTimeoutMs = 120_000
const receiptTimeoutMs = 120_000

/** Says how far long work is: on one line of a terminal, or now and then on lines of their own. */
class Progress {
  readonly #io: Io
  readonly #total: number
  readonly #startedAt = performance.now()
  #saidAt = 0
  readonly #from: number

  constructor(io: Io, total: number, from = 0) {
    this.#io = io
    this.#total = total
    this.#from = from
  }

  at(done: number): void {
    const now = performance.now()
    if (now - this.#saidAt < (this.#io.interactive ? 100 : 5_000) && done < this.#total) return
    this.#saidAt = now
    const rate = (done - this.#from) / Math.max(0.001, (now - this.#startedAt) / 1000)
    const left = rate > 0 ? Math.ceil((this.#total - done) / rate) : 0
    const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)
    const words = `${megabytes(done)} of ${megabytes(this.#total)} MB, ${megabytes(rate)} MB/s, ${left} s left`
    this.#io.stderr(this.#io.interactive ? `\r${words}  ` : `${words}\n`)
  }

  end(): void {
    if (this.#io.interactive) this.#io.stderr('\n')
  }
}

async function sendPart(
  access: NodeAccess,
  path: string,
  part: { offset: number; bytes: Uint8Array },
): Promise<Upload> {
  const response = await fetch(new URL(`${path}?offset=${part.offset}`, access.url), {
    method: 'PUT',
    headers: { authorization: `Bearer ${access.bearer}`, 'content-type': 'application/octet-stream' },
    body: part.bytes as Uint8Array<ArrayBuffer>,
    signal: AbortSignal.timeout(partTimeoutMs),
  })
  const answer = (await response.json().catch(() => ({}))) as Upload & { detail?: string }
  if (response.ok) return answer
  const words = answer.detail ?? `the node answered ${response.status}`
  throw new NodeError(words, response.status, {}, retryAfterMsOf(response))
}

/** Where an upload goes, and how a node that takes nothing for a while is waited for. */
export interface UploadOptions {
  readonly access: NodeAccess
  /** `/v1/people/:p/files/:sequence`. */
  readonly path: string
  /** How long a part that is not taken yet is sent again, in all. */
  readonly waitMs: number
  readonly pause: (ms: number) => Promise<void>
  /** Told of each wait. */
  readonly say: (words: string) => void
  /** Told how many bytes the node has. */
  readonly onProgress: (offset: number) => void
}

/**
 * Sends what the node has not taken yet. A part that it does not take now (429, 503) is sent again when it says, from where the node then is.
 *
 * @throws {CommandError} if the node refuses a part, or takes none for `waitMs`, or the file became shorter.
 */
export async function sendAll(file: FileHandle, begun: Upload, options: UploadOptions): Promise<Upload> {
  const { access, path, pause, say, onProgress } = options
  const buffer = Buffer.alloc(begun.partSizeMax)
  let state = begun
  let leftMs = options.waitMs
  while (!state.stored) {
    const { offset, size } = state
    const { bytesRead } = await file.read(buffer, 0, Math.min(buffer.length, size - offset), offset)
    if (bytesRead === 0 && offset < size) throw new CommandError('the file became shorter while it was read')
    try {
      state = await sendPart(access, path, { offset, bytes: buffer.subarray(0, bytesRead) })
      leftMs = options.waitMs
    } catch (error) {
      if (!(error instanceof NodeError) || ![429, 503].includes(error.status)) throw error
      const againMs = error.retryAfterMs
      if (againMs === undefined || againMs > leftMs) throw error
      say(`${error.message}; again in ${againMs / 1000} s\n`)
      leftMs -= againMs
      await pause(againMs)
      state = await callNode<Upload>(access, 'GET', `${path}/upload`)
    }
    onProgress(state.offset)
  }
  return state
}

/** The upload to go on with: one of the same name and size that was interrupted, or a new one. */
async function beginUpload(
  session: Session,
  file: { name: string; type: string | undefined; size: number },
): Promise<Upload> {
  const rows = await callNode<FileRow[]>(session.access, 'GET', `${session.path}/files`)
  const interrupted = rows.find(
    ({ state, name, size }) => state === 'uploading' && name === file.name && size === file.size,
  )
  if (interrupted !== undefined) {
    return await callNode<Upload>(session.access, 'GET', `${session.path}/files/${interrupted.sequence}/upload`)
  }
  const { name, type, size } = file
  return await callNode<Upload>(session.access, 'POST', `${session.path}/files`, {
    ...{ name, size },
    ...(type === undefined ? {} : { type }),
  })
}

async function put(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, path] = takePositionals(positionals, ['NAME', 'PATH'] as const)
  const session = await openSession(context, name)
  const file = await open(resolve(path), 'r')
  try {
    const stat = await file.stat()
    if (!stat.isFile()) throw new CommandError(`${path} is not a file`)
    const { size } = stat
    const type = context.options.type as string | undefined
    const begun = await beginUpload(session, { name: basename(path), type, size })
    const { io } = context
    const progress = new Progress(io, size, begun.offset)
    const { sequence } = await sendAll(file, begun, {
      ...{ access: session.access, path: `${session.path}/files/${begun.sequence}`, waitMs: partTimeoutMs },
      pause: (ms) => delay(ms),
      say: io.stderr,
      onProgress: (offset) => progress.at(offset),
    })
    progress.end()
    const row = await recordedRow(session, sequence, (before) => {
      const words = `goes on record after file ${before.sequence} (${plainText(before.name)}), which is still being sent`
      context.io.stderr(
        `file ${sequence} is stored; it ${words}: send that again, or "patient file cancel ${name} ${before.sequence}"\n`,
      )
    })
    const receipt =
      row.transactionId === null ? undefined : await waitForReceipt(session, row.transactionId, receiptTimeoutMs)
    const result = {
      sequence,
      name: basename(path),
      size,
      cid: row.cid,
      transactionId: row.transactionId,
      receipt: receipt ?? null,
    }
    return print(
      context,
      result,
      () =>
        `file ${sequence}: ${plainText(basename(path))}, ${size} bytes\nroot     ${row.cid}\nreceipt  ${receipt ?? 'not yet'}\n`,
    )
  } finally {
    await file.close()
  }
}

/** The file's row once its record has a transaction; `onWait` is told once of an upload before it that is not finished. */
async function recordedRow(session: Session, sequence: number, onWait: (before: FileRow) => void): Promise<FileRow> {
  const deadline = Date.now() + receiptTimeoutMs
  let isTold = false
  for (;;) {
    const rows = await callNode<FileRow[]>(session.access, 'GET', `${session.path}/files`)
    const row = rows.find((one) => one.sequence === sequence)
    if (row !== undefined && (row.transactionId !== null || Date.now() > deadline)) return row
    const before = rows.find((one) => one.state === 'uploading' && one.sequence < sequence)
    if (before !== undefined && !isTold) onWait(before)
    isTold ||= before !== undefined
    await delay(100)
  }
}

/** The file of that number or name. @throws {CommandError} if there is none. */
async function rowOf(session: Session, name: string, number: string): Promise<FileRow> {
  const rows = await callNode<FileRow[]>(session.access, 'GET', `${session.path}/files`)
  const row = rows.find((one) => String(one.sequence) === number) ?? rows.find((one) => one.name === number)
  if (row === undefined) throw new CommandError(`${name} has no file "${number}": see "patient file list ${name}"`)
  return row
}

/** Gives up an upload that was interrupted: its number becomes a gap, and the files after it go on record. */
async function cancel(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, number] = takePositionals(positionals, ['NAME', 'FILE'] as const)
  const session = await openSession(context, name)
  const { sequence, name: file, state } = await rowOf(session, name, number)
  if (state !== 'uploading')
    throw new CommandError(`file ${sequence} (${plainText(file)}) is not being sent: it is ${state}`)
  await callNode(session.access, 'DELETE', `${session.path}/files/${sequence}`)
  return print(
    context,
    { sequence, name: file, cancelled: true },
    () => `file ${sequence} (${plainText(file)}) is given up\n`,
  )
}

async function get(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, number] = takePositionals(positionals, ['NAME', 'FILE'] as const)
  const out = context.options.out as string | undefined
  if (out === undefined) throw new UsageError('file get needs --out PATH')
  const range = context.options.range as string | undefined
  if (range !== undefined && !/^(\d{1,15}-\d{0,15}|-\d{1,15})$/.test(range))
    throw new UsageError(`--range takes FROM-TO, counted in bytes from 0, not ${JSON.stringify(range)}`)
  const session = await openSession(context, name)
  const row = await rowOf(session, name, number)
  const response = await fetch(new URL(`${session.path}/files/${row.sequence}`, session.access.url), {
    headers: {
      authorization: `Bearer ${session.access.bearer}`,
      ...(range === undefined ? {} : { range: `bytes=${range}` }),
    },
  })
  if (response.status === 416)
    throw new CommandError(`file ${row.sequence} has ${row.size} bytes, and none of ${range}`)
  if (!response.ok || response.body === null) {
    const { detail } = (await response.json().catch(() => ({}))) as { detail?: string }
    throw new CommandError(detail ?? `the node answered ${response.status}`)
  }
  const total = Number(response.headers.get('content-length') ?? row.size)
  const progress = new Progress(context.io, total)
  let bytes = 0
  const count = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      progress.at(bytes)
      done(null, chunk)
    },
  })
  const path = resolve(out)
  await pipeline(
    Readable.fromWeb(response.body as ReadableStream),
    count,
    createWriteStream(`${path}.part`, { mode: 0o600 }),
  )
  progress.end()
  if (bytes !== total)
    throw new CommandError(`only ${bytes} of ${total} bytes came: ${path}.part is not the whole file`)
  await rename(`${path}.part`, path)
  return print(
    context,
    { sequence: row.sequence, name: row.name, type: row.type, bytes, path },
    () => `${path}: ${bytes} bytes\n`,
  )
}

async function list(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name] = takePositionals(positionals, ['NAME'] as const)
  const session = await openSession(context, name)
  const rows = await callNode<FileRow[]>(session.access, 'GET', `${session.path}/files`)
  return print(context, rows, () =>
    formatTable([
      ['file', 'name', 'type', 'bytes', 'state', 'at'],
      ...rows.map((row) => [String(row.sequence), row.name, row.type, String(row.size), row.state, row.at]),
    ]),
  )
}

const actions: Record<string, (context: Context, positionals: string[]) => Promise<ExitCode>> = {
  put,
  get,
  list,
  cancel,
}

/** `./healthblock patient file put|get|list|cancel …`. */
export async function file(context: Context, positionals: string[]): Promise<ExitCode> {
  const [action, ...rest] = positionals
  const run = action !== undefined && Object.hasOwn(actions, action) ? actions[action] : undefined
  if (run === undefined) throw new UsageError('file needs put, get, list or cancel')
  return await run(context, rest)
}
