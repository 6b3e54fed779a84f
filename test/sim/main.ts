/**
 * The simulator's own process: `node test/sim/main.ts --help`. It replaces itself by one whose garbage is collected by one thread: helpers
 * take a tenth of a run's processor time, and save none. Its nursery is large (halves of so many MB), so that what a seed leaves dies there:
 * a sixth of the time otherwise.
 */
const flags = ['--single-threaded-gc', '--min-semi-space-size=32', '--max-semi-space-size=64']
if (!flags.every((flag) => process.execArgv.includes(flag))) {
  process.execve?.(
    process.execPath,
    [process.execPath, ...flags, ...process.execArgv, ...process.argv.slice(1)],
    process.env,
  )
}

await import('./hooks.ts')
const { runCommand } = await import('./command.ts')
process.exitCode = await runCommand(process.argv.slice(2))
