/** The variables of a process, where an empty one is one that is not set: `NAME= command` takes a variable away. */

/** Takes empty variables out of `environment` (`process.env`), so that whoever reads it, and each process started with it, sees none. */
export function dropEmptyVariables(environment: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(environment)) if (value === '') delete environment[name]
}
