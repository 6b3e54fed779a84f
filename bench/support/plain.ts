/** Starts the plain server that others are held against, in a process of its own. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** A running plain server. */
export interface PlainServer {
  readonly url: string
  readonly pid: number
  readonly end: () => Promise<void>
}

/** Starts one that keeps everything in a folder. */
export async function startPlainServer(folder: string): Promise<PlainServer> {
  const script = join(import.meta.dirname, 'plain-server.ts')
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', script, folder], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const end = async (): Promise<void> => {
    const ended = once(child, 'exit')
    child.stdin.end()
    await ended
  }
  return { url: line.toString().trim(), pid: child.pid as number, end }
}
