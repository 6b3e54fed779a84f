/** What the commands of the Kubo RPC have in common: their arguments, how they are read, and how answers look. */
import { Readable } from 'node:stream'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteShorthandOptions } from 'fastify'
import type { CID } from 'multiformats/cid'
import { StorageError } from '../errors.ts'
import { failureAnswer } from '../failures.ts'
import { type BlockId, codecs, fromCid, parseBlockId, parseCid } from '../store/block-id.ts'
import { parseDurationMs } from './duration.ts'
import type { KuboRouteParts } from './parts.ts'
import type { RequestSchema } from './validation.ts'

const defaultTimeoutMs = 30_000
const argumentsMax = 256
/** Longest argument: a path into a directory. */
const argumentLengthMax = 2048

const text = { type: 'string', maxLength: 160 } as const
const flags = [
  'timeout offline pin force quiet recursive type stream format cid-codec mhtype mhlen cid-version raw-leaves chunker',
  'wrap-with-directory only-hash progress offset length unique edges max-depth verbose store-codec input-codec output-codec',
  'hash size resolve-type pin-roots stats trickle nocopy fscache inline to-files silent',
].flatMap((line) => line.split(' '))

/** The query of every command; what is not in it is not understood, and ignored as Kubo does. */
export const querystring = {
  type: 'object',
  properties: {
    arg: { type: 'array', items: { type: 'string', maxLength: argumentLengthMax }, maxItems: argumentsMax },
    ...Object.fromEntries(flags.map((name) => [name, text])),
  },
} as const satisfies RequestSchema

/** A command's query. */
export type KuboQuery = { arg?: string[] } & { [name: string]: string | undefined | string[] }
/** A command's request. */
export type KuboRequest = FastifyRequest<{ Querystring: KuboQuery }>

/** What options are read from. */
export type Options = Pick<KuboRequest, 'query'>

/** Why an argument cannot be used. */
export function argumentInvalid(field: string, reason: string): StorageError {
  return new StorageError(`${field}: ${reason}`, { code: 'ERR_ARGUMENT_INVALID', field, reason })
}

/** One option's text. */
export function optionOf(request: Options, name: string): string | undefined {
  const value = request.query[name]
  return typeof value === 'string' ? value : undefined
}

/** As Go reads a yes or no; an option without a value is a yes. */
const flagWords: Readonly<Record<string, boolean>> = Object.fromEntries([
  ...['', '1', 't', 'T', 'true', 'TRUE', 'True'].map((word) => [word, true] as const),
  ...['0', 'f', 'F', 'false', 'FALSE', 'False'].map((word) => [word, false] as const),
])

/** One option as a yes or no. @throws {StorageError} `ERR_ARGUMENT_INVALID` for any other word. */
export function flagOf(request: Options, name: string, fallback = false): boolean {
  const value = optionOf(request, name)
  if (value === undefined) return fallback
  if (Object.hasOwn(flagWords, value)) return flagWords[value] as boolean
  throw argumentInvalid(name, 'neither true nor false')
}

/** One option as a whole number. @throws {StorageError} `ERR_ARGUMENT_INVALID`. */
export function numberOf(request: KuboRequest, name: string): number | undefined {
  const value = optionOf(request, name)
  if (value === undefined) return undefined
  const number = Number(value)
  if (!Number.isSafeInteger(number) || number < 0) throw argumentInvalid(name, 'not a whole number')
  return number
}

/** The arguments. @throws {StorageError} `ERR_ARGUMENT_INVALID` without one. */
export function argumentsOf(request: KuboRequest, name = 'cid'): string[] {
  const list = request.query.arg ?? []
  if (list.length === 0) throw new StorageError(`argument "${name}" is required`, argumentMissing)
  return list
}
const argumentMissing = { code: 'ERR_ARGUMENT_INVALID', field: 'arg', reason: 'missing' } as const

/** The one argument. @throws {StorageError} `ERR_ARGUMENT_INVALID`. */
export function argumentOf(request: KuboRequest, name = 'cid'): string {
  const [argument, ...others] = argumentsOf(request, name)
  if (argument === undefined || others.length > 0) throw argumentInvalid('arg', 'exactly one is needed')
  return argument
}

/** The blocks that the arguments name. */
export function idsOf(request: KuboRequest): BlockId[] {
  return argumentsOf(request).map(parseBlockId)
}

/** The block that the one argument names. */
export function idOf(request: KuboRequest): BlockId {
  return parseBlockId(argumentOf(request))
}

/** A path's CID, whose block may be here, and the names after it. @throws {StorageError} `ERR_CID_INVALID`. */
export function parsePath(path: string): { root: CID; names: string[] } {
  const [root = '', ...names] = path.replace(/^(?:\/ipfs\/|ipfs:\/\/)/, '').split('/')
  const cid = parseCid(root)
  fromCid(cid)
  return { root: cid, names: names.filter((name) => name !== '') }
}

/**
 * The block that a path ends at: a CID, or what names in directories lead to.
 *
 * @throws {StorageError} `ERR_CID_INVALID`, `ERR_PATH_NOT_FOUND`, `ERR_BLOCK_NOT_FOUND`.
 */
export async function rootOf(
  { files }: Pick<KuboRouteParts, 'files'>,
  request: KuboRequest,
  path: string,
): Promise<BlockId> {
  const parsed = parsePath(path)
  if (parsed.names.length === 0) return fromCid(parsed.root)
  return fromCid((await files.resolve(parsed, files.reader(signalOf(request), flagOf(request, 'offline')))).cid)
}

/** Ends when the caller's time is over. */
export function signalOf(request: KuboRequest): AbortSignal {
  const timeout = optionOf(request, 'timeout')
  return AbortSignal.timeout(timeout ? parseDurationMs(timeout) : defaultTimeoutMs)
}

/** The codec of an option. @throws {StorageError} `ERR_ARGUMENT_INVALID`. */
export function codecOf(name: string, field: string): number {
  const codec = Object.hasOwn(codecs, name) ? codecs[name] : undefined
  if (codec === undefined) throw argumentInvalid(field, `unknown multicodec: "${name}"`)
  return codec
}

/** Refuses every hash but SHA-256. */
export function assertSha256(request: Options): void {
  const hash = optionOf(request, 'mhtype') ?? optionOf(request, 'hash') ?? 'sha2-256'
  const length = optionOf(request, 'mhlen') ?? '-1'
  if (hash !== 'sha2-256' || (length !== '-1' && length !== '32')) throw argumentInvalid('mhtype', 'only sha2-256')
}

/** Adds one command. */
export function addCommand(
  app: FastifyInstance,
  name: string,
  handle: (request: KuboRequest, reply: FastifyReply) => Promise<unknown>,
  options: Pick<RouteShorthandOptions, 'bodyLimit' | 'preParsing'> & { consumes?: readonly string[] } = {},
): void {
  const { consumes, ...rest } = options
  const schema = { querystring, ...(consumes ? { consumes } : {}) }
  app.post<{ Querystring: KuboQuery }>(`/api/v0/${name}`, { schema, ...rest }, handle)
}

async function* toLines(source: AsyncIterable<object>): AsyncGenerator<string> {
  for await (const line of source) yield `${JSON.stringify(line)}\n`
}

/**
 * Makes the first value of a source, so that what fails at once is answered as an error and not in the middle.
 *
 * @param toLast - the value that tells of a failure after it, before that is thrown.
 */
async function begun<T>(source: AsyncIterable<T>, toLast?: (error: unknown) => T): Promise<AsyncIterable<T>> {
  const iterator = source[Symbol.asyncIterator]()
  let first: IteratorResult<T> | undefined = await iterator.next()
  let failure: { error: unknown } | undefined
  const rest: AsyncIterator<T> = {
    next: async () => {
      if (failure !== undefined) {
        // What was said of it is on its way.
        await nextTurn()
        throw failure.error
      }
      try {
        const next = first ?? (await iterator.next())
        first = undefined
        return next
      } catch (error) {
        if (toLast === undefined) throw error
        failure = { error }
        return { done: false, value: toLast(error) }
      }
    },
    // Also if nobody has read a line: a generator that was not begun would end without a word to its source.
    return: async () => {
      await iterator.return?.()
      return { done: true, value: undefined }
    },
  }
  return { [Symbol.asyncIterator]: () => rest }
}

/**
 * Answers with one JSON object a line. A failure before the first is an answer of its own; one after it is the last line, as
 * Kubo's command line shows it to its user, and cuts the connection, so that nobody takes half for the whole.
 */
export async function sendLines(reply: FastifyReply, source: AsyncIterable<object>): Promise<FastifyReply> {
  const toLast = (error: unknown): string => `${JSON.stringify(failureAnswer(error, reply.request.url).body)}\n`
  const lines = await begun(toLines(source), toLast)
  return reply
    .type('application/json')
    .header('x-chunked-output', '1')
    .send(Readable.from(lines, { objectMode: false }))
}

/** Answers with bytes; failures as in {@link sendLines}. The reader's pace is the source's. */
export async function sendBytes(
  reply: FastifyReply,
  source: AsyncIterable<Uint8Array>,
  options: { type: string; sizeBytes?: number },
): Promise<FastifyReply> {
  const bytes = await begun(source)
  reply.type(options.type).header('x-stream-output', '1').header('x-content-type-options', 'nosniff')
  if (options.sizeBytes !== undefined) reply.header('x-content-length', String(options.sizeBytes))
  return reply.send(Readable.from(bytes, { objectMode: false, highWaterMark: 0 }))
}
