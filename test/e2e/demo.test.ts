/** The demonstration itself, as a newcomer runs it. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { readCluster } from '../../cli/src/cluster/layout.ts'
import { stopCluster } from '../../cli/src/cluster/start.ts'
import { runDemo } from '../../cli/src/demo/demo.ts'
import { hasRedis, storyMs } from '../support/cluster.ts'

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
  const home = mkdtempSync(join(tmpdir(), 'healthblock-demo-test-'))
  const dir = join(home, 'cluster')
  afterAll(async () => {
    if (existsSync(join(dir, 'cluster.json'))) await stopCluster(dir, readCluster(dir))
    rmSync(home, { recursive: true, force: true })
  })

  test('keeps every promise, in order; kept, it leaves one doctor in and one out', { timeout: storyMs }, async () => {
    const lines: string[] = []
    const told: string[] = []
    const io = {
      stdin: (async function* () {})(),
      stdout: (text: string) => void lines.push(text),
      stderr: (text: string) => void told.push(text),
      interactive: false,
    }
    const code = await runDemo(['--json', '--keep', '--dir', dir], io)
    const results = lines.map((line) => JSON.parse(line) as { step: string; ok: boolean; [key: string]: unknown })
    expect(results.filter(({ ok }) => !ok)).toEqual([])
    expect(results.map(({ step }) => step)).toEqual(stepNames)
    expect(results.find(({ step }) => step === 'revoked')).toMatchObject({
      decrypt: 'refused',
      post: 'refused',
      replayedEnvelope: 'refused',
    })
    // ECG and vital signs, real or generated, went all the way, and what was found came back to the patient.
    expect(results.find(({ step }) => step === 'diagnose')?.findings).toEqual(
      expect.arrayContaining([expect.stringMatching(/^NEWS2 up to (7|10)\b/)]),
    )
    expect(code).toBe(0)
    expect(told.join('')).not.toContain('NOT SEEN')
    // The story of the portals: what each of the printed addresses has to show.
    const cluster = readCluster(dir)
    const ask = <T>(node: string, path: string): Promise<T> => callNode<T>(nodeAccess(dir, cluster, node), 'GET', path)
    type Summary = { petname?: string; state: string; openAlarms: number; unsigned: number }
    const [ofA] = await ask<Summary[]>('doctor-a', '/v1/patients/summary')
    const [ofB] = await ask<Summary[]>('doctor-b', '/v1/patients/summary')
    expect(ofA).toMatchObject({ petname: 'Anna', state: 'live' })
    expect(ofA?.openAlarms).toBeGreaterThan(0)
    expect(ofA?.unsigned).toBeGreaterThan(1)
    expect(ofB?.state).toBe('ended')
    expect(await ask<unknown[]>('doctor-b', '/v1/diagnoses?refused=true')).not.toEqual([])
    expect(await ask<unknown[]>('accounting-2', '/v1/incidents')).toHaveLength(1)
    const { running, audits } = await ask<{ running: unknown; audits: unknown[] }>('accounting-2', '/v1/audits')
    expect(running ?? audits[0]).toBeDefined()
  })
})
