/** `patient disclose`: a file with the keys of a window, for an auditor. */
import { resolve } from 'node:path'
import { fromBase64 } from '@healthblock/encoding/bytes'
import { writeFileDurably } from '@healthblock/runtime/files'
import { callNode } from '../cluster/client.ts'
import { UsageError } from '../io.ts'
import { parseTime } from '../options.ts'
import type { Session } from './patient-session.ts'

/** What was disclosed; `file` is the path of the key file. */
export interface DisclosedWindow {
  readonly file: string
  readonly from: string
  readonly until: string
  readonly streams: number
  readonly generations: number
  readonly nodes: number
}

/** Writes the key file (0600). @throws {UsageError} without `--out`. */
export async function disclose(
  session: Session,
  options: Readonly<Record<string, string | boolean | undefined>>,
): Promise<DisclosedWindow> {
  const { out, streams } = options
  if (typeof out !== 'string') throw new UsageError('needs --out FILE: where the keys are written')
  const from = parseTime(options.from as string | undefined, 'from')
  const until = parseTime(options.until as string | undefined, 'until')
  const body = {
    ...(typeof streams === 'string' ? { streams: streams.split(',') } : {}),
    ...(from === undefined ? {} : { from }),
    ...(until === undefined ? {} : { until }),
    ...(typeof options.code === 'string' ? { code: options.code } : {}),
  }
  const { access, path } = session
  const disclosed = await callNode<DisclosedWindow>(access, 'POST', `${path}/disclosures`, body)
  const file = resolve(out)
  writeFileDurably(file, fromBase64(disclosed.file), { mode: 0o600 })
  return { ...disclosed, file }
}
