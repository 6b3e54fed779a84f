/**
 * The simulator's own process: `node test/sim/main.ts --help`. It replaces itself by one whose garbage is collected by one thread: helpers
 * take a tenth of a run's processor time, and save none.
 */
const flag = '--single-threaded-gc'
if (!process.execArgv.includes(flag)) {
  process.execve?.(
    process.execPath,
    [process.execPath, flag, ...process.execArgv, ...process.argv.slice(1)],
    process.env,
  )
}

await import('./hooks.ts')
const { runCommand } = await import('./command.ts')
process.exitCode = await runCommand(process.argv.slice(2))
