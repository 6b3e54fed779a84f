import { expect, test } from 'vitest'
import { dropEmptyVariables } from './environment.ts'

test('an empty variable is taken out; white space and zero are values', () => {
  const environment: Record<string, string | undefined> = { EMPTY: '', SPACE: ' ', ZERO: '0', PATH: '/usr/bin' }
  dropEmptyVariables(environment)
  expect(environment).toEqual({ SPACE: ' ', ZERO: '0', PATH: '/usr/bin' })
  expect('EMPTY' in environment).toBe(false)
})
