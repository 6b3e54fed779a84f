/** A node's folder from outside: checked whole, backed up while the node runs, restored. */
import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { sha256 } from '@healthblock/crypto/hash'
import { toHex } from '@healthblock/encoding/bytes'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { redisInstalled } from '../../../test/support/redis.ts'
import { algorithmTransaction } from '../../../test/support/sample-ledger.ts'
import { canMount, mountSmallDisk } from '../../../test/support/small-disk.ts'
import { encodeMessage } from '../src/core/wire.ts'
import { backUpNode, restoreNode } from '../src/offline/backup.ts'
import { checkNode } from '../src/offline/check-node.ts'
import { Client } from './client.ts'
import { type NodeProcess, ProcessCluster } from './processes.ts'

const rank = 2

/** A record as journals hold it. */
function record(payload: Uint8Array): Buffer {
  const head = Buffer.alloc(12)
  head.writeUInt32BE(payload.length)
  Buffer.from(sha256(payload)).copy(head, 4, 0, 8)
  return Buffer.concat([head, payload])
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path)
  bytes[at] = (bytes[at] as number) ^ 1
  writeFileSync(path, bytes)
}

function changeSql(path: string, sql: string): void {
  const database = new DatabaseSync(path)
  database.exec(sql)
  database.close()
}

/** Puts another leaf of the same length into the log, with a right checksum: only execution can tell. */
function forgeEntry(path: string, leaf: Uint8Array): void {
  const bytes = readFileSync(path)
  const at = bytes.indexOf(leaf)
  for (let start = 0; start < bytes.length; ) {
    const end = start + 12 + bytes.readUInt32BE(start)
    if (at > start && at < end) {
      // The last byte of a signature.
      bytes[at + leaf.length - 1] = (bytes[at + leaf.length - 1] as number) ^ 1
      record(bytes.subarray(start + 12, end)).copy(bytes, start)
    }
    start = end
  }
  writeFileSync(path, bytes)
}

/** Paths of everything in a folder. */
function namesIn(dir: string): string[] {
  return readdirSync(dir, { recursive: true }).map(String).sort()
}

describe.skipIf(!redisInstalled)("a node's folder (needs redis-server)", () => {
  let cluster: ProcessCluster
  let client: Client
  let work: string
  const leaves: Uint8Array[] = []
  const node = (): NodeProcess => cluster.nodes[rank] as NodeProcess

  async function commit(count: number): Promise<void> {
    const transactions = Array.from({ length: count }, (_, i) =>
      algorithmTransaction(cluster.ledger, `a-${leaves.length + i}`),
    )
    leaves.push(...transactions.map(({ leaf }) => leaf))
    await client.commit(...transactions)
  }

  beforeAll(async () => {
    work = mkdtempSync(join(tmpdir(), 'healthblock-offline-'))
    cluster = await ProcessCluster.start({ n: 4, q: 3 })
    client = new Client((cluster.nodes[0] as NodeProcess).url, cluster.ledger)
    await commit(200)
  }, 300_000)
  afterAll(async () => {
    await cluster?.stop()
    rmSync(work, { recursive: true, force: true })
  })

  test('is not checked while a node uses it', async () => {
    await expect(checkNode(node().dir)).rejects.toMatchObject({ detail: { code: 'ERR_FOLDER_LOCKED' } })
  })

  test('is backed up while the node orders, restored, and signs nothing below what it had signed', async () => {
    const to = join(work, 'backup')
    let isBackedUp = false
    const loading = (async () => {
      while (!isBackedUp) await commit(20)
    })()
    const { ledgerId, sizeBytes } = await backUpNode({ from: node().dir, to, withSecrets: false, nowMs: Date.now() })
    isBackedUp = true
    await loading
    expect(ledgerId).toBe(toHex(cluster.ledger.ledgerId))
    expect(sizeBytes).toBeGreaterThan(40_000)
    expect(existsSync(join(to, 'secrets'))).toBe(false)
    const copied = namesIn(to)
    const report = await checkNode(to)
    expect(report.findings).toEqual([])
    // A backup may lie where nothing can be written.
    expect(namesIn(to)).toEqual(copied)
    expect(report.notChecked).toEqual([])
    expect(report.chains.userchain.size).toBeGreaterThan(200)
    await commit(100)
    const head = async (): Promise<{ size: number; root: string }> =>
      (await (await client.get('/v1/userchain/head')).json()) as { size: number; root: string }
    const before = await head()
    await cluster.end(rank, 'SIGKILL')
    const { aside } = await restoreNode({ from: to, to: node().dir, nowMs: Date.now() })
    expect(existsSync(join(aside as string, 'userchain/log/blocks'))).toBe(true)
    cluster.launch(rank)
    await cluster.ready(rank)
    const since = cluster.logOf(rank).split('"msg":"started"').slice(-2).join()
    // A leader's hint may have made it catch up before its peers told it what it had signed.
    expect(since).toMatch(/"msg":"(rolled-back|caught-up)"/)
    // It signs again, beyond that: with another node down nothing is published without it.
    await cluster.end((rank + 1) % 4, 'SIGKILL')
    await commit(1)
    expect((await head()).size).toBeGreaterThan(before.size)
    cluster.launch((rank + 1) % 4)
    await cluster.ready((rank + 1) % 4)
  }, 180_000)

  test('a backup that is not whole, damaged, or of a folder with something in it is refused', async () => {
    const to = join(work, 'backup')
    const refused = { detail: { code: 'ERR_BACKUP_INVALID' } }
    await expect(backUpNode({ from: node().dir, to, withSecrets: false, nowMs: 0 })).rejects.toMatchObject(refused)
    const target = join(work, 'target')
    const half = join(work, 'half')
    cpSync(to, half, { recursive: true })
    rmSync(join(half, 'backup.json'))
    await expect(restoreNode({ from: half, to: target, nowMs: 0 })).rejects.toMatchObject(refused)
    for (const file of ['userchain/log/blocks', 'userchain/promise', 'directory.db', 'backup.json']) {
      const damaged = join(work, 'damaged')
      cpSync(to, damaged, { recursive: true })
      flip(join(damaged, file), statSync(join(damaged, file)).size - 2)
      await expect(restoreNode({ from: damaged, to: target, nowMs: 0 }), file).rejects.toMatchObject(refused)
      // A row of a database that was changed has a form all the same: here there is a digest of it.
      const { findings } = await checkNode(damaged)
      expect(findings.map((found) => `${found.code} ${found.file}`)).toContain(`backup-damaged ${file}`)
      rmSync(join(damaged, file))
      await expect(restoreNode({ from: damaged, to: target, nowMs: 0 }), file).rejects.toMatchObject(refused)
      rmSync(damaged, { recursive: true })
    }
    expect(existsSync(join(target, 'userchain'))).toBe(false)
    // Somebody else's word is not this node's: its own backup is taken, that of another one not, and a folder without keys takes any.
    const other = join(work, 'other')
    const keyOf = (one: NodeProcess): void => {
      mkdirSync(join(other, 'secrets'), { recursive: true })
      cpSync(join(one.dir, 'secrets', 'node.key'), join(other, 'secrets', 'node.key'))
    }
    keyOf(cluster.nodes[0] as NodeProcess)
    const another = { detail: { code: 'ERR_BACKUP_INVALID', reason: expect.stringContaining('of another node') } }
    await expect(restoreNode({ from: to, to: other, nowMs: 0 })).rejects.toMatchObject(another)
    expect(existsSync(join(other, 'userchain'))).toBe(false)
    keyOf(node())
    await restoreNode({ from: to, to: other, nowMs: 0 })
    writeFileSync(join(to, 'genesis.cbor'), 'nonsense')
    await expect(checkNode(to)).rejects.toThrow(join(to, 'genesis.cbor'))
    cpSync(join(other, 'genesis.cbor'), join(to, 'genesis.cbor'))
  })

  test.skipIf(!canMount)(
    'on a full disk a backup leaves nothing behind, and a restoration the folder as it was; both can be made once there is room',
    async () => {
      const [backup, dir] = [join(work, 'backup'), join(work, 'small')]
      const logSizeBytes = statSync(join(backup, 'userchain/log/blocks')).size
      const disk = mountSmallDisk(dir, Math.ceil(logSizeBytes / 2))
      try {
        const [to, target] = [join(dir, 'backup'), join(dir, 'node')]
        const full = { detail: { code: 'ERR_DISK_FULL' } }
        await expect(backUpNode({ from: backup, to, withSecrets: false, nowMs: 0 })).rejects.toMatchObject(full)
        expect(readdirSync(to)).toEqual([])
        mkdirSync(join(target, 'userchain'), { recursive: true })
        writeFileSync(join(target, 'userchain', 'promise'), 'before')
        const before = namesIn(target)
        await expect(restoreNode({ from: backup, to: target, nowMs: 0 })).rejects.toMatchObject(full)
        expect(namesIn(target).filter((name) => !name.startsWith('lock'))).toEqual(before)
        expect(readFileSync(join(target, 'userchain', 'promise'), 'utf8')).toBe('before')
        execFileSync('mount', ['-o', 'remount,size=64m', dir])
        await backUpNode({ from: backup, to, withSecrets: false, nowMs: 0 })
        const { aside = '' } = await restoreNode({ from: to, to: target, nowMs: 1 })
        expect(readFileSync(join(aside, 'userchain', 'promise'), 'utf8')).toBe('before')
        expect(readdirSync(target).filter((name) => name.startsWith('restoring'))).toEqual([])
        expect((await checkNode(target)).findings).toEqual([])
      } finally {
        disk.remove()
      }
    },
  )

  test('a backup has the successions that the node knows, and a restoration nothing that was put beside its files', async () => {
    const from = join(work, 'with-successions')
    cpSync(join(work, 'backup'), from, { recursive: true })
    mkdirSync(join(from, 'successions'))
    writeFileSync(join(from, 'successions', 'one.cbor'), 'one')
    const [to, target] = [join(work, 'second'), join(work, 'second-target')]
    await backUpNode({ from, to, withSecrets: false, nowMs: 0 })
    writeFileSync(join(to, 'successions', 'two.cbor'), 'two')
    await restoreNode({ from: to, to: target, nowMs: 0 })
    expect(readdirSync(join(target, 'successions'))).toEqual(['one.cbor'])
  })

  test('with secrets a backup has the keys and the logins, and a restoration sets others aside', async () => {
    const from = join(work, 'with-secrets')
    cpSync(join(work, 'backup'), from, { recursive: true })
    mkdirSync(join(from, 'secrets'))
    writeFileSync(join(from, 'secrets', 'node.key'), 'old')
    writeFileSync(join(from, 'secrets', 'admin.secret'), 'same')
    writeFileSync(join(from, 'portal.json'), 'old logins')
    const [to, target] = [join(work, 'secret-backup'), join(work, 'secret-target')]
    await backUpNode({ from, to, withSecrets: true, nowMs: 0 })
    mkdirSync(join(target, 'secrets'), { recursive: true })
    writeFileSync(join(target, 'secrets', 'node.key'), 'new')
    writeFileSync(join(target, 'secrets', 'admin.secret'), 'same')
    const { aside = '' } = await restoreNode({ from: to, to: target, nowMs: 5 })
    expect(aside).toBe(join(target, 'before-restore-5'))
    const text = (...path: string[]): string => readFileSync(join(...path), 'utf8')
    expect([text(target, 'secrets', 'node.key'), text(aside, 'secrets', 'node.key')]).toEqual(['old', 'new'])
    expect(text(target, 'portal.json')).toBe('old logins')
    expect(readdirSync(join(aside, 'secrets'))).toEqual(['node.key'])
    const without = join(work, 'without-secrets')
    await backUpNode({ from, to: without, withSecrets: false, nowMs: 0 })
    expect(readdirSync(without)).not.toContain('portal.json')
  })

  test('is whole after the node stopped; each file that is altered is named', async () => {
    await commit(100)
    expect(await cluster.end(rank, 'SIGTERM')).toBe(0)
    const stopped = namesIn(node().dir)
    const whole = await checkNode(node().dir)
    expect([whole.findings, whole.notes]).toEqual([[], []])
    // What root left beside a database would bar its node from it.
    expect(namesIn(node().dir)).toEqual(stopped)
    // A bit of a row that still is a row: nothing here would tell, and the report says so.
    expect(whole.notChecked.join()).toMatch(/userchain\/outbox.db: .*docchain\/outbox.db: .*no checksum/)
    expect(readdirSync(join(node().dir, 'userchain/tiles/tile/0'))).toContain('000')
    const damages: [name: string, code: string, file: string, damage: (dir: string) => void][] = [
      [
        'a byte of the log',
        'log-damaged',
        'userchain/log/blocks',
        (dir) => flip(join(dir, 'userchain/log/blocks'), 9_000),
      ],
      [
        'a byte of the first record',
        'log-damaged',
        'userchain/log/blocks',
        (dir) => flip(join(dir, 'userchain/log/blocks'), 50),
      ],
      [
        'a byte of the last record',
        'log-damaged',
        'docchain/log/blocks',
        (dir) => flip(join(dir, 'docchain/log/blocks'), statSync(join(dir, 'docchain/log/blocks')).size - 3),
      ],
      [
        'an entry with a right checksum',
        'block-invalid',
        'userchain/log/blocks',
        (dir) => forgeEntry(join(dir, 'userchain/log/blocks'), leaves[50] as Uint8Array),
      ],
      [
        'the log of the other chain',
        'block-invalid',
        'docchain/log/blocks',
        (dir) => cpSync(join(dir, 'userchain/log/blocks'), join(dir, 'docchain/log/blocks')),
      ],
      [
        'a tile',
        'tile-damaged',
        'userchain/tiles/tile/0/000',
        (dir) => flip(join(dir, 'userchain/tiles/tile/0/000'), 100),
      ],
      [
        'a record of the state',
        'state-damaged',
        'userchain/state.db',
        (dir) =>
          changeSql(
            join(dir, 'userchain/state.db'),
            'UPDATE leaf SET value = key WHERE path = (SELECT max(path) FROM leaf)',
          ),
      ],
      [
        'a place in the index',
        'index-damaged',
        'userchain/state.db',
        (dir) =>
          changeSql(join(dir, 'userchain/state.db'), 'UPDATE place SET position = position + 1 WHERE position = 40'),
      ],
      [
        'a file that is no database',
        'state-damaged',
        'userchain/state.db',
        (dir) => writeFileSync(join(dir, 'userchain/state.db'), 'no'),
      ],
      [
        'the published note',
        'checkpoint-damaged',
        'userchain/checkpoint',
        (dir) => flip(join(dir, 'userchain/checkpoint'), readFileSync(join(dir, 'userchain/checkpoint')).length - 20),
      ],
      [
        'the promise',
        'promise-conflict',
        'userchain/promise',
        (dir) =>
          appendFileSync(
            join(dir, 'userchain/promise'),
            record(encodeMessage({ term: 9, leader: 0, inc: 0, size: 2, root: new Uint8Array(32) })),
          ),
      ],
      [
        'the staged block',
        'staged-damaged',
        'userchain/staged/blocks',
        (dir) =>
          appendFileSync(
            join(dir, 'userchain/staged/blocks'),
            record(
              encodeMessage({
                height: 99,
                term: 1,
                leader: 0,
                block: new Uint8Array(1),
                size: 2,
                root: new Uint8Array(32),
                ack: new Uint8Array(64),
              }),
            ),
          ),
      ],
      [
        'the incidents',
        'incidents-damaged',
        'incidents.log',
        (dir) => appendFileSync(join(dir, 'incidents.log'), 'AAAA\n'),
      ],
      [
        'the outbox',
        'database-damaged',
        'docchain/outbox.db',
        (dir) => writeFileSync(join(dir, 'docchain/outbox.db'), Buffer.alloc(8192, 7)),
      ],
      [
        'what convicts a node',
        'database-damaged',
        'evidence.db',
        (dir) => writeFileSync(join(dir, 'evidence.db'), Buffer.alloc(8192, 7)),
      ],
    ]
    for (const [name, code, file, damage] of damages) {
      const dir = join(work, 'altered')
      rmSync(dir, { recursive: true, force: true })
      cpSync(node().dir, dir, { recursive: true })
      damage(dir)
      const { ok, findings } = await checkNode(dir)
      expect([name, ok], JSON.stringify(findings)).toEqual([name, false])
      expect([name, findings.map((found) => `${found.code} ${found.file}`)]).toEqual([
        name,
        expect.arrayContaining([`${code} ${file}`]),
      ])
    }
    // A log cut short is no damage by itself; the published note tells that it was rolled back.
    const short = join(work, 'short')
    cpSync(node().dir, short, { recursive: true })
    const log = readFileSync(join(short, 'userchain/log/blocks'))
    writeFileSync(join(short, 'userchain/log/blocks'), log.subarray(0, log.length - 10))
    for (const derived of ['state.db', 'tiles']) rmSync(join(short, 'userchain', derived), { recursive: true })
    const { findings, notes } = await checkNode(short)
    expect(findings.map(({ code }) => code)).toEqual(['log-behind'])
    expect(notes.join()).toContain('torn last record')
  }, 180_000)
})
