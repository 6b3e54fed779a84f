import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'

test('the package opens no door to its deterministic inside', async () => {
  const { exports } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
  const entries = Object.entries(exports as Record<string, string>)
  expect(entries.length).toBeGreaterThan(5)
  for (const [name, file] of entries) {
    expect(file).toBe(`./src/${name.slice(2)}.ts`)
    const entry: Record<string, unknown> = await import(new URL(`../${file}`, import.meta.url).href)
    // Functions that take a provider, and so a salt or a seed of randomness, end in `With` and stay inside.
    for (const exported of Object.keys(entry)) expect(exported).not.toMatch(/With$|provider/i)
  }
})
