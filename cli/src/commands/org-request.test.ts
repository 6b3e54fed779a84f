import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { genesisAccounts, parseGenesis } from '@healthblock/chain/genesis'
import { toHex } from '@healthblock/encoding/bytes'
import { expect, test } from 'vitest'
import { createCluster } from '../cluster/create.ts'
import { clusterPaths } from '../cluster/layout.ts'
import { organisationNamed, organisationWords } from './org-request.ts'

test('an organisation of genesis is told by its account and the name that commands take for it', async () => {
  const root = mkdtempSync(join(tmpdir(), 'hb-org-'))
  try {
    const dir = join(root, 'cluster')
    const size = { accounting: 3, storage: 1, replicas: 1, doctors: 0, patients: [], periodMs: 10_000 }
    await createCluster(dir, size, Date.now())
    const genesis = new Uint8Array(readFileSync(clusterPaths.genesis(dir)))
    const { organisations } = genesisAccounts(parseGenesis(genesis))
    expect(organisations).toHaveLength(3)
    for (const account of organisations) {
      const [, hex, name] = /^([0-9a-f]{64}) \((organisation-\d)\)$/.exec(organisationWords(account, genesis)) ?? []
      expect(hex).toBe(toHex(account))
      expect(organisationNamed(name as string, genesis)).toEqual(account)
    }
    // One that was admitted later has its account alone.
    expect(organisationWords(new Uint8Array(32), genesis)).toBe('0'.repeat(64))
  } finally {
    rmSync(root, { recursive: true })
  }
})
