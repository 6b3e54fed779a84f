/**
 * Fuzzing of parsers: good inputs are damaged at random, and each must give a value or a typed error, soon, and leave nothing
 * behind. A failure names its seed; FUZZ_SEED repeats it, FUZZ_SECONDS (default 0.15 for each parser) lengthens the run.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** How long each parser is tried. */
export const fuzzMs = Number(process.env.FUZZ_SECONDS ?? 0.15) * 1000
/** What the run begins with: another one each time, unless it is given. */
export const fuzzSeed = Number(process.env.FUZZ_SEED ?? Math.floor(Math.random() * 2 ** 31))

/** A call that takes longer counts as a hang; a machine that is busy may take a while for anything. */
const hangMs = 60_000
/** What a parser may leave behind in memory, after a collection: tables of known size, no more. */
const growthBytesMax = 48 * 1024 * 1024
const inputBytesMax = 300_000

/** Random numbers from a seed (mulberry32). */
export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 to below `below`, whole. */
  below(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }

  bytes(length: number): Uint8Array {
    return Uint8Array.from({ length }, () => this.below(256))
  }
}

const interesting = [0x00, 0x01, 0x0a, 0x17, 0x18, 0x20, 0x2b, 0x3d, 0x5f, 0x7f, 0x80, 0x9b, 0xa0, 0xbb, 0xf6, 0xff]

/** Changes bytes in a few of the ways in which damaged and hostile bytes differ from good ones. */
export function mutate(random: Random, corpus: readonly Uint8Array[]): Uint8Array {
  let bytes = Uint8Array.from(random.pick(corpus))
  const steps = 1 + random.below(6)
  for (let step = 0; step < steps; step++) {
    const at = random.below(bytes.length + 1)
    const length = 1 + random.below(random.below(4) === 0 ? 64 : 8)
    const splice = (removed: number, ...added: Uint8Array[]): void => {
      const inserted = Buffer.concat(added)
      bytes = Uint8Array.from(Buffer.concat([bytes.subarray(0, at), inserted, bytes.subarray(at + removed)]))
    }
    switch (random.below(8)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
        break
      case 1:
        if (at < bytes.length) bytes[at] = random.pick(interesting)
        break
      case 2:
        splice(0, random.bytes(length))
        break
      case 3:
        splice(length)
        break
      case 4:
        bytes = bytes.slice(0, at)
        break
      case 5:
        splice(0, bytes.subarray(at, at + length))
        break
      case 6: {
        const other = random.pick(corpus)
        const from = random.below(other.length + 1)
        splice(random.below(length), other.subarray(from, from + length * 4))
        break
      }
      default:
        splice(
          length,
          Uint8Array.from({ length }, () => random.pick(interesting)),
        )
    }
  }
  return bytes.subarray(0, inputBytesMax)
}

/** One parser. */
export interface FuzzTarget {
  readonly name: string
  /** Good inputs. */
  readonly corpus: readonly Uint8Array[]
  readonly parse: (bytes: Uint8Array) => unknown
  /** Most inputs, for parsers that are slow on purpose. */
  readonly inputsMax?: number
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
 * Tries one parser for `fuzzMs`, at least a hundred inputs.
 *
 * @param isTyped - true for the errors that parsers document.
 * @returns How many inputs were tried.
 * @throws {Error} with the seed and the input, for an error of another kind, a hang, or memory that is not given back.
 */
export async function fuzz(target: FuzzTarget, isTyped: (error: unknown) => boolean): Promise<number> {
  const random = new Random(fuzzSeed)
  const before = memoryBytes()
  const endMs = performance.now() + fuzzMs
  const leastInputs = Math.min(100, target.inputsMax ?? 100)
  let count = 0
  for (const good of target.corpus) await tryOne(target, good)
  while (count < (target.inputsMax ?? Number.MAX_SAFE_INTEGER) && (count < leastInputs || performance.now() < endMs)) {
    // Each input has a seed of its own, so that a failure is repeated at once.
    await tryOne(target, mutate(random, target.corpus), isTyped)
    count++
  }
  let grown = memoryBytes() - before
  // Arrays outside the heap are freed by another thread, some time after the collection that found them.
  for (let tries = 0; grown > growthBytesMax && tries < 20; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    grown = memoryBytes() - before
  }
  if (grown > growthBytesMax) throw new Error(`${target.name}: ${grown} bytes are kept after ${count} inputs`)
  return count
}

/** Without `isTyped` the input is a good one. */
async function tryOne(target: FuzzTarget, input: Uint8Array, isTyped?: (error: unknown) => boolean): Promise<void> {
  const shown = (): string => `${target.name}, FUZZ_SEED=${fuzzSeed}, input ${Buffer.from(input).toString('base64')}`
  const begunMs = performance.now()
  try {
    await target.parse(input)
  } catch (error) {
    if (isTyped === undefined) throw new Error(`a good input is refused: ${shown()}`, { cause: error })
    if (!isTyped(error)) throw new Error(`not a typed error: ${shown()}`, { cause: error })
  }
  const tookMs = performance.now() - begunMs
  if (tookMs > hangMs) throw new Error(`${Math.round(tookMs)} ms: ${shown()}`)
}
