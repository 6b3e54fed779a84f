/**
 * A disk that keeps its promises and no more. What was synced survives; what was being written when its process died is there not at
 * all, in part, or whole; a part may end in zeros, as a file system leaves them. It can be set back to an earlier state.
 */
import type { AppendFile, Disk } from '../../services/accounting-node/src/core/ports.ts'
import type { Life } from './scheduler.ts'
import { fateOf, Injected, later, type World } from './world.ts'

/** A file's bytes, with room behind them. */
class Content {
  #bytes: Uint8Array = new Uint8Array(256)
  length = 0
  /** What a crash may bring back: the content before a write that was not synced. */
  unsynced: Uint8Array | undefined

  append(bytes: Uint8Array): void {
    const needed = this.length + bytes.length
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2))
      grown.set(this.#bytes.subarray(0, this.length))
      this.#bytes = grown
    }
    this.#bytes.set(bytes, this.length)
    this.length = needed
  }

  set(bytes: Uint8Array): void {
    this.#bytes = bytes.slice()
    this.length = bytes.length
  }

  read(from: number, to: number): Uint8Array {
    return this.#bytes.slice(from, Math.min(to, this.length))
  }

  holds(bytes: Uint8Array): boolean {
    const { buffer, byteOffset } = this.#bytes
    return Buffer.from(buffer, byteOffset, this.length).lastIndexOf(bytes) >= 0
  }

  flip(at: number): void {
    this.#bytes[at] = (this.#bytes[at] as number) ^ 0x10
  }
}

/** A write under way: what is on the disk once `share` of it is done. */
interface Writing {
  readonly apply: (share: number) => void
}

/** The folder of one chain of one node. */
export class SimulatedDisk {
  readonly #world: World
  readonly #name: string
  #files = new Map<string, Content>()
  readonly #writing = new Set<Writing>()

  constructor(world: World, name: string) {
    this.#world = world
    this.#name = name
  }

  #content(name: string): Content {
    let content = this.#files.get(name)
    if (content === undefined) {
      content = new Content()
      this.#files.set(name, content)
    }
    return content
  }

  /** The disk as one process has it. */
  port(life: Life): Disk {
    return {
      open: async (name) => {
        await later(this.#world, life, 0.2)
        return this.#file(life, name)
      },
      read: async (name) => {
        const content = this.#files.get(name)
        await later(this.#world, life, 0.1)
        return content?.read(0, content.length)
      },
      write: (name, bytes, { durable }) => this.#write(life, `write ${name}`, () => this.#put(name, bytes, durable)),
      list: async () => [...this.#files.keys()].sort(),
      remove: (name) => this.#write(life, `remove ${name}`, () => void this.#files.delete(name)),
    }
  }

  #put(name: string, bytes: Uint8Array, durable: boolean): void {
    const content = this.#content(name)
    if (!durable) content.unsynced = content.read(0, content.length)
    content.set(bytes)
  }

  #file(life: Life, name: string): AppendFile {
    const content = this.#content(name)
    return {
      size: () => content.length,
      read: (offset, length) => {
        if (life.isDead) throw new Injected('dead')
        return content.read(offset, offset + length)
      },
      append: (bytes) => this.#write(life, `append ${name}`, (share) => this.#append(content, bytes, share)),
      replace: (bytes) =>
        this.#write(life, `replace ${name}`, (share) => {
          if (share === 1) content.set(bytes)
        }),
      truncate: (size) =>
        this.#write(life, `truncate ${name}`, (share) => {
          if (share === 1) content.length = size
        }),
      close: async () => {},
    }
  }

  /** A torn write: a prefix, sometimes followed by zeros up to the full length. */
  #append(content: Content, bytes: Uint8Array, share: number): void {
    const written = Math.floor(bytes.length * share)
    content.append(bytes.subarray(0, written))
    if (share < 1 && this.#world.random.chance(0.3)) content.append(new Uint8Array(bytes.length - written))
  }

  async #write(life: Life, what: string, apply: (share: number) => void): Promise<void> {
    if (life.isDead) return new Promise(() => {})
    const { world, writing } = { world: this.#world, writing: { apply } }
    const fate = fateOf(world, { kind: 'disk', rank: life.rank, what: `${this.#name} ${what}` })
    world.trace.step(`disk ${fate}`, life.rank, `${this.#name} ${what}`)
    this.#writing.add(writing)
    await later(world, life, world.random.between(0.2, 3))
    this.#writing.delete(writing)
    if (fate === 'fails') this.#tear(writing)
    else apply(1)
    if (fate !== 'done') throw new Injected(`${what}: the disk failed`)
  }

  #tear({ apply }: Writing): void {
    const { random } = this.#world
    if (random.chance(0.5)) apply(random.between(0, 0.999))
  }

  /** Its process died: what was under way is there or not. */
  crash(): void {
    const { random } = this.#world
    for (const writing of this.#writing) {
      if (random.chance(0.4)) writing.apply(1)
      else this.#tear(writing)
    }
    this.#writing.clear()
    for (const content of this.#files.values()) {
      if (content.unsynced !== undefined && random.chance(0.5)) content.set(content.unsynced)
      content.unsynced = undefined
    }
  }

  /** A copy of everything, for `restore`. */
  snapshot(): Map<string, Uint8Array> {
    return new Map([...this.#files].map(([name, content]) => [name, content.read(0, content.length)]))
  }

  /** Sets everything back. Its process does not run. */
  restore(snapshot: ReadonlyMap<string, Uint8Array>): void {
    this.#files = new Map()
    for (const [name, bytes] of snapshot) this.#content(name).set(bytes)
  }

  /** Flips a bit somewhere in a file. Its process does not run. */
  damage(name: string): void {
    const content = this.#files.get(name)
    if (content !== undefined && content.length > 0) content.flip(this.#world.random.below(content.length))
  }

  /** True if the bytes stand in a file, towards its end. */
  holds(name: string, bytes: Uint8Array): boolean {
    return this.#files.get(name)?.holds(bytes) === true
  }
}
