/** Commands with actions about a running cluster: `patient`, `doctor`, `device`. */
import { type ClusterFile, clusterFolder, readCluster } from '../cluster/layout.ts'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { type Options, parseOptions, tellHelp } from '../options.ts'
import { plainLines } from '../table.ts'

/** What a command line said, and where. */
export interface ActionContext<O> {
  readonly dir: string
  readonly cluster: ClusterFile
  readonly io: Io
  readonly json: boolean
  readonly options: O
}

/** An action: its arguments without the names of command and action. */
export type Action<O> = (context: ActionContext<O>, positionals: string[]) => Promise<ExitCode>

/** Prints a result: JSON, or words for people, in which nothing moves the terminal's cursor. */
export function print(context: ActionContext<unknown>, value: unknown, words: () => string): ExitCode {
  context.io.stdout(context.json ? `${JSON.stringify(value)}\n` : plainLines(words()))
  return 0
}

/** Runs the action that the first argument names; `--help`, or no action, prints the help. @throws {UsageError} for another name. */
export async function runAction<T extends Options>(
  args: string[],
  io: Io,
  command: {
    readonly help: string
    readonly options: T
    readonly actions: Readonly<Record<string, Action<ReturnType<typeof parseOptions<T>>['values']>>>
  },
): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, command.options)
  const { dir, json, help } = values as { dir?: string; json?: boolean; help?: boolean }
  const [action, ...rest] = positionals
  if (help === true || action === undefined) return tellHelp(command.help, help === true, io)
  const run = Object.hasOwn(command.actions, action) ? command.actions[action] : undefined
  if (run === undefined) throw new UsageError(`there is no action "${action}"`)
  const folder = clusterFolder(dir)
  let read: ClusterFile | undefined
  const context = {
    ...{ dir: folder, io, json: json === true, options: values },
    // Read when it is asked for: wrong usage is wrong usage, whether or not there is a cluster.
    get cluster() {
      read ??= readCluster(folder)
      return read
    },
  }
  return run(context, rest)
}
