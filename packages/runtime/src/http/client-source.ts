/** Where a request comes from, for what is bounded by source; and the proxies whose word about that is taken. */
import { BlockList, isIP } from 'node:net'

const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i
const bits = { 4: 32, 6: 128 } as const

/**
 * The source of an address: an IPv4 address as it is, of an IPv6 address the first 64 bits, for whoever has one of a network has all of it
 * (RFC 6177). Anything else is its own source.
 */
export function sourceOf(address: string): string {
  const plain = address.split('%', 1)[0] as string
  const ipv4 = mapped.exec(plain)?.[1]
  if (ipv4 !== undefined) return ipv4
  if (isIP(plain) !== 6) return address
  const [left = '', right] = plain.split('::', 2)
  const groups = left === '' ? [] : left.split(':')
  const last = right === undefined || right === '' ? [] : right.split(':')
  const filled = right === undefined ? groups : [...groups, ...Array<string>(8 - groups.length - last.length).fill('0')]
  const network = [...filled, ...last].slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16))
  return `${network.join(':')}::/64`
}

/** Addresses and networks: `10.0.0.7`, `10.1.0.0/16`, `fd00::/8`. */
export class Networks {
  readonly #list = new BlockList()

  /** @throws {TypeError} for what is neither an address nor a network. */
  constructor(networks: readonly string[]) {
    for (const network of networks) {
      const [address = '', length] = network.split('/', 2)
      const version = isIP(address)
      if (version !== 4 && version !== 6) throw new TypeError(`${network} is neither an address nor a network`)
      const most = bits[version]
      const prefix = length === undefined ? most : /^\d{1,3}$/.test(length) ? Number(length) : most + 1
      if (prefix > most) throw new TypeError(`${network}: the length is from 0 to ${most}`)
      this.#list.addSubnet(address, prefix, `ipv${version}`)
    }
  }

  /** True for an address of one of them. */
  has(address: string | undefined): boolean {
    const version = isIP(address ?? '')
    return version !== 0 && this.#list.check(address as string, version === 6 ? 'ipv6' : 'ipv4')
  }
}
