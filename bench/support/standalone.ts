/** A standalone storage network for benchmarks and long tests: the command's own way to start one, in this process. */
import { serveStandalone } from '../../cli/src/commands/storage-serve.ts'
import type { Io } from '../../cli/src/io.ts'

/** A running network. */
export interface Standalone {
  readonly urls: readonly string[]
  readonly pids: readonly number[]
  readonly token: string
  /** Ends it; a node that was killed before is no fault. */
  readonly end: () => Promise<void>
}

/** Ports below those that systems give away by themselves: several in a row are wanted. */
const portLeast = 10_000
const portSpan = 18_000
const attemptsMax = 5

/** Starts a network, or the one that is in the folder already, and resolves when all nodes are ready. */
export async function startStandalone(options: { dir: string; nodes: number; replicas: number }): Promise<Standalone> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startAt(options, portLeast + Math.floor(Math.random() * portSpan))
    } catch (error) {
      // Somebody else may have one of the ports.
      if (attempt === attemptsMax) throw error
    }
  }
}

async function startAt(options: { dir: string; nodes: number; replicas: number }, port: number): Promise<Standalone> {
  const said = Promise.withResolvers<Pick<Standalone, 'urls' | 'pids' | 'token'>>()
  const ended = Promise.withResolvers<void>()
  const io: Io = {
    stdin: (async function* () {})(),
    stdout: (text) => said.resolve(JSON.parse(text) as never),
    stderr: () => {},
    interactive: false,
  }
  const [nodes, replicas, first] = [options.nodes, options.replicas, port].map(String)
  const settings = { dir: options.dir, nodes, replicas, port: first, backend: undefined, json: true }
  const served = serveStandalone(settings, io, ended.promise)
  served.catch((error: unknown) => said.reject(error))
  const running = await said.promise
  return {
    ...running,
    end: async () => {
      ended.resolve()
      await served.catch(() => {})
    },
  }
}
