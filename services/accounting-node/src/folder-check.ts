import { statSync } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { codeOf, messageOf } from '@healthblock/runtime/errors'

/**
 * Whether the node's folder is still the one that it was started in. If it is removed or another one is put in its place, the open files
 * take what is written and keep it for nobody.
 */
export class FolderCheck {
  readonly #dir: string
  readonly #began: { readonly dev: bigint; readonly ino: bigint }

  /** @param dir - the folder, as it is now. */
  constructor(dir: string) {
    this.#dir = dir
    this.#began = statSync(dir, { bigint: true })
  }

  /** What is wrong, in words; undefined if nothing is. */
  async fault(): Promise<string | undefined> {
    try {
      await access(join(this.#dir, 'genesis.cbor'))
      const { dev, ino } = await stat(this.#dir, { bigint: true })
      if (dev === this.#began.dev && ino === this.#began.ino) return undefined
    } catch (error) {
      return `the node's folder cannot be used (${codeOf(error) ?? messageOf(error)}): what it writes is kept nowhere`
    }
    return "another folder is in the place of the node's: what it writes is kept nowhere; start it again"
  }
}
