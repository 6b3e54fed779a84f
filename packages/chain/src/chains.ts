/** The two chains of a ledger. */

/** The chain byte of each chain. */
export const chains = { userchain: 1, docchain: 2 } as const
/** Name of a chain, as paths and origins carry it. */
export type ChainName = keyof typeof chains
/** Both names, Userchain first: the order in which they are read, since Docchain is judged by Userchain's state. */
export const chainNames = ['userchain', 'docchain'] as const satisfies readonly ChainName[]

/** The name of a chain byte that was checked. @throws {RangeError} if no chain has it. */
export function chainOf(chainByte: number): ChainName {
  const found = chainNames.find((name) => chains[name] === chainByte)
  if (found === undefined) throw new RangeError(`no chain has the byte ${chainByte}`)
  return found
}
