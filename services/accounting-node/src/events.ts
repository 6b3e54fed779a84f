/** One function for each event that an operator may want to find in the log. Fields are chosen here, and nowhere else. */
import { codeOf, messageOf } from '@healthblock/runtime/errors'
import type { CoreEvent } from './core/ports.ts'
import type { Logger } from './logger.ts'

/** Why something failed, without a stack. */
function reasonOf(error: unknown): { code: string | undefined; reason: string } {
  return { code: codeOf(error), reason: messageOf(error) }
}

/** The node answers requests. */
export function nodeStarted(logger: Logger, fields: { url: string; name: string; ledger: string }): void {
  logger.info(fields, 'node started')
}

/** A batch could not be handed to the intake queue; the outbox resubmits it. */
export function intakeFailed(logger: Logger, chain: string, count: number, error: unknown): void {
  logger.warn({ chain, count, ...reasonOf(error) }, 'intake queue did not take a batch')
}

/** Promised transactions that no block held in time were handed over again. */
export function resubmitted(logger: Logger, chain: string, count: number): void {
  logger.info({ chain, count }, 'resubmitted')
}

/** A sender gets a signed answer that is not `committed`. */
export function answered(logger: Logger, chain: string, kind: 'refused' | 'deferred', rule: string): void {
  logger.info({ chain, kind, rule }, 'answered')
}

/** The gateway found its promises of an earlier run. */
export function outboxOpened(logger: Logger, chain: string, pending: number): void {
  logger.info({ chain, pending }, 'outbox opened')
}

/** Somebody with a credential read what shows who treats whom. */
export function ledgerRead(logger: Logger, fields: { account: string; route: string; chain: string }): void {
  logger.info(fields, 'ledger read')
}

/** A fault of this node's own files was found. */
export function incidentFound(
  logger: Logger,
  fields: { code: string; chain: string; height: number; index: number; file: string },
): void {
  logger.error(fields, 'incident found')
}

/** A fault of this node's own files was repaired. */
export function incidentHealed(
  logger: Logger,
  fields: { code: string; chain: string; height: number; index: number },
): void {
  logger.warn(fields, 'incident healed')
}

/** The self-check ended. */
export function selfChecked(
  logger: Logger,
  fields: { chain: string; entries: number; faults: number; ms: number },
): void {
  logger.info(fields, 'self-check done')
}

/** Something in the background failed and is tried again. */
export function backgroundFailed(logger: Logger, part: string, error: unknown): void {
  logger.error({ part, err: error }, 'background work failed')
}

/** An administrator used the organisation's key. */
export function administered(logger: Logger, fields: { act: string; transactionId: string }): void {
  logger.info(fields, 'administrator signed')
}

/** A witness does not cosign, and why: told when it begins, and when the reason changes. */
export function witnessFailed(
  logger: Logger,
  fields: { chain: string; witness: string; fault: string; said: string },
): void {
  const level = fields.fault === 'inconsistent' ? 'error' : 'warn'
  logger[level](fields, 'a witness does not cosign')
}

/** A witness cosigns again. */
export function witnessRecovered(logger: Logger, fields: { chain: string; witness: string }): void {
  logger.info(fields, 'a witness cosigns')
}

/** Levels of what a core tells; blocks come too often to be news. */
const coreLevels: Readonly<Record<CoreEvent['kind'], 'debug' | 'info' | 'warn' | 'error' | 'fatal'>> = {
  started: 'info',
  led: 'info',
  'stepped-down': 'warn',
  decided: 'debug',
  published: 'debug',
  policy: 'info',
  reproposed: 'warn',
  'register-rebuilt': 'error',
  'claim-unproved': 'warn',
  'caught-up': 'info',
  'rolled-back': 'error',
  'stage-refused': 'warn',
  dropped: 'debug',
  evidence: 'error',
  failed: 'warn',
  damaged: 'error',
  halted: 'fatal',
}

/** A failure that goes on is told so often: what a core asks for several times a second may be away for days. */
const repeatedEveryMs = 60_000
/** Different failures that are told apart. */
const failuresMax = 256

/**
 * What a failure is, without what differs each time that it comes: heights, sizes, times, ports, ids. A rank stays: each peer is away for
 * itself.
 */
function kindOf(words: string): string {
  return words.replaceAll(/\b[0-9a-f]{16,}\b|(?<!\brank )\b\d+(?:\.\d+)*/g, '#')
}

/**
 * Tells of what happens on the commit path. A failure of the same kind is told once a minute, with how often it came in between.
 *
 * @param elapsedMs - of a clock that never steps.
 */
export function coreTeller(logger: Logger, elapsedMs: () => number): (event: CoreEvent) => void {
  const failures = new Map<string, { toldMs: number; count: number }>()
  return (event) => {
    if (event.kind !== 'failed') {
      coreHappened(logger, event)
      return
    }
    const { chain, part, error } = event
    const { code, reason } = reasonOf(error)
    const name = JSON.stringify([chain, kindOf(part), code, kindOf(reason)])
    const known = failures.get(name)
    if (known !== undefined && elapsedMs() - known.toldMs < repeatedEveryMs) {
      known.count++
      return
    }
    if (failures.size >= failuresMax) failures.clear()
    failures.set(name, { toldMs: elapsedMs(), count: 0 })
    coreHappened(logger, event, known === undefined || known.count === 0 ? {} : { repeated: known.count })
  }
}

/** Something happened on the commit path. */
function coreHappened(logger: Logger, event: CoreEvent, more: { readonly repeated?: number } = {}): void {
  const { kind, ...all } = event
  // What convicts a node is kept elsewhere; here it is said that there is something.
  const { evidence, ...fields } = { evidence: undefined, ...all }
  if (evidence !== undefined) {
    logger.error({ ...fields, evidenceKind: evidence.kind }, kind)
    return
  }
  if ('error' in fields) {
    const { error, ...rest } = fields
    logger[coreLevels[kind]]({ ...rest, ...reasonOf(error), ...more }, kind)
  } else logger[coreLevels[kind]](fields, kind)
}
