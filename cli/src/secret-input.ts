/** Secrets that a person types, or a script hands over: never an argument, which every process of the machine can read. */
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { CommandError, type Io, UsageError } from './io.ts'

/** Most of standard input that is read: secrets are short. */
const inputBytesMax = 16 * 1024

/** Asks for one secret after the other. */
export interface SecretInput {
  /** True at a terminal: somebody is there, who can be asked once more. */
  readonly isTyped: boolean
  /** @throws {UsageError} if there are no more lines; {CommandError} if the person gives up. */
  ask(what: string): Promise<string>
  /** Everything was asked. @throws {UsageError} if more was handed over than that. */
  end(): Promise<void>
}

type Terminal = NodeJS.ReadableStream & { readonly isTTY?: boolean }

/** From the terminal, without echo; where standard input is none, a line each. */
export function secretInput(io: Io): SecretInput {
  const stdin = io.stdin as unknown as Terminal
  return stdin.isTTY === true ? typedInput(io, stdin) : linesInput(io)
}

function typedInput(io: Io, stdin: Terminal): SecretInput {
  return {
    isTyped: true,
    ask: (what) =>
      new Promise((resolve, reject) => {
        // What readline would echo goes nowhere.
        const output = new Writable({ write: (_piece, _encoding, done) => done() })
        const line = createInterface({ input: stdin, output, terminal: true, historySize: 0 })
        const giveUp = (): void => reject(new CommandError('given up: nothing was changed'))
        line.once('SIGINT', () => line.close())
        line.once('close', () => {
          io.stderr('\n')
          giveUp()
        })
        line.once('line', (text) => {
          resolve(text)
          line.close()
        })
        // The prompt comes last: whoever sees it can type, and nothing of it is shown.
        io.stderr(`${what}: `)
      }),
    end: async () => {},
  }
}

function linesInput(io: Io): SecretInput {
  let lines: Promise<string[]> | undefined
  const read = async (): Promise<string[]> => {
    const pieces: Uint8Array[] = []
    let size = 0
    for await (const piece of io.stdin) {
      const bytes = Buffer.from(piece as Uint8Array)
      size += bytes.length
      if (size > inputBytesMax) throw new UsageError(`standard input holds more than ${inputBytesMax / 1024} KiB`)
      pieces.push(bytes)
    }
    return Buffer.concat(pieces)
      .toString('utf8')
      .replace(/\r?\n$/, '')
      .split(/\r?\n/)
  }
  const rest = (): Promise<string[]> => {
    lines ??= read()
    return lines
  }
  return {
    isTyped: false,
    async ask(what) {
      const line = (await rest()).shift()
      if (line === undefined || line === '') throw new UsageError(`standard input has no line for: ${what}`)
      return line
    },
    async end() {
      if ((await rest()).length > 0) throw new UsageError('standard input has more lines than are asked for')
    },
  }
}
