/**
 * The key file with which a patient lets an auditor read a window of what she holds: tree nodes that reach the epochs of the window, and
 * no other. Never a record's own key: two plaintexts could stand behind one.
 *
 * @see SPEC.md §9
 */
import { encodeCbor } from '@healthblock/encoding/cbor'
import { argumentInvalid } from './inner/failures.ts'
import { FormatReader, type HeldNodes, heldNodesValue } from './inner/held-nodes.ts'
import { restrictNodes, type TreeNode } from './key-tree.ts'
import type { Bytes } from './provider/provider.ts'

export type { HeldNodes } from './inner/held-nodes.ts'

/** What is disclosed. */
export interface Disclosure {
  /** 32 bytes. */
  readonly ledgerId: Uint8Array
  /** Account, 32 bytes. */
  readonly patient: Uint8Array
  /** Epochs [from, until). */
  readonly from: number
  readonly until: number
  /** Nodes of data streams and of diagnosis streams. */
  readonly nodes: readonly HeldNodes[]
}

/** Largest file. */
export const disclosureSizeBytesMax = 16 * 1024 * 1024

/**
 * Cuts a window out of what somebody holds: nodes of the streams asked for that reach epochs of the window, in every generation.
 *
 * @param window - Epochs [from, until). `isDisclosed` chooses streams.
 */
export function disclosedNodes(
  held: readonly HeldNodes[],
  window: { from: number; until: number; isDisclosed: (stream: Uint8Array) => boolean },
): HeldNodes[] {
  const { from, until, isDisclosed } = window
  return held.flatMap(({ stream, generation, first, nodes }) => {
    if (!isDisclosed(stream)) return []
    const reaching = restrictNodes(nodes as TreeNode[], { first, from, until })
    return reaching.length === 0 ? [] : [{ stream, generation, first, nodes: reaching }]
  })
}

/**
 * Encodes a key file. It is secret: whoever has it reads the window.
 *
 * @throws {CryptoError} `ERR_ARGUMENT_INVALID` for a window that is none, or nodes that are not held nodes.
 */
export function encodeDisclosure({ ledgerId, patient, from, until, nodes }: Disclosure): Bytes {
  if (ledgerId.length !== 32 || patient.length !== 32) throw argumentInvalid('account')
  if (![from, until].every(Number.isSafeInteger) || from < 0 || until <= from) throw argumentInvalid('window')
  return encodeCbor({ v: 1, ledger: ledgerId, patient, from, until, nodes: heldNodesValue(nodes) })
}

/**
 * Reads a key file.
 *
 * @throws {CryptoError} `ERR_FORMAT_INVALID`.
 */
export function parseDisclosure(bytes: Uint8Array): Disclosure {
  const reader = new FormatReader('disclosure')
  reader.demand(bytes.length <= disclosureSizeBytesMax)
  const map = reader.map(bytes, ['v', 'ledger', 'patient', 'from', 'until', 'nodes'])
  const from = reader.number(map.from)
  const until = reader.number(map.until)
  reader.demand(from < until)
  return {
    ledgerId: reader.bytes(map.ledger, 32),
    patient: reader.bytes(map.patient, 32),
    from,
    until,
    nodes: reader.heldNodes(map.nodes),
  }
}
