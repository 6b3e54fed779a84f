import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const main = fileURLToPath(new URL('./main.ts', import.meta.url))

test('a data folder that cannot be made is named in one line, and the node does not start', {
  timeout: 60_000,
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'accounting-main-'))
  try {
    const file = join(folder, 'file')
    writeFileSync(file, '')
    for (const dir of ['/proc/healthblock/data', join(file, 'data')]) {
      const child = spawn(process.execPath, [main], {
        env: { ACCOUNTING_DIR: dir },
        stdio: ['ignore', 'ignore', 'pipe'],
      })
      const [said, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')])
      expect([code, said]).toEqual([1, expect.stringMatching(/^accounting node: .*\n$/)])
      expect(said).toContain(dir)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})
