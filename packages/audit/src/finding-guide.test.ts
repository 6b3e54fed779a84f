import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { guidedCodes, guideOf } from './finding-guide.ts'

/** Codes of the table in SPEC.md §3; `<…>` stands for any ending. */
function documented(): string[] {
  const spec = readFileSync(new URL('../SPEC.md', import.meta.url), 'utf8')
  const table = spec.slice(spec.indexOf('## 3 Findings'), spec.indexOf('## 4 Recall'))
  return table
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .flatMap((line) =>
      [...(line.split(' | ')[0] as string).matchAll(/`([a-z.<>-]+)`/g)].map(([, code]) => code as string),
    )
}

test('every code of the table has a guide, and there is no other', () => {
  const codes = documented()
  expect(codes.length).toBeGreaterThan(50)
  for (const code of codes) expect(guideOf(code.replace(/<.*>/, 'anything.else')), code).toBeDefined()
  const isDocumented = (guided: string) =>
    guided.endsWith('.*') ? codes.some((code) => code.startsWith(guided.slice(0, -1))) : codes.includes(guided)
  expect(guidedCodes.filter((code) => !isDocumented(code))).toEqual([])
  expect(guideOf('unknown.code')).toBeUndefined()
})
