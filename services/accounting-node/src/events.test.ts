import { createLogger } from '@healthblock/runtime/logger'
import { expect, test } from 'vitest'
import type { CoreEvent } from './core/ports.ts'
import { AccountingError } from './errors.ts'
import { coreTeller } from './events.ts'

test('a register that is away for long is told once a minute, with how often it was asked for, and nothing hides another failure', () => {
  const lines: Record<string, unknown>[] = []
  const logger = createLogger(
    { name: 'node', level: 'info' },
    { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  let elapsedMs = 0
  const tell = coreTeller(logger, () => elapsedMs)
  const failed = (reason: string): CoreEvent => {
    const error = new AccountingError(reason, { code: 'ERR_REGISTER_FAILED', reason })
    return { kind: 'failed', chain: 'userchain', part: 'following the register', error }
  }
  for (let i = 0; i < 480; i++, elapsedMs += 250) tell(failed('away'))
  tell(failed('it refuses'))
  tell(failed('away'))
  expect(lines.map(({ msg, reason, repeated }) => [msg, reason, repeated])).toEqual([
    ['failed', 'away', undefined],
    ['failed', 'away', 239],
    ['failed', 'it refuses', undefined],
    ['failed', 'away', 239],
  ])
})
