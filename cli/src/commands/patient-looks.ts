/** Who fetched a person's records from the storage nodes. */
import { callNode } from '../cluster/client.ts'
import { resolvePerson } from '../cluster/layout.ts'
import { type ExitCode, UsageError } from '../io.ts'
import { parseCount } from '../options.ts'
import { formatTable } from '../table.ts'
import { print } from './actions.ts'
import { type Context, nameOfDoctor, openSession } from './patient-session.ts'

interface Looks {
  readonly looks: readonly {
    readonly reader: string
    readonly kind: string
    readonly standing: string
    readonly at: string
    readonly count: number
  }[]
  readonly next: string | null
}

const looksPageMax = 1000

/** `patient looks NAME [DOCTOR]`: the newest lines, by the hour, oldest first. */
export async function looks(context: Context, positionals: string[]): Promise<ExitCode> {
  const [name, doctorName] = positionals
  if (name === undefined || positionals.length > 2) throw new UsageError('needs NAME [DOCTOR]')
  const { options, cluster } = context
  const wanted = parseCount(options.limit as string | undefined, 'limit', { least: 1, most: 100_000, preset: 100 })
  const query = new URLSearchParams()
  if (doctorName !== undefined) query.set('reader', resolvePerson(cluster.doctors, doctorName, 'doctor').account)
  const session = await openSession(context, name)
  const found: Looks['looks'][number][] = []
  while (found.length < wanted) {
    query.set('limit', String(Math.min(looksPageMax, wanted - found.length)))
    const page = await callNode<Looks>(session.access, 'GET', `${session.path}/looks?${query}`)
    found.push(...page.looks)
    if (page.next === null) break
    query.set('after', page.next)
  }
  found.reverse()
  const words: Readonly<Record<string, string>> = {
    granted: 'access',
    keeper: 'keeps, holds no keys',
    none: 'NO ACCESS',
  }
  return print(context, found, () =>
    formatTable([
      ['last', 'who', 'what', 'fetches', 'by'],
      ...found.map((look) => [
        ...[
          look.at,
          nameOfDoctor(cluster, look.reader),
          look.kind,
          String(look.count),
          words[look.standing] ?? look.standing,
        ],
      ]),
    ]),
  )
}
