import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { findProgram } from './cluster/install.ts'
import { type Io, UsageError } from './io.ts'
import { secretInput } from './secret-input.ts'

function fed(...pieces: string[]): Io {
  return {
    stdin: (async function* () {
      for (const piece of pieces) yield Buffer.from(piece)
    })(),
    ...{ stdout: () => {}, stderr: () => {}, interactive: false },
  }
}

test('a script hands over a line for each question, as many as are asked, blanks and all', async () => {
  const secrets = secretInput(fed(' old one \nn', 'ew öne\r\n'))
  expect(secrets.isTyped).toBe(false)
  expect([await secrets.ask('old'), await secrets.ask('new')]).toEqual([' old one ', 'new öne'])
  await secrets.end()
  const fewer = secretInput(fed('one'))
  await fewer.ask('old')
  await expect(fewer.ask('new')).rejects.toThrow(new UsageError('standard input has no line for: new'))
  const more = secretInput(fed('one\ntwo\n'))
  await more.ask('old')
  await expect(more.end()).rejects.toThrow(UsageError)
  await expect(secretInput(fed('')).ask('old')).rejects.toThrow(UsageError)
  await expect(secretInput(fed('x'.repeat(20_000))).ask('old')).rejects.toThrow('more than 16 KiB')
})

const program = `
import { createProcessIo } from '${fileURLToPath(new URL('./io.ts', import.meta.url))}'
import { secretInput } from '${fileURLToPath(new URL('./secret-input.ts', import.meta.url))}'
const secrets = secretInput(createProcessIo())
try {
  const said = [await secrets.ask('First'), await secrets.ask('Second')]
  console.log(JSON.stringify(said.map((text) => [...text].reverse().join(''))))
} catch (error) { console.log(error.message) }
`

/** Runs the program at a terminal of its own, and types a line at each prompt. */
async function atTerminal(lines: readonly string[]): Promise<string> {
  const command = `${process.execPath} --disable-warning=ExperimentalWarning --input-type=module -e "$PROGRAM"`
  const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...process.env, PROGRAM: program } })
  let shown = ''
  let prompts = 0
  child.stdout.on('data', (piece: Buffer) => {
    shown += piece.toString('utf8')
    const due = shown.split(/(?:First|Second): /).length - 1
    for (; prompts < due; prompts++) child.stdin.write(lines[prompts] as string)
  })
  await once(child, 'close')
  return shown
}

test.skipIf(process.platform !== 'linux' || findProgram('script') === undefined)(
  'what is typed at a terminal is taken with its corrections, and never shown; Ctrl-C gives up (needs script)',
  { timeout: 60_000 },
  async () => {
    const shown = await atTerminal(['hunter22\r', 'geheimx\u007f 7\r'])
    expect(shown).toContain('["22retnuh","7 mieheg"]')
    for (const secret of ['hunter', 'geheim']) expect(shown).not.toContain(secret)
    expect(await atTerminal(['hunter22\r', 'abc\u0003'])).toContain('given up: nothing was changed')
  },
)
