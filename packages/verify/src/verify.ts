/**
 * The verifier by itself: a receipt or a dispute bundle in, what it proves out. It needs no network, no disk and no Node, so it runs in a
 * browser as well; the only thing to be believed is a genesis file, or a checkpoint that was kept.
 */
import { parseCheckpoint } from '@healthblock/chain/checkpoint'
import { verifyDispute } from '@healthblock/chain/dispute'
import { ChainError } from '@healthblock/chain/errors'
import { ledgerIdOf, parseGenesis } from '@healthblock/chain/genesis'
import { verifyReceipt } from '@healthblock/chain/receipt'
import { fromHex, toHex } from '@healthblock/encoding/bytes'
import { isDispute } from './file-kind.ts'

/** What the reader believes: a genesis file, or a checkpoint (a signed note) of either log. */
export interface Trust {
  readonly genesis?: Uint8Array
  readonly checkpoint?: string
}

/** What a file proves. */
export interface VerifiedFile {
  readonly kind: 'transaction' | 'revocation' | 'dispute'
  /** What was verified, in words. */
  readonly steps: readonly string[]
  /** `embedded`: the genesis file inside was believed, so the ledger id is to be compared. */
  readonly trust: 'pinned' | 'embedded'
  /** Lower-case hex. */
  readonly ledgerId: string
  /** Of a dispute: each question with its answer; `at` in Unix ms, ids in hex. */
  readonly answers: readonly {
    readonly at: number
    readonly patient: string
    readonly gid: string
    readonly answer: string
  }[]
  /** Of a dispute: what disclosed keys opened. */
  readonly opened: readonly { readonly stream: string; readonly sequence: number; readonly data: Uint8Array }[]
}

interface Pinned {
  readonly ledgerId?: Uint8Array
  readonly heads: readonly { chain: 'userchain' | 'docchain'; size: number; root: Uint8Array }[]
}

/** The ledger and the head that the reader names. */
function pinnedBy(trust: Trust): Pinned {
  if (trust.genesis !== undefined) {
    parseGenesis(trust.genesis)
    return { ledgerId: ledgerIdOf(trust.genesis), heads: [] }
  }
  if (trust.checkpoint === undefined) return { heads: [] }
  const { origin, size, root } = parseCheckpoint(trust.checkpoint)
  const [, id, chain] = /^healthblock\/([0-9a-f]{64})\/(userchain|docchain)$/.exec(origin) ?? []
  if (id === undefined) {
    throw new ChainError('a checkpoint of another kind of log', { code: 'ERR_CHECKPOINT_ORIGIN', origin })
  }
  return { ledgerId: fromHex(id), heads: [{ chain: chain as 'userchain' | 'docchain', size, root }] }
}

/**
 * Verifies a receipt or a dispute bundle.
 *
 * @throws {ChainError} that says what does not hold.
 */
export function verifyFile(bytes: Uint8Array, trust: Trust = {}): VerifiedFile {
  const { ledgerId, heads } = pinnedBy(trust)
  const pinned = ledgerId === undefined ? {} : { ledgerId }
  const word = ledgerId === undefined ? 'embedded' : 'pinned'
  if (!isDispute(bytes)) {
    const receipt = verifyReceipt({ bytes, ...pinned })
    return {
      kind: receipt.kind,
      steps: receipt.steps,
      trust: word,
      ledgerId: toHex(receipt.ledgerId),
      answers: [],
      opened: [],
    }
  }
  const dispute = verifyDispute({ bytes, ...pinned, heads })
  return {
    kind: 'dispute',
    steps: dispute.steps,
    trust: word,
    ledgerId: toHex(dispute.ledgerId),
    answers: dispute.answers.map(({ at, patient, gid, answer }) => ({
      at,
      patient: toHex(patient),
      gid: toHex(gid),
      answer,
    })),
    opened: dispute.opened.map(({ stream, sequence, data }) => ({ stream: toHex(stream), sequence, data })),
  }
}
