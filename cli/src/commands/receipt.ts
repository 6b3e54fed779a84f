/** `ledger receipt`: the receipt of a transaction as it can be made now, from any node; and one that is held, made anew. */
import { setTimeout as delay } from 'node:timers/promises'
import { chainNames } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import { type VerifiedReceipt, verifyReceipt } from '@healthblock/chain/receipt'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { isRuntimeError, RuntimeError } from '@healthblock/runtime/errors'
import { writeFileDurably } from '@healthblock/runtime/files'
import type { LedgerClient } from '@healthblock/runtime/ledger-client'
import { nodesWithWitnesses, witnessFaults } from '../asked-witnesses.ts'
import { readFileBytes } from '../input-file.ts'
import { CommandError, type ExitCode, UsageError } from '../io.ts'
import { ledgerSubject } from '../ledger-subject.ts'

/** How long, and in which steps, a witness's cosignature is waited for. */
const witnessedMsMax = 30_000
const pauseMs = 500

interface ReceiptValues {
  readonly dir: string
  readonly out?: string | undefined
  readonly witnessed?: boolean | undefined
}

type Print = (value: Record<string, unknown>, words: string) => void

/** A receipt's file and what it proves. */
interface Held {
  readonly bytes: Uint8Array
  readonly proves: VerifiedReceipt
}

/** Of whichever chain has the transaction. */
async function fetchReceipt(client: LedgerClient, id: Uint8Array, from: { url?: string } = {}): Promise<Held> {
  for (const chain of chainNames) {
    try {
      const bytes = await client.receipt(chain, id, from)
      return { bytes, proves: verifyReceipt({ bytes }) }
    } catch (error) {
      // The other chain may have it.
      if (!isRuntimeError(error, 'ERR_SOURCE_REFUSED') || error.detail.status !== 404) throw error
    }
  }
  throw new CommandError(`no node has published a transaction ${toHex(id)}`)
}

/** The receipt that a node makes now; with `witnessed` only one that a witness cosigned, which is waited for. */
async function receiptOf(client: LedgerClient, id: Uint8Array, { witnessed }: ReceiptValues): Promise<Held> {
  const held = await fetchReceipt(client, id)
  if (held.proves.witnesses.length > 0 || witnessed !== true) return held
  const asking = await nodesWithWitnesses(client)
  for (let waitedMs = 0; waitedMs < witnessedMsMax; waitedMs += pauseMs) {
    for (const { url } of asking) {
      const found = await fetchReceipt(client, id, { url }).catch(ignoreSilence)
      if (found !== undefined && found.proves.witnesses.length > 0) return found
    }
    await delay(pauseMs)
  }
  throw new CommandError(`no witness has cosigned it yet${await witnessFaults(client)}: see "ledger witness list"`)
}

/** While one node is away, or behind, another one may have what is waited for. */
function ignoreSilence(error: unknown): undefined {
  if (!(error instanceof RuntimeError) && !(error instanceof CommandError)) throw error
}

function write({ bytes, proves }: Held, out: string, print: Print): ExitCode {
  writeFileDurably(out, bytes)
  const names = proves.witnesses.map(({ name }) => name)
  const attested = names.length > 0 ? 'witnessed' : 'quorum'
  const words = names.length > 0 ? `quorum, witnessed by ${names.length}: ${names.join(', ')}` : 'quorum'
  print({ out, attested, witnesses: names }, `${out}: attested by: ${words}`)
  return 0
}

/**
 * Writes the receipt of a transaction; with `witnessed` only one that a witness cosigned.
 *
 * @throws {UsageError} for an id that is none; {CommandError} if there is no such receipt.
 */
export async function runReceipt(id: string, values: ReceiptValues, print: Print): Promise<ExitCode> {
  if (!/^[0-9a-f]{64}$/.test(id)) throw new UsageError(`"${id}" is not the id of a transaction`)
  if (values.out === undefined) throw new UsageError('name the file with --out FILE')
  const { client } = ledgerSubject({ dir: values.dir })
  return write(await receiptOf(client, fromHex(id), values), values.out, print)
}

/** How much a receipt shows: parts first, then witnesses. */
function shows({ closed, anchored, witnesses }: VerifiedReceipt): number {
  return (closed.length > 0 ? 1 : 0) * 1000 + (anchored === undefined ? 0 : 100) + witnesses.length
}

/**
 * Makes a receipt that is held anew: under a newer checkpoint, with the parts and the witnesses that exist by now. Nothing that it showed is
 * given up, and a node that shows the transaction elsewhere is not believed.
 *
 * @throws {CommandError} for a file that does not hold, or if the nodes have less or something else to show; the file is then as it was.
 */
export async function runRenewReceipt(file: string, values: ReceiptValues, print: Print): Promise<ExitCode> {
  const { client } = ledgerSubject({ dir: values.dir })
  const { ledgerId } = client.trail.genesis
  let proves: VerifiedReceipt
  try {
    proves = verifyReceipt({ bytes: readFileBytes(file), ledgerId })
  } catch (cause) {
    if (!(cause instanceof ChainError)) throw cause
    throw new CommandError(`${file} does not hold: ${cause.message}`, undefined, { cause })
  }
  const fresh = await receiptOf(client, proves.transactionId, values)
  if (fresh.proves.chain !== proves.chain || fresh.proves.index !== proves.index) {
    throw new CommandError(
      `the nodes have this transaction at index ${fresh.proves.index} of ${fresh.proves.chain}, the receipt at ${proves.index} of ${proves.chain}: two histories. Keep the file, it is evidence, and run "audit"`,
    )
  }
  if (shows(fresh.proves) < shows(proves)) {
    throw new CommandError(`no node can show as much as ${file} does now; it is left as it is`)
  }
  return write(fresh, values.out ?? file, print)
}
