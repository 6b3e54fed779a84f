/** `org people|licence`: whom an organisation vouches for, and which doctors it licenses. Its administrator's acts, not a joint decision. */
import { callNode, type NodeAccess, nodeAccess } from '../cluster/client.ts'
import { readCluster, resolvePerson } from '../cluster/layout.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { parseTime, takePositionals } from '../options.ts'
import { formatTable, shortId } from '../table.ts'

/** States of a licence, as transactions number them. */
const licenceStates = { active: 1, suspended: 2, ended: 3 } as const
/** How long a licence lasts if nothing else is said. */
const licenceDays = 3650

interface Card {
  readonly name: string
  readonly account: string
  readonly role: number
  readonly isOnRecord: boolean
  readonly licence: { readonly state: number; readonly from: number; readonly to: number } | null
}

interface Registry {
  readonly organisation: string
  readonly people: Card[]
  readonly count: number
}

type Print = (value: unknown, words: string) => void

async function registries(dir: string, find: string): Promise<{ access: NodeAccess; registry: Registry }[]> {
  const cluster = readCluster(dir)
  const nodes = cluster.nodes.filter(({ role }) => role === 'accounting')
  const path = `/v1/people?${new URLSearchParams({ find })}`
  return Promise.all(
    nodes.map(async ({ name }) => {
      const access = nodeAccess(dir, cluster, name)
      return { access, registry: await callNode<Registry>(access, 'GET', path) }
    }),
  )
}

function licenceWords(licence: Card['licence']): string {
  if (licence === null) return ''
  const state = Object.entries(licenceStates).find(([, number]) => number === licence.state)?.[0] ?? licence.state
  return `${state} ${new Date(licence.from).toISOString().slice(0, 10)} to ${new Date(licence.to).toISOString().slice(0, 10)}`
}

/** The cards of every organisation of this cluster, with their standing on record. */
export async function listPeople(dir: string, rest: string[], print: Print): Promise<ExitCode> {
  if (rest.length > 1) throw new UsageError('people needs at most one TEXT')
  const all = (await registries(dir, rest[0] ?? '')).flatMap(({ registry }) =>
    registry.people.map((card) => ({ organisation: registry.organisation, ...card })),
  )
  const people = [...new Map(all.map((card) => [`${card.organisation} ${card.account}`, card])).values()]
  const rows = people.map(({ name, account, organisation, isOnRecord, licence }) => [
    ...[name, shortId(account), shortId(organisation), isOnRecord ? 'on record' : 'not on record'],
    licenceWords(licence),
  ])
  print(people, formatTable([['name', 'account', 'organisation', 'registration', 'licence'], ...rows]).trimEnd())
  return 0
}

/** Gives, suspends or ends a doctor's licence by the organisation that registered him. */
export async function changeLicence(
  dir: string,
  rest: string[],
  times: { readonly from?: string | undefined; readonly until?: string | undefined },
  print: Print,
): Promise<ExitCode> {
  const [doctorName, stateName] = takePositionals(rest, ['DOCTOR', 'active|suspended|ended'] as const)
  if (!Object.hasOwn(licenceStates, stateName))
    throw new UsageError(`a licence is active, suspended or ended, not "${stateName}"`)
  const state = licenceStates[stateName as keyof typeof licenceStates]
  const from = parseTime(times.from, 'from') ?? Date.now() - 60_000
  const to = parseTime(times.until, 'until') ?? from + licenceDays * 86_400_000
  if (to <= from) throw new UsageError('--until is not after --from')
  const doctor = resolvePerson(readCluster(dir).doctors, doctorName, 'doctor').account
  const holders = (await registries(dir, doctor)).filter(({ registry }) =>
    registry.people.some(({ account, isOnRecord }) => account === doctor && isOnRecord),
  )
  const [holder] = holders
  if (holder === undefined) throw new CommandError(`no organisation of this cluster registered ${doctorName}`)
  const posted = await callNode<{ transactionId: string }>(holder.access, 'POST', '/v1/licence', {
    ...{ doctor, state, from, to },
  })
  const value = { ...posted, doctor, state: stateName, organisation: holder.registry.organisation }
  print(value, `${doctorName}: ${stateName}, by ${holder.access.name}: ${posted.transactionId}`)
  return 0
}
