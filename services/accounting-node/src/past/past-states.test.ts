import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { PastStates } from './past-states.ts'

const failed = expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_PAST_FAILED' }) })

test('one question at a time: who asks the same waits with the first, who asks something else comes back; a failure is told, and not kept', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-past-'))
  const past = new PastStates({ genesisFile: join(dir, 'absent.cbor'), dir })
  try {
    const key = new Uint8Array([0x80])
    for (let turn = 0; turn < 2; turn++) {
      const first = past.get({ chain: 'userchain', key, height: 1 })
      const same = past.get({ chain: 'userchain', key, height: 1 })
      await expect(past.get({ chain: 'userchain', key, height: 2 })).rejects.toMatchObject({
        detail: { code: 'ERR_STATE_BUSY', retryAfterMs: 2_000 },
      })
      for (const asked of await Promise.allSettled([first, same])) {
        // Starting a process may take longer than one answer waits.
        if (asked.status === 'rejected') expect(asked.reason).toEqual(failed)
        else expect(asked.value).toEqual({ executed: 0 })
      }
      await expect(
        (async () => {
          while ('executed' in (await past.get({ chain: 'userchain', key, height: 1 })));
        })(),
      ).rejects.toEqual(failed)
    }
  } finally {
    past.stop()
    rmSync(dir, { recursive: true, force: true })
  }
})
