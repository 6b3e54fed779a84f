import { readFileSync } from 'node:fs'
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { receiptSizeBytesMax, verifyReceipt } from '@healthblock/chain/receipt'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'

const help = `Usage: ./healthblock verify FILE [--genesis FILE | --trust CHECKPOINT]

Checks a receipt without a network: what it says, who cosigned it, and every proof in it.

  --genesis FILE      the ledger that you trust: the receipt must be of it
  --trust CHECKPOINT  a file with a checkpoint of the ledger that you trust: the receipt must be of the same ledger
                      (without either, the genesis file inside the receipt is believed: compare the ledger id yourself)
  --json              {"ok","kind","steps","trust"}

Exit code 0 if everything holds, 1 if not.
`

function readFileBytes(path: string): Uint8Array {
  try {
    return new Uint8Array(readFileSync(path))
  } catch (cause) {
    throw new CommandError(`${path} cannot be read: ${(cause as Error).message}`, undefined, { cause })
  }
}

/** The ledger id that the caller trusts; undefined if none was named. */
function trustedLedger(genesis: string | undefined, trust: string | undefined): Uint8Array | undefined {
  if (genesis !== undefined && trust !== undefined) throw new UsageError('takes --genesis or --trust, not both')
  try {
    if (genesis !== undefined) {
      const bytes = readFileBytes(genesis)
      parseGenesis(bytes)
      return ledgerIdOf(bytes)
    }
    if (trust === undefined) return undefined
    const { origin } = parseCheckpoint(new TextDecoder().decode(readFileBytes(trust)))
    const id = /^healthblock\/([0-9a-f]{64})\/(userchain|docchain)$/.exec(origin)?.[1]
    if (id === undefined) throw new CommandError(`${trust} is a checkpoint of another kind of log: ${origin}`)
    return fromHex(id)
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    throw new CommandError(`${genesis ?? trust}: ${error.message}`, undefined, { cause: error })
  }
}

/** `./healthblock verify`. */
export async function runVerify(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, { genesis: { type: 'string' }, trust: { type: 'string' } })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  const [file] = takePositionals(positionals, ['FILE'])
  const ledgerId = trustedLedger(values.genesis, values.trust)
  const trust = ledgerId === undefined ? 'embedded' : 'pinned'
  const bytes = readFileBytes(file)
  try {
    if (bytes.length > receiptSizeBytesMax) throw new CommandError(`it is larger than any receipt`)
    const verified = verifyReceipt(ledgerId === undefined ? { bytes } : { bytes, ledgerId })
    const { kind, steps } = verified
    if (values.json === true) io.stdout(`${JSON.stringify({ ok: true, kind, steps, trust })}\n`)
    else {
      io.stdout(`${steps.map((step) => `  ok  ${step}\n`).join('')}`)
      io.stdout(`the receipt (${kind}) holds\n`)
      if (trust === 'embedded') {
        io.stderr(
          `believed: the genesis file inside; compare the ledger id ${toHex(verified.ledgerId)}, or name --genesis\n`,
        )
      }
    }
    return 0
  } catch (error) {
    if (!(error instanceof ChainError || error instanceof CommandError)) throw error
    const reason = error.message
    if (values.json === true) {
      io.stdout(`${JSON.stringify({ ok: false, kind: null, steps: [], trust, reason })}\n`)
    }
    io.stderr(`healthblock verify: ${file} does not hold: ${reason}\n`)
    return 1
  }
}
