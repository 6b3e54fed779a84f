/** Which witnesses the nodes of a ledger ask, as they say themselves. */

import type { NoteKey } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { parseWitnessKey } from '@healthblock/chain/witness'
import { RuntimeError } from '@healthblock/runtime/errors'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { CommandError } from './io.ts'

/** A node that answered, and whom it asks. */
export interface AskedWitnesses {
  readonly url: string
  readonly keys: readonly NoteKey[]
  /** Why the last attempts came to nothing, as `NAME: FAULT`. */
  readonly faults: readonly string[]
}

interface Entry {
  readonly name?: unknown
  readonly vkey?: unknown
  readonly userchain?: { readonly fault?: unknown } | null
  readonly docchain?: { readonly fault?: unknown } | null
}

/** The key of a list's entry; undefined for one that is none. */
function keyOf({ vkey }: Entry): NoteKey | undefined {
  try {
    return typeof vkey === 'string' ? parseWitnessKey(vkey) : undefined
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return undefined
  }
}

/** What each node that answers says. It may be one node's word alone: what a witness signed is verified where it is used. */
export async function askedWitnesses(client: LedgerClient): Promise<AskedWitnesses[]> {
  const answers = await Promise.all(
    client.sources.candidates().map(async (url) => {
      try {
        const list = (await client.list('witnesses', { url })) as readonly (Entry | null)[]
        const entries = list.flatMap((entry) => entry ?? [])
        const faults = entries.flatMap(({ name, userchain, docchain }) => {
          const fault = userchain?.fault ?? docchain?.fault
          return typeof fault === 'string' ? [`${String(name)}: ${fault}`] : []
        })
        return [{ url, keys: entries.flatMap((entry) => keyOf(entry) ?? []), faults }]
      } catch (error) {
        if (!(error instanceof RuntimeError)) throw error
        return []
      }
    }),
  )
  return answers.flat()
}

/**
 * The nodes that ask a witness: where a cosignature can be waited for.
 *
 * @throws {CommandError} if nodes answer, and none of them asks any: then there is nothing to wait for.
 */
export async function nodesWithWitnesses(client: LedgerClient): Promise<AskedWitnesses[]> {
  const nodes = await askedWitnesses(client)
  const asking = nodes.filter(({ keys }) => keys.length > 0)
  if (nodes.length > 0 && asking.length === 0) {
    throw new CommandError(
      'no accounting node asks a witness, so nobody outside of the ledger can cosign it: name one with "ledger witness add URL VKEY"',
    )
  }
  return asking
}

/** Why witnesses have not cosigned, for the end of a message; empty if nodes know of no reason. */
export async function witnessFaults(client: LedgerClient): Promise<string> {
  const faults = new Set((await askedWitnesses(client)).flatMap((node) => node.faults))
  return faults.size === 0 ? '' : ` (${[...faults].join('; ')})`
}
