/** Every parser of untrusted bytes: damaged inputs give a value or a typed error, soon, and leave nothing behind. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FuzzSuite, fuzz } from '../support/fuzz.ts'
import { suites } from './suites.ts'

describe.each(suites)('%s', (_name, open) => {
  let suite: FuzzSuite

  beforeAll(async () => {
    suite = await open()
  }, 240_000)
  afterAll(() => suite?.close?.())

  test('each parser', { timeout: 3_600_000 }, async () => {
    expect(suite.targets.length).toBeGreaterThan(0)
    for (const target of suite.targets) expect((await fuzz(target, suite.isTyped)).inputs).toBeGreaterThan(0)
  })
})
