/** What the actions of `org` share: the command line, and how the ledger that it names is governed now. */
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { equalBytes, fromHex, toHex } from '@healthblock/encoding/bytes'
import { accountOfNode } from '../cluster/addresses.ts'
import { clusterFolder, readCluster } from '../cluster/layout.ts'
import { type GoverningState, readGoverningState } from '../governance/state.ts'
import { CommandError, type Io, UsageError } from '../io.ts'
import { type LedgerSubject, ledgerSubject, subjectOptions } from '../ledger-subject.ts'
import type { parseOptions } from '../options.ts'

/** Options of `org`. */
export const orgOptions = {
  ...subjectOptions,
  out: { type: 'string' },
  key: { type: 'string' },
  yes: { type: 'boolean' },
  quota: { type: 'string' },
  height: { type: 'string' },
  q: { type: 'string' },
  add: { type: 'string', multiple: true },
  replace: { type: 'string', multiple: true },
  remove: { type: 'string', multiple: true },
  'remove-store': { type: 'string', multiple: true },
  last: { type: 'string' },
  signers: { type: 'string' },
  organisation: { type: 'string' },
  'op-key': { type: 'string' },
  name: { type: 'string' },
  renew: { type: 'boolean' },
  switch: { type: 'boolean' },
  drop: { type: 'boolean' },
  from: { type: 'string' },
  until: { type: 'string' },
  force: { type: 'boolean' },
} as const

/** What was given for them. */
export type OrgValues = ReturnType<typeof parseOptions<typeof orgOptions>>['values']

/** A command line, taken apart, and the ledger that it is about. */
export interface OrgRequest {
  readonly values: OrgValues
  readonly rest: string[]
  readonly print: (value: unknown, words: string) => void
  readonly io: Io
}

/** @throws {UsageError} if an option is missing. */
export function need(value: string | undefined, name: string): string {
  if (value === undefined) throw new UsageError(`needs --${name}`)
  return value
}

/** The ledger, and how it is governed now. */
export interface Governed {
  readonly subject: LedgerSubject
  readonly state: GoverningState
}

/** Asks the nodes that the command line names, and checks what they say. */
export async function governing(values: OrgValues): Promise<Governed> {
  const subject = ledgerSubject(values)
  return { subject, state: await readGoverningState(subject.client, parseGenesis(subject.genesis)) }
}

/** Account of an organisation. @throws {CommandError} if there is none of this name. */
export function organisationNamed(name: string, genesis: Uint8Array): Uint8Array {
  if (/^[0-9a-f]{64}$/.test(name)) return fromHex(name)
  const position = /^organisation-(\d+)$/.exec(name)?.[1]
  const account =
    position === undefined ? undefined : genesisAccounts(parseGenesis(genesis)).organisations[Number(position)]
  if (account === undefined) throw new CommandError(`there is no organisation "${name}": give its account`)
  return account
}

/** An organisation's account, and the name that `organisationNamed` takes for it if genesis has it. */
export function organisationWords(account: Uint8Array, genesis: Uint8Array): string {
  const position = genesisAccounts(parseGenesis(genesis)).organisations.findIndex((each) => equalBytes(each, account))
  return `${toHex(account)}${position < 0 ? '' : ` (organisation-${position})`}`
}

/** Account or rank of a node, account of a store: names of a local cluster are looked up. @throws {CommandError} for one that nobody has. */
export function nodeNamed(name: string, values: OrgValues, genesis: Uint8Array): string {
  if (/^([0-9a-f]{64}|\d+)$/.test(name) || values.url !== undefined) return name
  const account = accountOfNode(readCluster(clusterFolder(values.dir)), name, parseGenesis(genesis))
  if (account === undefined) throw new CommandError(`there is no accounting or storage node "${name}" here`)
  return account
}
