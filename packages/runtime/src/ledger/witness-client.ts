/** Asks a witness (C2SP tlog-witness) for its cosignature: bounded in time and size, and whatever it answers is one of a few outcomes. */
import { lookup as lookUp } from 'node:dns'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import type { LookupFunction } from 'node:net'
import type { CheckpointHead, NoteKey } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { encodeAddCheckpoint } from '@healthblock/chain/proof'
import {
  parseWitnessKey,
  parseWitnessSize,
  verifyWitnessAnswer,
  type WitnessCosignature,
  witnessAnswerSizeBytesMax,
} from '@healthblock/chain/witness'
import { codeOf, messageOf } from '../errors.ts'

/** A witness. */
export interface Witness {
  /** Submission prefix, http or https, without a slash at the end. */
  readonly url: string
  readonly key: NoteKey
}

/** A head to be cosigned. */
export interface WitnessRequest {
  readonly head: CheckpointHead
  /** The head's note with a line of a log key. */
  readonly checkpoint: string
  /** What the witness is thought to hold, and the consistency proof from there to the head. */
  readonly oldSize: number
  readonly proof: readonly Uint8Array[]
}

/** A witness whose answers are asked for, and verified. */
export interface WitnessClient {
  readonly key: NoteKey
  readonly ask: (request: WitnessRequest) => Promise<WitnessOutcome>
}

/**
 * A witness from its address and its verifier key.
 *
 * @throws {ChainError} `ERR_KEY_TEXT_INVALID`.
 */
export function createWitnessClient(entry: { readonly url: string; readonly vkey: string }): WitnessClient {
  const [url, key] = [entry.url.replace(/\/+$/, ''), parseWitnessKey(entry.vkey)]
  return { key, ask: (request) => askWitness({ url, key }, request) }
}

/** Why a witness refuses: it knows no such log; no line is of a key that it trusts; what it holds is of another history; anything else. */
export type WitnessRefusal = 'unknown-log' | 'untrusted' | 'inconsistent' | 'failed'

/** What came of asking. */
export type WitnessOutcome =
  | { readonly kind: 'cosigned'; readonly cosignature: WitnessCosignature }
  /** It holds another size than was thought: its word, unsigned. */
  | { readonly kind: 'holds'; readonly size: number }
  | { readonly kind: 'refused'; readonly reason: WitnessRefusal; readonly status: number }
  /** It answered what no correct witness does. */
  | { readonly kind: 'invalid'; readonly reason: string }
  | { readonly kind: 'unreachable'; readonly reason: string }

/** Time of one exchange, unless the caller says otherwise. */
const timeoutMsDefault = 5_000

const refusals: Readonly<Record<number, WitnessRefusal>> = { 403: 'untrusted', 404: 'unknown-log', 422: 'inconsistent' }

let lookups: Promise<void> = Promise.resolve()

/** Looks names up one after the other: a resolver that hangs holds one thread of the pool at most, and the others write the ledger. */
const lookUpInTurn: LookupFunction = (hostname, options, done) => {
  lookups = lookups.then(
    () =>
      new Promise((resolve) => {
        lookUp(hostname, options, (...result) => {
          resolve()
          done(...result)
        })
      }),
  )
}

interface Answer {
  readonly status: number
  readonly bytes: Uint8Array
}

/** Sends a text and reads the whole answer; more than is allowed ends the exchange, and gives undefined. */
function post(url: string, body: string, signal: AbortSignal): Promise<Answer | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<Answer | undefined>()
  const send = url.startsWith('https:') ? httpsRequest : httpRequest
  const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': String(Buffer.byteLength(body)) }
  const request = send(url, { method: 'POST', headers, lookup: lookUpInTurn, signal }, (response) => {
    const parts: Buffer[] = []
    let sizeBytes = 0
    response.on('data', (part: Buffer) => {
      sizeBytes += part.length
      parts.push(part)
      if (sizeBytes <= witnessAnswerSizeBytesMax) return
      resolve(undefined)
      request.destroy()
    })
    response.once('end', () => resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(parts) }))
    response.once('error', reject)
  })
  request.once('error', reject)
  request.end(body)
  return promise
}

function judge({ status, bytes }: Answer, request: WitnessRequest, key: NoteKey): WitnessOutcome {
  if (status !== 200 && status !== 409) return { kind: 'refused', reason: refusals[status] ?? 'failed', status }
  const answer = new TextDecoder().decode(bytes)
  try {
    if (status === 409) return { kind: 'holds', size: parseWitnessSize(answer) }
    return { kind: 'cosigned', cosignature: verifyWitnessAnswer({ answer, head: request.head, key }) }
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return { kind: 'invalid', reason: error.message }
  }
}

/** Asks once. It never rejects for anything that the witness does; an abort of `signal` throws its reason. */
export async function askWitness(
  { url, key }: Witness,
  request: WitnessRequest,
  options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {},
): Promise<WitnessOutcome> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? timeoutMsDefault)
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal])
  let answer: Answer | undefined
  try {
    answer = await post(`${url}/add-checkpoint`, encodeAddCheckpoint(request), signal)
  } catch (error) {
    options.signal?.throwIfAborted()
    const reason = timeout.aborted ? 'no answer in time' : (codeOf(error) ?? messageOf(error))
    return { kind: 'unreachable', reason }
  }
  if (answer === undefined)
    return { kind: 'invalid', reason: `an answer of more than ${witnessAnswerSizeBytesMax} bytes` }
  return judge(answer, request, key)
}
