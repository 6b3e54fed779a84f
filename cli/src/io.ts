/** What a command may touch of the terminal. Tests pass their own. */
export interface Io {
  /** Standard input, read only by commands that say so. */
  readonly stdin: AsyncIterable<Uint8Array | string>
  /** Writes results; with `--json` nothing but JSON. */
  readonly stdout: (text: string) => void
  /** Writes narration, progress and errors. */
  readonly stderr: (text: string) => void
  /** Colours and progress bars are welcome. */
  readonly interactive: boolean
}

/** A finished command's exit code: 0 well, 1 found a problem or was refused, 2 wrong usage. */
export type ExitCode = 0 | 1 | 2

/** A command: its arguments without its own name, and the terminal. */
export type Command = (args: string[], io: Io) => Promise<ExitCode>

/** A mistake of the caller: printed with a hint to `--help`, exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** A failure that the caller can do something about: printed as one line, exit code 1. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  /** What `--json` prints beside the message. */
  readonly json: Record<string, unknown> | undefined
  constructor(message: string, json?: Record<string, unknown>, options?: ErrorOptions) {
    super(message, options)
    this.json = json
  }
}

/**
 * What to do when nobody takes the output any more (`| head -1`, a full disk): say why unless the reader just left, and end. Who has
 * something to clean up listens to SIGTERM, and is asked to end instead.
 */
function endOnLostOutput(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') process.exitCode = 1
  if (error.code !== 'EPIPE') process.stderr.write(`healthblock: the output cannot be written: ${error.message}\n`)
  if (process.listenerCount('SIGTERM') > 0) process.emit('SIGTERM')
  else process.exit(1)
}

/** The process's own terminal. NO_COLOR (no-color.org) turns colours and bars off. */
export function createProcessIo(): Io {
  process.stdout.once('error', endOnLostOutput)
  // What follows the first fault is the same fault again; who hears nothing of errors has no need of them.
  process.stdout.on('error', () => {})
  process.stderr.on('error', () => {})
  return {
    stdin: process.stdin,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    interactive: process.stderr.isTTY === true && (process.env.NO_COLOR ?? '') === '',
  }
}
