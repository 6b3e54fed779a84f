/** A private etcd for a test: one or more members, own folders, free loopback ports, gone when stopped. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { get as httpsGet } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { findFreePort } from '@healthblock/runtime/ports'
import { etcdArguments } from '../../cli/src/cluster/etcd.ts'

/** A running cluster of etcd. */
export interface TestEtcd {
  /** Client URLs of the members. */
  readonly urls: readonly string[]
  /** Folders of the members. */
  readonly dirs: readonly string[]
  /** Ends a member at once, or stops and continues it; its port and folder stay its own. */
  signal(member: number, signal: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): Promise<void>
  /** Starts a member that was killed again. */
  launch(member: number): void
  /** Resolves when every member that runs answers reads. */
  ready(): Promise<void>
  /** Ends everything and removes the folders. */
  stop(): Promise<void>
}

/** True if `etcd` is installed; tests that need it are skipped by name otherwise. */
export const etcdInstalled: boolean = (() => {
  try {
    execFileSync('etcd', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
})()

/** Asks a member; with TLS its certificate is its own, and only that it listens is asked. */
function isAnswering(url: string): Promise<boolean> {
  const isTls = url.startsWith('https:')
  return new Promise((resolve) => {
    const options = { timeout: 2_000, rejectUnauthorized: false }
    const request = (isTls ? httpsGet : get)(`${url}/health`, options, (response) => {
      response.resume()
      resolve(response.statusCode === 200)
    })
    request.once('timeout', () => request.destroy())
    request.once('error', () => resolve(false))
  })
}

/** Starts a private cluster; with `tls` each member makes a certificate of its own. */
export async function startTestEtcd(options: { members: number; tls?: boolean }): Promise<TestEtcd> {
  const dir = mkdtempSync(join(tmpdir(), 'healthblock-etcd-'))
  const members: { name: string; dir: string; clientPort: number; peerPort: number }[] = []
  for (let index = 0; index < options.members; index++) {
    const name = `etcd-${index}`
    members.push({ name, dir: join(dir, name), clientPort: await findFreePort(), peerPort: await findFreePort() })
  }
  const children: (ChildProcess | undefined)[] = []
  const scheme = options.tls === true ? 'https' : 'http'
  const urls = members.map(({ clientPort }) => `${scheme}://127.0.0.1:${clientPort}`)
  const argumentsOf = (member: number): string[] => {
    const plain = etcdArguments(members, member)
    if (options.tls !== true) return plain
    // Of two flags the last one counts.
    const url = urls[member] as string
    return [...plain, '--auto-tls', '--listen-client-urls', url, '--advertise-client-urls', url]
  }
  const isRunning = (member: number): boolean => {
    const child = children[member]
    return child !== undefined && child.exitCode === null && child.signalCode === null
  }
  const etcd: TestEtcd = {
    urls,
    dirs: members.map((member) => member.dir),
    launch(member) {
      children[member] = spawn('etcd', argumentsOf(member), { stdio: 'ignore' })
    },
    async signal(member, signal) {
      const child = children[member]
      if (child === undefined || !isRunning(member)) return
      const gone = new Promise<void>((resolve) => child.once('exit', () => resolve()))
      child.kill(signal)
      if (signal === 'SIGKILL') await gone
    },
    async ready() {
      const deadline = Date.now() + 60_000
      for (const [member, url] of urls.entries()) {
        while (isRunning(member) && !(await isAnswering(url))) {
          if (Date.now() > deadline) throw new Error(`member ${member} of etcd does not answer`)
          await delay(50)
        }
      }
    },
    async stop() {
      await Promise.all(members.map((_, member) => etcd.signal(member, 'SIGKILL')))
      rmSync(dir, { recursive: true, force: true })
    },
  }
  for (const member of members.keys()) etcd.launch(member)
  await etcd.ready()
  return etcd
}
