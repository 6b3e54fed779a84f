/** One question to several accounting nodes of a cluster, of which some may not answer. */
import { CommandError, type Io } from '../io.ts'
import type { ClusterFile } from './layout.ts'

/** What one node answered, or why it did not. */
export type Answered<T> = { readonly node: string } & ({ readonly value: T } | { readonly error: string })

/** The names of a cluster's accounting nodes, or the one that is named. @throws {CommandError} if there is none of that name. */
export function accountingNodes(cluster: ClusterFile, name: string | undefined): string[] {
  const names = cluster.nodes.filter(({ role }) => role === 'accounting').map((node) => node.name)
  if (name === undefined) return names
  if (!names.includes(name)) throw new CommandError(`there is no accounting node "${name}" here (${names.join(', ')})`)
  return [name]
}

/** Asks these nodes at once. */
export async function askNodes<T>(
  nodes: readonly string[],
  call: (node: string) => Promise<T>,
): Promise<Answered<T>[]> {
  return Promise.all(
    nodes.map(async (node) => {
      try {
        return { node, value: await call(node) }
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        return { node, error: error.message }
      }
    }),
  )
}

/** Tells who did not answer; the exit code of a command that asked all. */
export function tellSilent(answers: readonly Answered<unknown>[], command: string, io: Io): 0 | 1 {
  const failed = answers.flatMap((answer) => ('error' in answer ? [answer.error] : []))
  for (const error of failed) io.stderr(`healthblock ${command}: ${error}\n`)
  return failed.length === 0 ? 0 : 1
}
