/**
 * Fuzzing of parsers: good inputs are damaged at random, as bytes and by their structure, and each must give a value or a typed error, soon,
 * and leave nothing behind. Damage that a parser answered in a new way is damaged further. A failure names its seed; FUZZ_SEED repeats it,
 * FUZZ_SECONDS (default 0.08 for each parser) lengthens the run; `./healthblock test fuzz` runs all parsers for minutes.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { mutate, Random, reshape } from './mutate.ts'

/** How long each parser is tried. */
export const fuzzMs = Number(process.env.FUZZ_SECONDS ?? 0.08) * 1000
/** What the suite begins with, the same each time; `./healthblock test fuzz` draws another one for each run. */
export const fuzzSeed = Number(process.env.FUZZ_SEED ?? 1)

/** A call that takes longer counts as a hang; a machine that is busy may take a while for anything. */
const hangMs = 60_000
/** What a parser may leave behind in memory, after a collection: tables of known size, no more. */
const growthBytesMax = 48 * 1024 * 1024
/** Damaged inputs that are kept because a parser answered them in a new way. */
const keptMax = 64

/** One parser. */
export interface FuzzTarget {
  readonly name: string
  /** Good inputs. */
  readonly corpus: readonly Uint8Array[]
  /** Reads an input; it may also judge what came of it, and throws an error of another kind if that cannot be. */
  readonly parse: (bytes: Uint8Array) => unknown
  /** Most inputs, for parsers that are slow on purpose. */
  readonly inputsMax?: number
  /** Fewest inputs, for parsers that are slower still; default 40. */
  readonly inputsMin?: number
  /** Looks whether all is well after the last input. */
  readonly afterwards?: () => Promise<void>
}

/** Parsers that belong together. */
export interface FuzzSuite {
  readonly targets: readonly FuzzTarget[]
  /** True for the errors that these parsers document. */
  readonly isTyped: (error: unknown) => boolean
  readonly close?: () => Promise<void>
}

/** How long, and from which seed. */
export interface FuzzRun {
  readonly ms: number
  readonly seed: number
}

/** What came of a parser's inputs. */
export interface FuzzTally {
  inputs: number
  /** Inputs that were read to the end. */
  accepted: number
  /** Typed errors by their code. */
  readonly refused: Map<string, number>
}

let collect: (() => void) | undefined

/** Collects garbage now. */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  collect()
}

function memoryBytes(): number {
  collectGarbage()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

/**
 * Tries one parser, at least `inputsMin` inputs.
 *
 * @throws {Error} with the seed and the input, for an error of another kind, a hang, or memory that is not given back.
 */
export async function fuzz(
  target: FuzzTarget,
  isTyped: (error: unknown) => boolean,
  { ms, seed }: FuzzRun = { ms: fuzzMs, seed: fuzzSeed },
): Promise<FuzzTally> {
  const random = new Random(seed)
  const before = memoryBytes()
  const endMs = performance.now() + ms
  const { inputsMax = Number.MAX_SAFE_INTEGER, inputsMin = 40 } = target
  const tally: FuzzTally = { inputs: 0, accepted: 0, refused: new Map() }
  const corpus = [...target.corpus]
  const answers = new Set<string>()
  for (const good of target.corpus) await tryOne(target, seed, good)
  while (tally.inputs < inputsMax && (tally.inputs < inputsMin || performance.now() < endMs)) {
    const from = random.below(2) === 0 ? target.corpus : corpus
    const input = random.below(4) === 0 ? mutate(random, from) : reshape(random, from)
    const answer = await tryOne(target, seed, input, isTyped)
    tally.inputs++
    if (answer === undefined) tally.accepted++
    else tally.refused.set(answer.code, (tally.refused.get(answer.code) ?? 0) + 1)
    // Numbers and ids in a message make no new answer.
    const words = answer === undefined ? 'accepted' : answer.message.replaceAll(/[0-9a-f]*[0-9][0-9a-f]*/g, '0')
    if (answers.has(words) || answers.size >= keptMax) continue
    answers.add(words)
    corpus.push(input)
  }
  await target.afterwards?.()
  corpus.length = 0
  let grown = memoryBytes() - before
  // Arrays outside the heap are freed by another thread, some time after the collection that found them.
  for (let tries = 0; grown > growthBytesMax && tries < 20; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    grown = memoryBytes() - before
  }
  if (grown > growthBytesMax) throw new Error(`${target.name}: ${grown} bytes are kept after ${tally.inputs} inputs`)
  return tally
}

/** How a parser refused; undefined if it did not. Without `isTyped` the input is a good one. */
async function tryOne(
  target: FuzzTarget,
  seed: number,
  input: Uint8Array,
  isTyped?: (error: unknown) => boolean,
): Promise<{ code: string; message: string } | undefined> {
  const shown = (): string => `${target.name}, FUZZ_SEED=${seed}, input ${Buffer.from(input).toString('base64')}`
  const begunMs = performance.now()
  let refusal: { code: string; message: string } | undefined
  try {
    await target.parse(input)
  } catch (error) {
    if (isTyped === undefined) throw new Error(`a good input is refused: ${shown()}`, { cause: error })
    if (!isTyped(error)) throw new Error(`not a typed error: ${shown()}`, { cause: error })
    const { message, detail } = error as Error & { detail?: { code?: string } }
    refusal = { code: detail?.code ?? 'typed', message }
  }
  const tookMs = performance.now() - begunMs
  if (tookMs > hangMs) throw new Error(`${Math.round(tookMs)} ms: ${shown()}`)
  return refusal
}

/** Bytes as a text of as many characters. */
export function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

/** Good inputs that are texts. */
export function texts(...list: string[]): Uint8Array[] {
  return list.map((text) => encodeUtf8(text))
}
