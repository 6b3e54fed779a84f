/** The witnesses of a node (SPEC.md §7): who is asked, what they cosigned, and what of it is served. */
import { join } from 'node:path'
import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { encodeVkey, type NoteKey } from '@healthblock/chain/checkpoint'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import type { Witness } from '@healthblock/runtime/witness-client'
import type { PublishedHead } from '../core/chain-core.ts'
import type { Clock } from '../core/ports.ts'
import type { ChainReader } from '../reading/chain-reader.ts'
import { ChainWitnessing, type WitnessFault, type WitnessObserver } from './chain-witnessing.ts'
import { WitnessedHeads } from './witnessed-heads.ts'
import { parseWitness, WitnessesFile } from './witnesses-file.ts'

/** What a witness did on one chain. */
export interface WitnessProgress {
  /** The newest head that it cosigned here, and when by its own clock (Unix ms); absent if there is none. */
  readonly cosigned?: { readonly size: number; readonly ms: number }
  readonly fault?: WitnessFault
}

/** A witness and how it does. */
export interface WitnessStatus extends Readonly<Record<ChainName, WitnessProgress>> {
  readonly name: string
  readonly vkey: string
  readonly url: string
}

/** How to make the witnesses of a node. */
export interface WitnessesOptions {
  readonly dir: string
  readonly readers: Readonly<Record<ChainName, ChainReader>>
  /** This node's log keys; their names are the origins. */
  readonly logKeys: Readonly<Record<ChainName, NoteKey>>
  readonly trail: PolicyTrail
  readonly clock: Clock
  readonly observer: WitnessObserver
}

interface ChainPart {
  readonly heads: WitnessedHeads
  readonly witnessing: ChainWitnessing
}

/** All witnesses of a node. */
export class Witnesses {
  readonly #options: WitnessesOptions
  readonly #file: WitnessesFile
  readonly #chains: Readonly<Record<ChainName, ChainPart>>

  constructor(options: WitnessesOptions) {
    this.#options = options
    this.#file = new WitnessesFile(join(options.dir, 'witnesses.json'))
    this.#chains = { userchain: this.#part('userchain'), docchain: this.#part('docchain') }
  }

  #part(chain: ChainName): ChainPart {
    const { dir, readers, logKeys, clock, observer } = this.#options
    const heads = new WitnessedHeads(join(dir, chain, 'witnessed'), observer.broke)
    const common = { chain, reader: readers[chain], logKey: logKeys[chain], heads, clock, observer }
    return { heads, witnessing: new ChainWitnessing(common) }
  }

  /** Takes up the files, once the readers have what is published. A damaged list is told, and nobody is asked. */
  start(): void {
    const { observer, readers, trail } = this.#options
    try {
      this.#file.open()
    } catch (error) {
      observer.broke(error)
    }
    for (const chain of chainNames) {
      const { ledger } = readers[chain].core
      const keys = this.#file.list.map(({ key }) => key)
      this.#chains[chain].heads.open({
        keys,
        rootAt: (size) => ledger.index(chain).boundary(size)?.root,
        verify: (checkpoint) => void trail.receiptForm(chain, checkpoint),
      })
      for (const witness of this.#file.list) this.#chains[chain].witnessing.add(witness)
    }
  }

  /** Ends asking. */
  async stop(): Promise<void> {
    await Promise.all(chainNames.map((chain) => this.#chains[chain].witnessing.stop()))
  }

  /** Asks a witness from now on, durably. @throws {AccountingError} `ERR_WITNESS_INVALID`. */
  add(entry: { readonly url: string; readonly vkey: string }): WitnessStatus {
    const witness = parseWitness(entry)
    const { name } = witness.key
    const before = this.#file.list.find(({ key }) => key.name === name)
    this.#file.add(witness)
    const isOtherKey = before !== undefined && encodeVkey(before.key) !== encodeVkey(witness.key)
    for (const chain of chainNames) {
      if (isOtherKey) this.#chains[chain].heads.remove(name)
      this.#chains[chain].witnessing.add(witness)
    }
    return this.#status(witness)
  }

  /** Asks a witness no more, and forgets its lines. @throws {AccountingError} `ERR_WITNESS_ABSENT`. */
  remove(name: string): WitnessStatus {
    const witness = this.#file.remove(name)
    for (const chain of chainNames) {
      this.#chains[chain].witnessing.remove(name)
      this.#chains[chain].heads.remove(name)
    }
    return this.#status(witness)
  }

  #status({ key, url }: Witness): WitnessStatus {
    const { name } = key
    const progress = (chain: ChainName): WitnessProgress => {
      const { heads, witnessing } = this.#chains[chain]
      const [cosigned, fault] = [heads.newestOf(name), witnessing.faultOf(name)]
      return { ...(cosigned === undefined ? {} : { cosigned }), ...(fault === undefined ? {} : { fault }) }
    }
    return { name, vkey: encodeVkey(key), url, userchain: progress('userchain'), docchain: progress('docchain') }
  }

  /** All, in the order of their addition. */
  list(): WitnessStatus[] {
    return this.#file.list.map((witness) => this.#status(witness))
  }

  /** Keys of all. */
  get keys(): readonly NoteKey[] {
    return this.#file.list.map(({ key }) => key)
  }

  /** The checkpoint of a published head, with the lines of witnesses that cosigned it. */
  noteOf(chain: ChainName, head: PublishedHead): string {
    return this.#chains[chain].heads.noteOf(head)
  }

  /** The newest head that a witness cosigned. */
  newest(chain: ChainName): PublishedHead | undefined {
    return this.#chains[chain].heads.newest()
  }

  /** The head beyond an entry that most witnesses cosigned. */
  best(chain: ChainName, index: number): PublishedHead | undefined {
    return this.#chains[chain].heads.best(index)
  }
}
