import { closeSync, existsSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { ChainError } from '@healthblock/chain/errors'
import { toBase64 } from '@healthblock/encoding/bytes'
import { RuntimeError } from '@healthblock/runtime/errors'
import { ensureFolder, fileError } from '@healthblock/runtime/files'
import { extractFiles } from '@healthblock/verify/extract'
import { checkTrust, type Trust, type VerifiedFile, verifyFile } from '@healthblock/verify/verify'
import { readFileBytes, readFileText } from '../input-file.ts'
import { CommandError, type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions, takePositionals } from '../options.ts'
import { checkWitnessKey } from '../witness-key.ts'

const help = `Usage: ./healthblock verify FILE [--genesis FILE | --trust CHECKPOINT] [--succession FILE] [--witness VKEY]…
                            [--extract DIR]

Checks a receipt, a dispute bundle or a succession without a network: what it says, who cosigned it, and every proof in it.

  --genesis FILE      the ledger that you trust: the file must be of it
  --trust CHECKPOINT  a file with a checkpoint that you kept: the file must be of the same ledger, and agree with it about every head
                      of that size (it says so when the file has none: then nothing but the ledger was compared)
                      (without either, the genesis file inside is believed: compare the ledger id yourself)
  --succession FILE   how the ledger that you trust carries on an older one: files of the older one hold as far as it does
  --witness VKEY      the key of a witness that you know: it must have cosigned every checkpoint (without it, witnesses that a
                      file names are worth no more than the file)
  --extract DIR       of a file that holds, writes the public texts inside for other people's tools: genesis.cbor, and of each part
                      CHAIN-INDEX-TYPE.leaf (what is proved), .tlog-proof (C2SP), .checkpoint (a signed note), .policy (which keys must
                      have signed, as torchwood reads it); of a change of the policy the same with trail-N- before the name
  --json              {"ok","kind","steps","trust","attested","witnesses"}, with --trust {"headCompared"}, of a bundle also {"answers","opened"}, with --extract {"extracted"}

Exit code 0 if everything holds, 1 if not.
`

/** What the caller believes. */
function trusted(values: { genesis?: string; trust?: string; succession?: string; witness?: string[] }): Trust {
  const { genesis, trust: checkpoint, succession, witness: witnesses } = values
  if (genesis !== undefined && checkpoint !== undefined) throw new UsageError('takes --genesis or --trust, not both')
  for (const vkey of witnesses ?? []) checkWitnessKey(vkey, '--witness')
  const trust = {
    ...(genesis === undefined ? {} : { genesis: readFileBytes(genesis) }),
    ...(checkpoint === undefined ? {} : { checkpoint: readFileText(checkpoint) }),
    ...(succession === undefined ? {} : { succession: readFileBytes(succession) }),
    ...(witnesses === undefined ? {} : { witnesses }),
  }
  // A fault here says nothing about the file that is to be verified.
  try {
    checkTrust(trust)
  } catch (cause) {
    if (!(cause instanceof ChainError)) throw cause
    const named = genesis ?? checkpoint
    throw new CommandError(
      `what is to be trusted cannot be: ${named === undefined ? '' : `${named}: `}${cause.message}`,
    )
  }
  return trust
}

/** Who stands behind a file, in words. */
function attestedWords({ attested, witnesses }: VerifiedFile): string {
  if (attested === 'quorum') return 'attested by: quorum'
  const words = witnesses.map(({ name, isKnown }) => `${name}${isKnown ? '' : ' (by the key in the file)'}`)
  return `attested by: quorum, witnessed by ${words.length}: ${words.join(', ')}`
}

const notCompared =
  'not compared: the checkpoint of --trust is of another size than every head in the file, so only the ledger is the same; a receipt with a head of that size, or "audit", tells whether it is one history\n'

/** Writes the public texts of a file that holds: all of them or none. Nothing that is there is overwritten. */
function extract(bytes: Uint8Array, dir: string): string[] {
  const files = extractFiles(bytes).map(({ name, bytes: content }) => ({ name, path: join(dir, name), content }))
  const taken = files.find(({ path }) => existsSync(path))
  if (taken !== undefined) throw new CommandError(`${taken.path} is there already: name a new folder with --extract`)
  const written: string[] = []
  try {
    ensureFolder(dir, { mode: 0o777 })
    for (const { path, content } of files) {
      const file = openSync(path, 'wx')
      // From here on it is this command's own: a name that was taken meanwhile, or leads nowhere, is somebody else's.
      written.push(path)
      try {
        writeFileSync(file, content)
      } finally {
        closeSync(file)
      }
    }
  } catch (cause) {
    for (const path of written) rmSync(path, { force: true })
    throw cause instanceof RuntimeError ? cause : fileError(dir, cause)
  }
  return files.map(({ name }) => name)
}

/** What a file is called in words. */
const names = {
  transaction: 'the receipt (transaction)',
  revocation: 'the receipt (revocation)',
  dispute: 'the bundle',
  succession: 'the succession',
} as const

/** `./healthblock verify`. */
export async function runVerify(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {
    genesis: { type: 'string' },
    trust: { type: 'string' },
    extract: { type: 'string' },
    succession: { type: 'string' },
    witness: { type: 'string', multiple: true },
  })
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  const [file] = takePositionals(positionals, ['FILE'])
  const trust = trusted(values)
  const word = values.genesis === undefined && values.trust === undefined ? 'embedded' : 'pinned'
  const bytes = readFileBytes(file)
  try {
    const verified = verifyFile(bytes, trust)
    const { kind, steps, ledgerId, answers, opened, attested, witnesses } = verified
    const extracted = values.extract === undefined ? undefined : extract(bytes, values.extract)
    if (values.json === true) {
      const more = kind === 'dispute' ? { answers, opened: opened.map(openedJson) } : {}
      const files = extracted === undefined ? {} : { extracted }
      const { isHeadCompared } = verified
      const head = isHeadCompared === undefined ? {} : { headCompared: isHeadCompared }
      const said = { ok: true, kind, steps, trust: word, ...head, attested, witnesses, ...more, ...files }
      io.stdout(`${JSON.stringify(said)}\n`)
    } else {
      io.stdout(`${steps.map((step) => `  ok  ${step}\n`).join('')}`)
      io.stdout(`${names[kind]} holds\n${attestedWords(verified)}\n`)
      if (extracted !== undefined) io.stdout(`${extracted.length} files in ${values.extract}\n`)
      if (verified.isHeadCompared === false) io.stderr(notCompared)
      if (word === 'embedded') {
        io.stderr(`believed: the genesis file inside; compare the ledger id ${ledgerId}, or name --genesis\n`)
      }
    }
    return 0
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    const reason = error.message
    if (values.json === true) {
      io.stdout(`${JSON.stringify({ ok: false, kind: null, steps: [], trust: word, reason })}\n`)
    }
    io.stderr(`healthblock verify: ${file} does not hold: ${reason}\n`)
    return 1
  }
}

function openedJson({ stream, sequence, data }: VerifiedFile['opened'][number]): Record<string, unknown> {
  return { stream, sequence, data: toBase64(data) }
}
