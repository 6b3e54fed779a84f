/** What commands that replay a ledger share: the folder of the replayed state, and how they tell of progress. */
import { resolve } from 'node:path'
import type { AuditProgress } from '@healthblock/audit/audit'
import { guideOf } from '@healthblock/audit/finding-guide'
import type { AuditReport, Finding } from '@healthblock/audit/report'
import { ChainError } from '@healthblock/chain/errors'
import { type ReplayStores, withReplayStores, withThrownAwayStores } from '@healthblock/runtime/replay-stores'
import { CommandError, type Io } from './io.ts'

/**
 * A folder that was named stays, and a later replay goes on from there; another is thrown away.
 *
 * @throws {CommandError} for a folder with the state of another ledger, or a damaged one.
 */
export async function withWork<T>(work: string | undefined, use: (open: ReplayStores) => Promise<T>): Promise<T> {
  if (work === undefined) return withThrownAwayStores(use)
  try {
    return await withReplayStores(resolve(work), use)
  } catch (cause) {
    if (!(cause instanceof ChainError) || cause.detail.code !== 'ERR_STATE_CORRUPT') throw cause
    const message = `--work ${work} holds no replayed state of this ledger: ${cause.message}. Name another folder, or remove it`
    throw new CommandError(message, undefined, { cause })
  }
}

/** How much of the past the rate is taken over. */
const rateWindowMs = 10_000

/** Tells of progress: one line that changes on a terminal, else a line every five seconds. */
export function progressTeller(io: Io): (progress: AuditProgress) => void {
  const periodMs = io.interactive ? 200 : 5_000
  let toldMs = io.interactive ? 0 : Date.now()
  let chainName = ''
  let samples: { atMs: number; done: number; transactions: number }[] = []
  return ({ chain, done, total, transactions }) => {
    const nowMs = Date.now()
    if (chain !== chainName) samples = [{ atMs: nowMs, done, transactions }]
    chainName = chain
    if (nowMs - toldMs < periodMs && !(io.interactive && done === total)) return
    toldMs = nowMs
    samples.push({ atMs: nowMs, done, transactions })
    while (samples.length > 2 && nowMs - (samples[0]?.atMs ?? nowMs) > rateWindowMs) samples.shift()
    const first = samples[0] ?? { atMs: nowMs, done: 0, transactions: 0 }
    const seconds = Math.max(0.001, (nowMs - first.atMs) / 1000)
    const remaining = Math.ceil(((total - done) * seconds) / Math.max(1, done - first.done))
    const rate = Math.round((transactions - first.transactions) / seconds)
    const words = `${chain}: ${done} of ${total} entries, ${rate} transactions/s, ${remaining} s left`
    io.stderr(io.interactive ? `\r\x1b[K${words}${done === total ? '\n' : ''}` : `${words}\n`)
  }
}

/** How many findings there are, for people. */
export function findingsText(count: number): string {
  return count === 0 ? 'no findings' : count === 1 ? '1 finding' : `${count} findings`
}

/** A finding for people: its place, then its sentence. */
export function findingText({ code, chain, height, index, node, message }: Finding): string {
  const place = [chain, height === null ? null : `height ${height}`, index === null ? null : `index ${index}`, node]
  return `FINDING ${code}  ${place.filter((part) => part !== null).join(', ')}\n        ${message}\n`
}

const weights = {
  proof: 'somebody did wrong, and this shows it',
  damage: 'something is not as it should be',
  away: 'it may pass',
} as const

/** What the kinds of findings mean, each once: for who did not build the ledger. Empty without findings. */
export function guideText(findings: readonly Finding[]): string {
  const codes = [...new Set(findings.map(({ code }) => code))]
  const parts = codes.flatMap((code) => {
    const guide = guideOf(code)
    if (guide === undefined) return []
    const { weight, means, next } = guide
    return [`${code}: ${weights[weight]}\n        ${means}\n        What to do: ${next}\n`]
  })
  return parts.length === 0 ? '' : `\nWhat this means\n${parts.join('')}\n`
}

/** How often a watch tells how far the ledgers have grown. */
const growthEveryMs = 60_000
/** Kinds of sentences about what is not checked that a watch tells. */
const notCheckedKindsMax = 1_000

/** What a watch tells on stderr of its looks: growth, once a minute and when the number of findings changes; what is not checked, once it is known. */
export function lookTeller(io: Io, nowMs: () => number): (report: AuditReport) => void {
  let told = { words: '', findings: -1, ms: Number.NEGATIVE_INFINITY }
  const kinds = new Set<string>()
  return ({ chains: { userchain, docchain }, findings, notChecked }) => {
    const now = nowMs()
    for (const words of notChecked) {
      // Of one sentence with other figures each time nobody learns anything.
      const kind = words.replaceAll(/\d+/g, '0')
      if (kinds.has(kind) || kinds.size >= notCheckedKindsMax) continue
      kinds.add(kind)
      io.stderr(`not checked: ${words}\n`)
    }
    const words = `userchain ${userchain.size}, docchain ${docchain.size} entries; ${findingsText(findings.length)}`
    if (words === told.words || (findings.length === told.findings && Math.abs(now - told.ms) < growthEveryMs)) return
    told = { words, findings: findings.length, ms: now }
    io.stderr(`${new Date(now).toISOString()} ${words}\n`)
  }
}
