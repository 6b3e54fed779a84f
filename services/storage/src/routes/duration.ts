/** Durations as Go and Kubo write them: `1h2m3.5s`, `250ms`. */
import { StorageError } from '../errors.ts'

const unitMs: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000 }
const durationPattern = /^(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h)){1,8}$/

/**
 * Reads a duration.
 *
 * @returns milliseconds, at least 1 and at most one hour.
 * @throws {StorageError} `ERR_ARGUMENT_INVALID`.
 */
export function parseDurationMs(text: string): number {
  if (text.length > 64 || !durationPattern.test(text)) {
    const detail = { code: 'ERR_ARGUMENT_INVALID', field: 'timeout', reason: 'not a duration such as 30s' } as const
    throw new StorageError('timeout is not a duration such as 30s', detail)
  }
  let ms = 0
  for (const [, count, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)) {
    ms += Number(count) * (unitMs[unit as string] as number)
  }
  return Math.min(3_600_000, Math.max(1, Math.round(ms)))
}
