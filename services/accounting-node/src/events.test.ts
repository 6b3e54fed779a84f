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

test('a failure that says another height, port or id each time is one failure, and one of another rank or kind is not', () => {
  const lines: Record<string, unknown>[] = []
  const logger = createLogger(
    { name: 'node', level: 'info' },
    { write: (line) => void lines.push(JSON.parse(line) as Record<string, unknown>) },
  )
  const tell = coreTeller(logger, () => 0)
  const failed = (part: string, reason: string): void =>
    tell({
      kind: 'failed',
      chain: 'userchain',
      part,
      error: new AccountingError(reason, { code: 'ERR_REGISTER_FAILED', reason }),
    })
  for (let i = 0; i < 300; i++) {
    const id = i.toString(16).padStart(64, '0')
    failed(`repairing block ${i} from rank 1`, `block ${i} of ${id} has ${i * 7} bytes`)
    failed('following the register', `http://127.0.0.1:${40_000 + i}: no answer within ${i}.5 ms`)
  }
  failed('repairing block 7 from rank 2', `block 7 of ${'0'.repeat(64)} has 49 bytes`)
  failed('repairing block 7 from rank 1', 'block 7 is absent')
  expect(lines.map(({ part, reason }) => [part, reason])).toEqual([
    ['repairing block 0 from rank 1', `block 0 of ${'0'.repeat(64)} has 0 bytes`],
    ['following the register', 'http://127.0.0.1:40000: no answer within 0.5 ms'],
    ['repairing block 7 from rank 2', `block 7 of ${'0'.repeat(64)} has 49 bytes`],
    ['repairing block 7 from rank 1', 'block 7 is absent'],
  ])
})
