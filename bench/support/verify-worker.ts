/** Verifies one Ed25519 signature again and again until its time is over, and says how often it did. */
import { generateKeyPairSync, randomBytes, sign, verify } from 'node:crypto'
import { parentPort, workerData } from 'node:worker_threads'

const { durationMs } = workerData as { durationMs: number }
const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const message = randomBytes(256)
const signature = sign(null, message, privateKey)
for (let i = 0; i < 200; i++) verify(null, message, publicKey, signature)
const cpuStart = process.threadCpuUsage()
const begunMs = performance.now()
let count = 0
let elapsedMs = 0
while (elapsedMs < durationMs) {
  for (let i = 0; i < 20; i++) if (!verify(null, message, publicKey, signature)) throw new Error('not verified')
  count += 20
  elapsedMs = performance.now() - begunMs
}
const { user, system } = process.threadCpuUsage(cpuStart)
parentPort?.postMessage({ rate: (count * 1000) / elapsedMs, cpuUs: (user + system) / count })
