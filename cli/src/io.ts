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

/** The process's own terminal. NO_COLOR (no-color.org) turns colours and bars off. */
export function createProcessIo(): Io {
  return {
    stdin: process.stdin,
    stdout: (text) => void process.stdout.write(text),
    stderr: (text) => void process.stderr.write(text),
    interactive: process.stderr.isTTY === true && (process.env.NO_COLOR ?? '') === '',
  }
}
