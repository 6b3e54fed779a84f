import { expect, test } from 'vitest'
import { print } from './commands/actions.ts'
import type { Io } from './io.ts'
import { formatTable, plainLines } from './table.ts'

const evil = 'scan\u001b[2J\u202egpj.exe\nstate  stored\u0007'

test('a name in a table breaks no line, moves no cursor and turns no reading direction', () => {
  const text = formatTable([
    ['file', 'name'],
    ['1', evil],
    ['2', 'Röntgen 胸.pdf'],
  ])
  expect(text).toBe('file  name\n1     scan�[2J�gpj.exe�state  stored�\n2     Röntgen 胸.pdf\n')
})

test('words are printed line by line without what a terminal obeys, and JSON says the name as it is', () => {
  expect(plainLines('a\u001b[1mb\nc\u202ed\n')).toBe('a�[1mb\nc�d\n')
  const said: string[] = []
  const io = { stdout: (text: string) => void said.push(text) } as unknown as Io
  for (const json of [false, true]) {
    print(
      { dir: '', io, json, options: {} } as unknown as Parameters<typeof print>[0],
      { name: evil },
      () => `${evil}\n`,
    )
  }
  expect(said[0]).toBe('scan�[2J�gpj.exe\nstate  stored�\n')
  expect(JSON.parse(said[1] as string)).toEqual({ name: evil })
  expect(said[1]).not.toContain('\u001b')
})
