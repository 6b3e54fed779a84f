/** Which witnesses a node asks: a list in a file, changed by its administrator through the node. */
import { renameSync } from 'node:fs'
import { encodeVkey } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { parseWitnessKey, witnessesMax } from '@healthblock/chain/witness'
import { readFileIfPresent, writeFileDurably } from '@healthblock/runtime/files'
import type { Witness } from '@healthblock/runtime/witness-client'
import { AccountingError } from '../errors.ts'

const urlLengthMax = 2048

function invalid(field: 'url' | 'vkey', reason: string): AccountingError {
  return new AccountingError(`${field} ${reason}`, { code: 'ERR_WITNESS_INVALID', field, reason })
}

/**
 * A witness from its address and its key.
 *
 * @throws {AccountingError} `ERR_WITNESS_INVALID`.
 */
export function parseWitness(entry: { readonly url: string; readonly vkey: string }): Witness {
  const { url, vkey } = entry
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  if (parsed === undefined || url.length > urlLengthMax || !/^https?:$/.test(parsed.protocol))
    throw invalid('url', 'is no http or https address')
  if (parsed.username !== '' || parsed.password !== '' || parsed.search !== '' || parsed.hash !== '')
    throw invalid('url', 'is more than an address: no credentials, no query')
  try {
    return { url: url.replace(/\/+$/, ''), key: parseWitnessKey(vkey) }
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    throw invalid('vkey', `is not the key of a witness (${error.message})`)
  }
}

/** The file `witnesses.json`. */
export class WitnessesFile {
  readonly #path: string
  #witnesses: readonly Witness[] = []
  /** What lies there cannot be read: it is set aside before anything is written in its place. */
  #isDamaged = false

  constructor(path: string) {
    this.#path = path
  }

  /**
   * Reads the file.
   *
   * @throws {AccountingError} `ERR_WITNESS_INVALID`, {SyntaxError} for a file that somebody damaged.
   */
  open(): void {
    this.#isDamaged = true
    const bytes = readFileIfPresent(this.#path)
    if (bytes === undefined) {
      this.#isDamaged = false
      return
    }
    const list = JSON.parse(new TextDecoder().decode(bytes)) as { url: string; vkey: string }[]
    this.#witnesses = list
      .slice(0, witnessesMax)
      .map(({ url, vkey }) => parseWitness({ url: `${url}`, vkey: `${vkey}` }))
    this.#isDamaged = false
  }

  /** All, in the order of their addition. */
  get list(): readonly Witness[] {
    return this.#witnesses
  }

  /** Adds a witness, or replaces the one of its name. @throws {AccountingError} `ERR_WITNESS_INVALID` for one too many. */
  add(witness: Witness): void {
    const at = this.#witnesses.findIndex(({ key }) => key.name === witness.key.name)
    if (at === -1 && this.#witnesses.length >= witnessesMax) throw invalid('vkey', `is one more than ${witnessesMax}`)
    this.#keep(at === -1 ? [...this.#witnesses, witness] : this.#witnesses.with(at, witness))
  }

  /** Takes a witness out. @throws {AccountingError} `ERR_WITNESS_ABSENT`. */
  remove(name: string): Witness {
    const witness = this.#witnesses.find(({ key }) => key.name === name)
    if (witness === undefined) {
      throw new AccountingError(`there is no witness ${name} here`, { code: 'ERR_WITNESS_ABSENT', name })
    }
    this.#keep(this.#witnesses.filter((one) => one !== witness))
    return witness
  }

  #keep(witnesses: readonly Witness[]): void {
    if (this.#isDamaged) {
      renameSync(this.#path, `${this.#path}.damaged`)
      this.#isDamaged = false
    }
    const list = witnesses.map(({ url, key }) => ({ url, vkey: encodeVkey(key) }))
    writeFileDurably(this.#path, `${JSON.stringify(list)}\n`, { mode: 0o600 })
    this.#witnesses = witnesses
  }
}
