/** Which witnesses an audit asks: those that the caller names, and of a cluster those that its own nodes ask. */
import type { AuditWitness } from '@healthblock/audit/audit'
import { createWitnessClient } from '@healthblock/runtime/witness-client'
import { clusterFolder } from './cluster/layout.ts'
import { clusterWitnesses } from './commands/witness.ts'
import { UsageError } from './io.ts'
import { checkWitnessKey } from './witness-key.ts'

/** What `--help` says of it. */
export const witnessHelp = `  --witness "URL VKEY"  a witness that you know: does it hold the audited log? Repeat it (with --dir: also those that the nodes ask)
`

function parseWitness(text: string): { url: string; vkey: string } {
  const [url = '', vkey = '', ...more] = text.trim().split(/\s+/)
  if (vkey === '' || more.length > 0 || !/^https?:/.test(url) || !URL.canParse(url))
    throw new UsageError(`--witness takes "URL VKEY", not "${text}"`)
  checkWitnessKey(vkey, '--witness')
  return { url, vkey }
}

/** @throws {UsageError} for an address or a key that is none. */
export async function auditWitnesses(values: {
  readonly dir?: string | undefined
  readonly url?: string[] | undefined
  readonly witness?: string[] | undefined
}): Promise<readonly AuditWitness[]> {
  const named = (values.witness ?? []).map(parseWitness)
  const own = values.url === undefined ? await clusterWitnesses(clusterFolder(values.dir)) : []
  // A caller who names another address of the same key means that one.
  return [...new Map([...own, ...named].map((one) => [one.vkey, one])).values()].map(createWitnessClient)
}
