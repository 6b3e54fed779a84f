/** Figures of a node, read from what it shows to Prometheus. */

const line = /^([a-z_]+)(?:\{chain="(userchain|docchain)"\})? (\S+)$/

/** Gauges of one node: `of(name)` of the whole node, `of(name, chain)` of one chain. */
export class Gauges {
  readonly #values = new Map<string, number>()

  /** @param text - Prometheus' text format; what is no plain gauge of this service is passed over. */
  constructor(text: string) {
    for (const each of text.split('\n')) {
      const [, name, chain = '', value] = line.exec(each) ?? []
      if (name?.startsWith('accounting_') === true) this.#values.set(`${name} ${chain}`, Number(value))
    }
  }

  /** A figure; null if the node does not show it. */
  of(name: string, chain = ''): number | null {
    const value = this.#values.get(`${name} ${chain}`)
    return value === undefined || !Number.isFinite(value) ? null : value
  }
}
