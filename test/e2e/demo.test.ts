/** The demonstration itself, as a newcomer runs it. */
import { describe, expect, test } from 'vitest'
import { runDemo } from '../../cli/src/commands/demo.ts'
import { hasRedis } from '../support/cluster.ts'

const stepNames = [
  'start',
  'enrol',
  'stream',
  'grant',
  'diagnose',
  'revoke',
  'revoked',
  'tamper',
  'censor',
  'audit',
  'summary',
]

describe.skipIf(!hasRedis)('the demonstration', () => {
  test('keeps every promise, in order', { timeout: 240_000 }, async () => {
    const lines: string[] = []
    const told: string[] = []
    const io = {
      stdin: (async function* () {})(),
      stdout: (text: string) => void lines.push(text),
      stderr: (text: string) => void told.push(text),
      interactive: false,
    }
    const code = await runDemo(['--json'], io)
    const results = lines.map((line) => JSON.parse(line) as { step: string; ok: boolean; [key: string]: unknown })
    expect(results.filter(({ ok }) => !ok)).toEqual([])
    expect(results.map(({ step }) => step)).toEqual(stepNames)
    expect(results.find(({ step }) => step === 'revoked')).toMatchObject({
      decrypt: 'refused',
      post: 'refused',
      replayedEnvelope: 'refused',
    })
    // ECG and vital signs went all the way, and what was found came back to the patient.
    expect(results.find(({ step }) => step === 'diagnose')?.findings).toEqual(
      expect.arrayContaining([expect.stringMatching(/^NEWS2 up to 7/)]),
    )
    expect(code).toBe(0)
    expect(told.join('')).not.toContain('NOT SEEN')
  })
})
