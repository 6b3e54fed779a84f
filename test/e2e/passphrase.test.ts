/** A passphrase that is changed from the command line, or elsewhere: what the local cluster keeps of it is never stale without a word. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { callNode, nodeAccess } from '../../cli/src/cluster/client.ts'
import { clusterPaths } from '../../cli/src/cluster/layout.ts'
import { totpOf } from '../../packages/runtime/src/portal/totp.ts'
import { hasRedis, storyMs, TestCluster } from '../support/cluster.ts'

function fromBase32(text: string): Uint8Array {
  const bits = [...text].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('')
  return Uint8Array.from(bits.match(/.{8}/g) as string[], (byte) => Number.parseInt(byte, 2))
}

describe.skipIf(!hasRedis)('patient passphrase', { timeout: storyMs }, () => {
  let cluster: TestCluster
  let kept: string

  beforeAll(async () => {
    cluster = await TestCluster.start({ doctors: 1, patients: ['anna'] })
    kept = clusterPaths.passphrase(cluster.dir, 'anna')
  }, storyMs)

  afterAll(() => cluster?.remove())

  const keptText = (): string => readFileSync(kept, 'utf8')

  async function opens(passphrase: string): Promise<boolean> {
    const answer = await fetch(`${cluster.url('user')}/portal/login`, {
      ...{ method: 'POST', headers: { 'content-type': 'application/json' } },
      body: JSON.stringify({ name: 'anna', passphrase }),
    })
    return answer.status === 200
  }

  test('a script changes it with a line; the commands of the cluster go on with the new one', async () => {
    const before = keptText().trim()
    const { code, value } = await cluster.fed(' a new one, with blanks \n', 'patient', 'passphrase', 'anna')
    expect([code, value]).toEqual([0, { person: 'anna', changed: true, kept, secondFactor: false }])
    expect(keptText()).toBe(' a new one, with blanks \n')
    expect(statSync(kept).mode & 0o777).toBe(0o600)
    expect([await opens(before), await opens(' a new one, with blanks ')]).toEqual([false, true])
    expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
  })

  test('what is too short, missing or too much changes nothing, and leaves nothing behind', async () => {
    for (const [input, wanted] of [
      ['short\n', [1, 'at least 8 characters']],
      ['', [2, 'has no line for: New passphrase']],
      [' a new one, with blanks \nanother one\n', [2, 'more lines than are asked for']],
    ] as const) {
      const { code, stderr } = await cluster.fed(input, 'patient', 'passphrase', 'anna')
      expect([code, stderr]).toEqual([wanted[0], expect.stringContaining(wanted[1])])
    }
    // In an argument it would be in the list of processes, and in the shell's history.
    expect((await cluster.run('patient', 'passphrase', 'anna', 'another one')).code).toBe(2)
    expect(keptText()).toBe(' a new one, with blanks \n')
    expect(readdirSync(clusterPaths.secrets(cluster.dir)).filter((name) => name.includes('.next'))).toEqual([])
    expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
  })

  test('changed elsewhere, the commands say so and what to do; the present one is checked before it is kept', async () => {
    const access = nodeAccess(cluster.dir, cluster.file, 'user')
    const body = { person: 'anna', passphrase: ' a new one, with blanks ' }
    const { session } = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', body)
    const change = { passphrase: body.passphrase, newPassphrase: 'changed in the portal' }
    await callNode({ ...access, bearer: session }, 'POST', '/v1/people/anna/passphrase', change)
    for (const command of [['readings'], ['device'], ['passphrase']]) {
      const { code, stderr } = await cluster.fed('something new\n', 'patient', ...command, 'anna')
      expect([code, stderr], command[0]).toEqual([
        1,
        expect.stringContaining(`./healthblock patient passphrase anna --remember --dir ${cluster.dir}`),
      ])
    }
    expect((await cluster.fed('not that one\n', 'patient', 'passphrase', 'anna', '--remember')).code).toBe(1)
    expect(keptText()).toBe(' a new one, with blanks \n')
    const remembered = await cluster.fed('changed in the portal\n', 'patient', 'passphrase', 'anna', '--remember')
    expect([remembered.code, remembered.value]).toEqual([0, { person: 'anna', changed: false, kept }])
    expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
  })

  test('a command that was ended while it changed the passphrase leaves nothing stale: what it had begun is gone on with', async () => {
    const access = nodeAccess(cluster.dir, cluster.file, 'user')
    const before = 'changed in the portal'
    const passphrase = 'the one that was begun'
    // It was ended before the node had the change,
    writeFileSync(`${kept}.next`, `${passphrase}\n`, { mode: 0o600 })
    expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
    expect(keptText()).toBe(`${before}\n`)
    // or after that.
    for (const [from, to] of [
      [before, passphrase],
      [passphrase, before],
    ] as const) {
      writeFileSync(`${kept}.next`, `${to}\n`, { mode: 0o600 })
      const { session } = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', {
        ...{ person: 'anna', passphrase: from },
      })
      const change = { passphrase: from, newPassphrase: to }
      await callNode({ ...access, bearer: session }, 'POST', '/v1/people/anna/passphrase', change)
      expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
      expect([keptText(), existsSync(`${kept}.next`)]).toEqual([`${to}\n`, false])
    }
  })

  test('a second factor is asked for, and stays on', async () => {
    const access = nodeAccess(cluster.dir, cluster.file, 'user')
    const passphrase = 'changed in the portal'
    const opened = await callNode<{ session: string }>(access, 'POST', '/v1/sessions', { person: 'anna', passphrase })
    const own = { ...access, bearer: opened.session }
    const ask = <T>(path: string, body: object): Promise<T> => callNode<T>(own, 'POST', `/v1/people/anna/${path}`, body)
    const { words } = await ask<{ words: string[] }>('recovery/phrase', { passphrase })
    const { positions } = await ask<{ positions: number[] }>('recovery/questions', {})
    await ask('recovery/rehearsal', {
      words: positions.map((position) => ({ position, word: words[position - 1] as string })),
    })
    const { uri } = await ask<{ uri: string }>('second-factor', {})
    const secret = fromBase32(new URL(uri).searchParams.get('secret') as string)
    const step = (): number => Math.floor(Date.now() / 30_000)
    await ask('second-factor/confirm', { code: totpOf(secret, step() - 1) })
    const without = await cluster.fed('without the factor\n', 'patient', 'passphrase', 'anna')
    expect([without.code, without.stderr]).toEqual([1, expect.stringContaining('--code DIGITS')])
    expect([keptText(), existsSync(`${kept}.next`)]).toEqual([`${passphrase}\n`, false])
    const code = totpOf(secret, step())
    const changed = await cluster.fed('with the factor\n', 'patient', 'passphrase', 'anna', '--code', code)
    expect([changed.code, changed.value]).toMatchObject([0, { changed: true, secondFactor: true }])
    expect(keptText()).toBe('with the factor\n')
    // Erasing cannot be undone: it is asked for there, too.
    const erase = await cluster.run('patient', 'erase', 'anna', '--from', '2026-01-01')
    expect([erase.code, erase.stderr]).toEqual([1, expect.stringContaining('--code DIGITS')])
    expect(await cluster.ok('patient', 'readings', 'anna')).toEqual([])
  })
})
