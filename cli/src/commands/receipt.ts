/** `ledger receipt`: the receipt of a transaction as it can be made now, from any node. */
import { setTimeout as delay } from 'node:timers/promises'
import type { ChainName } from '@healthblock/chain/chains'
import { verifyReceipt } from '@healthblock/chain/receipt'
import { fromHex } from '@healthblock/encoding/bytes'
import { isRuntimeError } from '@healthblock/runtime/errors'
import { writeFileDurably } from '@healthblock/runtime/files'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { ledgerSubject } from '../ledger-subject.ts'

/** How long, and in which steps, a witness's cosignature is waited for. */
const witnessedMsMax = 30_000
const pauseMs = 500

/** Of whichever chain has the transaction. */
async function fetchReceipt(client: LedgerClient, id: Uint8Array): Promise<Uint8Array | undefined> {
  for (const chain of ['userchain', 'docchain'] as const satisfies readonly ChainName[]) {
    try {
      return await client.receipt(chain, id)
    } catch (error) {
      // The other chain may have it.
      if (!isRuntimeError(error, 'ERR_SOURCE_REFUSED') || error.detail.status !== 404) throw error
    }
  }
  return undefined
}

/**
 * Writes the receipt of a transaction; with `witnessed` only one that a witness cosigned, which is waited for.
 *
 * @throws {UsageError} for an id that is none; {CommandError} if there is no such receipt.
 */
export async function runReceipt(
  id: string,
  values: { readonly dir: string; readonly out?: string | undefined; readonly witnessed?: boolean | undefined },
  print: (value: Record<string, unknown>, words: string) => void,
): Promise<ExitCode> {
  if (!/^[0-9a-f]{64}$/.test(id)) throw new UsageError(`"${id}" is not the id of a transaction`)
  if (values.out === undefined) throw new UsageError('name the file with --out FILE')
  const { client } = ledgerSubject({ dir: values.dir })
  for (let waitedMs = 0; ; waitedMs += pauseMs) {
    const bytes = await fetchReceipt(client, fromHex(id))
    if (bytes === undefined) throw new CommandError(`no node has published a transaction ${id}`)
    const witnesses = verifyReceipt({ bytes }).witnesses.map(({ name }) => name)
    if (witnesses.length > 0 || values.witnessed !== true) {
      writeFileDurably(values.out, bytes)
      const attested = witnesses.length > 0 ? 'witnessed' : 'quorum'
      const words =
        witnesses.length > 0 ? `quorum, witnessed by ${witnesses.length}: ${witnesses.join(', ')}` : 'quorum'
      print({ out: values.out, attested, witnesses }, `${values.out}: attested by: ${words}`)
      return 0
    }
    if (waitedMs >= witnessedMsMax) throw new CommandError('no witness has cosigned it yet: see "ledger witness list"')
    await delay(pauseMs)
  }
}
