import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

const codePattern = /ERR_[A-Z_]+/g

test('the specification and the HTTP surface name the same codes with the same status', () => {
  const failures = readFileSync(new URL('./failures.ts', import.meta.url), 'utf8')
  const spec = readFileSync(new URL('../SPEC.md', import.meta.url), 'utf8')
  const inCode = new Map(
    [...failures.matchAll(/^ {2}(ERR_[A-Z_]+): (\d+),$/gm)].map(([, code, status]) => [code, status]),
  )
  const rows = [...spec.matchAll(/^\| (\d{3}) \| (.+) \|$/gm)]
  const inSpec = new Map(
    rows.flatMap(([, status, text]) => [...(text ?? '').matchAll(codePattern)].map(([code]) => [code, status])),
  )
  expect(inCode.size).toBeGreaterThan(15)
  expect(Object.fromEntries(inSpec)).toEqual(Object.fromEntries(inCode))
})
