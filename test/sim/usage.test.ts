import { expect, test } from 'vitest'
import { simulate, timeoutMs } from './process.test-support.ts'

test.each([
  [['--bogus'], 'there is no option --bogus'],
  [['--seeds'], '--seeds needs a value'],
  [['--trace=yes', '--seed', '1'], '--trace takes no value'],
  [['--seeds', 'x'], '--seeds takes a whole number, not "x"'],
])('the simulator answers %j in one line, and does nothing', { timeout: timeoutMs }, async (args, words) => {
  const { code, stdout, stderr } = await simulate(args)
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
  expect(stderr).toBe(`healthblock test sim: ${words}\nTry ./healthblock test sim --help\n`)
})
