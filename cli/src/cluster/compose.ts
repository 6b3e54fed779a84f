/** What `deploy/compose.yaml` needs of a new ledger's folder: files in which the nodes have the names of their containers. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileDurably } from '@healthblock/runtime/files'
import { nodesOf, writeAddressFiles } from './addresses.ts'
import { type ClusterFile, clusterPaths } from './layout.ts'
import { writeRedisUsers } from './redis.ts'

const accountingPort = 8100
const storagePort = 8200
const swarmPort = 8201

/** Writes addresses, Redis' users, and each accounting node's `compose.env`. */
export async function writeComposeFiles(dir: string, cluster: ClusterFile): Promise<void> {
  writeAddressFiles(dir, cluster, {
    genesis: '/etc/healthblock/genesis.cbor',
    urlOf: (name) => `http://${name}:${name.startsWith('accounting') ? accountingPort : storagePort}`,
    swarmOf: (name) => `/dns4/${name}/tcp/${swarmPort}`,
  })
  const names = nodesOf(cluster, 'accounting').map(({ name }) => name)
  await mkdir(clusterPaths.redis(dir), { recursive: true, mode: 0o700 })
  const passwords = await writeRedisUsers(clusterPaths.redis(dir), names)
  for (const name of names) {
    const lines = [
      `REDIS_URL=redis://${name}:${passwords.get(name)}@redis:6379`,
      `ACCOUNTING_QUEUE_PREFIX=hb-${cluster.id.slice(0, 8)}`,
    ]
    const path = join(clusterPaths.node(dir, name), 'compose.env')
    writeFileDurably(path, `${lines.join('\n')}\n`, { mode: 0o600 })
  }
}
