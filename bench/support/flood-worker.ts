/** Offers batches on time to nodes in turn, whatever they answer, until it is told to stop. A thread of its own, so that no honest sender waits for it. */
import { Agent, request } from 'node:http'
import { parentPort, workerData } from 'node:worker_threads'

/** What a flood is made of. */
export interface FloodOrder {
  readonly urls: readonly string[]
  /** Bodies of submissions, offered again and again. */
  readonly bodies: readonly Uint8Array[]
  readonly bodiesPerSecond: number
}

/** What became of it. */
export interface FloodCount {
  readonly offered: number
  /** Answered with 429 or 503. */
  readonly turnedAway: number
  /** Not even offered, because so many were under way. */
  readonly withheld: number
}

/** Submissions under way at one time: a node that answers late does not make the flood less, up to here. */
const underWayMax = 128
const { urls, bodies, bodiesPerSecond } = workerData as FloodOrder
const agent = new Agent({ keepAlive: true, maxSockets: underWayMax })
const headers = { 'content-type': 'application/cbor-seq' }
let [offered, turnedAway, withheld, underWay] = [0, 0, 0, 0]

function offer(body: Uint8Array, url: string): void {
  underWay++
  offered++
  const sent = request(new URL('/v1/userchain/transactions', url), {
    agent,
    method: 'POST',
    headers: { ...headers, 'content-length': body.length },
  })
  sent.on('response', (answer) => {
    if (answer.statusCode === 429 || answer.statusCode === 503) turnedAway++
    answer.resume()
  })
  sent.on('error', () => {})
  sent.once('close', () => {
    underWay--
  })
  sent.end(body)
}

const begunMs = performance.now()
let turn = 0
const timer = setInterval(() => {
  const due = ((performance.now() - begunMs) * bodiesPerSecond) / 1000
  for (; turn < due; turn++) {
    if (underWay >= underWayMax) withheld++
    else offer(bodies[turn % bodies.length] as Uint8Array, urls[turn % urls.length] as string)
  }
}, 5)
parentPort?.once('message', () => {
  clearInterval(timer)
  parentPort?.postMessage({ offered, turnedAway, withheld } satisfies FloodCount)
  agent.destroy()
  process.exit(0)
})
