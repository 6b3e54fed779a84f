/**
 * As much of an assembler for WebAssembly (Core Specification 2.0 with relaxed SIMD) as `kernel.ts` needs: a module with one memory of its
 * own and functions of i32 parameters that return nothing. Instructions are appended in order; a value is named by putting it into a local.
 */
import { concatBytes } from '@healthblock/encoding/bytes'

const valueTypes = { i32: 0x7f, v128: 0x7b } as const
type ValueType = keyof typeof valueTypes

/** A local of a function. */
export interface Local {
  readonly index: number
}

/** Appends a whole number of up to 31 bits, in unsigned LEB128. */
function append(bytes: number[], value: number): number[] {
  let rest = value
  for (; rest > 0x7f; rest >>= 7) bytes.push((rest & 0x7f) | 0x80)
  bytes.push(rest)
  return bytes
}

function u32(value: number): number[] {
  return append([], value)
}

/** Signed LEB128. */
function s32(value: number): number[] {
  const bytes: number[] = []
  let rest = value | 0
  for (;;) {
    const low = rest & 0x7f
    rest >>= 7
    const isLast = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0)
    bytes.push(isLast ? low : low | 0x80)
    if (isLast) return bytes
  }
}

/** The 64 bits of a double. */
export function doubleBits(value: number): bigint {
  return new BigUint64Array(Float64Array.of(value).buffer)[0] as bigint
}

/** Opcodes of vector instructions without immediates, behind the prefix 0xfd. */
const vectorCodes = {
  'i32x4.mul': 0xb5,
  'i64x2.add': 0xce,
  'i64x2.shl': 0xcb,
  'i64x2.shr_u': 0xcd,
  'v128.and': 0x4e,
  'v128.xor': 0x51,
  'f64x2.add': 0xf0,
  'f64x2.sub': 0xf1,
  'f64x2.relaxed_madd': 0x107,
} as const
const integerCodes = { add: 0x6a, sub: 0x6b, mul: 0x6c, and: 0x71 } as const

/** The body of one function. */
export class FunctionBody {
  readonly #parameterCount: number
  #localCount = 0
  /** Of each local: 1, since they are declared one by one, and its type. */
  readonly #locals: number[] = []
  readonly #code: number[] = []
  readonly #constants = new Map<bigint, Local>()
  readonly parameters: readonly Local[]

  constructor(parameterCount: number) {
    this.#parameterCount = parameterCount
    this.parameters = Array.from({ length: parameterCount }, (_, index) => ({ index }))
  }

  /** A new local. */
  local(type: ValueType): Local {
    this.#locals.push(1, valueTypes[type])
    return { index: this.#parameterCount + this.#localCount++ }
  }

  get(local: Local): this {
    this.#code.push(0x20)
    append(this.#code, local.index)
    return this
  }

  set(local: Local): this {
    this.#code.push(0x21)
    append(this.#code, local.index)
    return this
  }

  /** Takes the value on the stack into a new local. */
  name(type: ValueType = 'v128'): Local {
    const local = this.local(type)
    this.set(local)
    return local
  }

  i32(value: number): this {
    this.#code.push(0x41, ...s32(value))
    return this
  }

  integer(name: keyof typeof integerCodes): this {
    this.#code.push(integerCodes[name])
    return this
  }

  vector(name: keyof typeof vectorCodes): this {
    this.#code.push(0xfd)
    append(this.#code, vectorCodes[name])
    return this
  }

  /**
   * Both lanes the same 64 bits. The first use names them for all that follow (loops run at least once): V8 would make a vector's constant
   * anew at every use, which took a third of the time of all arithmetic.
   */
  constant(bits: bigint): this {
    const known = this.#constants.get(bits)
    if (known !== undefined) return this.get(known)
    const lane = new DataView(new ArrayBuffer(8))
    lane.setBigUint64(0, bits, true)
    const bytes = new Uint8Array(lane.buffer)
    this.#code.push(0xfd, ...u32(0x0c), ...bytes, ...bytes)
    const local = this.name()
    this.#constants.set(bits, local)
    return this.get(local)
  }

  /** Both lanes the same double. */
  double(value: number): this {
    return this.constant(doubleBits(value))
  }

  /** 16 bytes at the address on the stack. */
  load(offset: number): this {
    this.#code.push(0xfd, 0x00, 3, ...u32(offset))
    return this
  }

  /** The vector on the stack to the address below it. */
  store(offset: number): this {
    this.#code.push(0xfd, 0x0b, 3, ...u32(offset))
    return this
  }

  /** 8 bytes at the address on the stack, into lane 0. */
  loadLow(offset: number): this {
    this.#code.push(0xfd, ...u32(0x5d), 3, ...u32(offset))
    return this
  }

  /** Of an address and a vector: 8 bytes there, into the vector's lane 1. */
  loadHigh(offset: number): this {
    this.#code.push(0xfd, ...u32(0x57), 3, ...u32(offset), 1)
    return this
  }

  /** A word of 4 bytes at the address on the stack. */
  loadWord(offset: number): this {
    this.#code.push(0x28, 2, ...u32(offset))
    return this
  }

  /** Lanes of two vectors in another order: numbers of 16 bytes, those of the second from 16 on. */
  shuffle(lanes: readonly number[]): this {
    this.#code.push(0xfd, ...u32(0x0d), ...lanes)
    return this
  }

  /** The two lanes of a vector, given twice, in the other order. */
  swap(): this {
    return this.shuffle([8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7])
  }

  /** A word, unsigned, in both lanes. */
  splat(): this {
    this.#code.push(0xad, 0xfd, ...u32(0x12))
    return this
  }

  /** Of a vector and a word: the word, unsigned, in the vector's lane 1. */
  replaceHigh(): this {
    this.#code.push(0xad, 0xfd, ...u32(0x1e), 1)
    return this
  }

  call(index: number): this {
    this.#code.push(0x10, ...u32(index))
    return this
  }

  /** Does it as often as a counter says, which it takes down to 0; at least once. */
  repeat(counter: Local, work: () => void): this {
    this.#code.push(0x03, 0x40)
    work()
    this.get(counter).i32(1).integer('sub')
    this.#code.push(0x22, ...u32(counter.index), 0x0d, 0, 0x0b)
    return this
  }

  bytes(): Uint8Array {
    const count = u32(this.#localCount)
    const sizeBytes = count.length + this.#locals.length + this.#code.length + 1
    const parts = [u32(sizeBytes), count, this.#locals, this.#code, [0x0b]]
    return concatBytes(...parts.map((part) => new Uint8Array(part)))
  }

  get parameterCount(): number {
    return this.#parameterCount
  }
}

/** A module of such functions; all of them and the memory are exported. */
export class ModuleText {
  readonly #functions: { readonly name: string; readonly body: FunctionBody }[] = []

  /** Adds a function; those before it may be called by their index. */
  add(name: string, parameterCount: number, write: (body: FunctionBody) => void): number {
    const body = new FunctionBody(parameterCount)
    write(body)
    this.#functions.push({ name, body })
    return this.#functions.length - 1
  }

  /** The binary format. The memory begins with `pages` of 64 KiB. */
  bytes(pages: number): Uint8Array<ArrayBuffer> {
    const section = (id: number, items: readonly ArrayLike<number>[]) => {
      const content = concatBytes(...[u32(items.length), ...items].map((item) => new Uint8Array(item)))
      return concatBytes(Uint8Array.of(id, ...u32(content.length)), content)
    }
    const text = (name: string) => [...u32(name.length), ...new TextEncoder().encode(name)]
    const functions = this.#functions
    return concatBytes(
      Uint8Array.of(0, 0x61, 0x73, 0x6d, 1, 0, 0, 0),
      section(
        1,
        functions.map(({ body }) => [0x60, ...u32(body.parameterCount), ...Array(body.parameterCount).fill(0x7f), 0]),
      ),
      section(
        3,
        functions.map((_, index) => u32(index)),
      ),
      section(5, [[0, ...u32(pages)]]),
      section(7, [[...text('memory'), 2, 0], ...functions.map(({ name }, index) => [...text(name), 0, ...u32(index)])]),
      section(
        10,
        functions.map(({ body }) => body.bytes()),
      ),
    )
  }
}

/** The platform's compiler, as far as it is used: TypeScript declares it beside the DOM alone. */
export interface Platform {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (module: object) => { readonly exports: object }
}

/** A module's memory, which does not grow. */
export interface ModuleMemory {
  readonly buffer: ArrayBuffer
}

/** The exports of a module of such functions; undefined where the platform lacks one of its instructions, its memory, or WebAssembly. */
export function instantiate(bytes: Uint8Array<ArrayBuffer>): object | undefined {
  try {
    const { WebAssembly: platform } = globalThis as unknown as { WebAssembly: Platform }
    return new platform.Instance(new platform.Module(bytes)).exports
  } catch {
    return undefined
  }
}
