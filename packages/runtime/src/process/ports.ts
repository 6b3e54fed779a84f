import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'

/**
 * Ports below those that systems give to outgoing connections (from 32768 on Linux, from 49152 elsewhere): a port of that range that
 * was free a moment ago may belong to somebody's connection before a server is bound to it.
 */
const firstPort = 10_240
const lastPort = 32_767
const attempts = 256
/**
 * Each process looks in a slice of its own first, by its number: processes that choose ports at the same moment, before anybody is bound to
 * them, choose different ones.
 */
const slices = 61

/** A port is handed out once in the life of a process. */
const handedOut = new Set<number>()

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
  })
}

/** A loopback port that was free a moment ago, and that no outgoing connection takes. */
export async function findFreePort(): Promise<number> {
  const sliceSize = Math.floor((lastPort + 1 - firstPort) / slices)
  const sliceFirst = firstPort + (process.pid % slices) * sliceSize
  for (let attempt = 0; attempt < attempts; attempt++) {
    const port =
      attempt < attempts / 2 ? randomInt(sliceFirst, sliceFirst + sliceSize) : randomInt(firstPort, lastPort + 1)
    if (handedOut.has(port) || !(await isFree(port))) continue
    handedOut.add(port)
    return port
  }
  throw new Error(`none of ${attempts} loopback ports between ${firstPort} and ${lastPort} is free`)
}
