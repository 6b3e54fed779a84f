/** The simulator's own process: `node test/sim/main.ts --help`. */
import './hooks.ts'

const { runCommand } = await import('./command.ts')
process.exitCode = await runCommand(process.argv.slice(2))
