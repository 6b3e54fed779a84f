/**
 * The public texts inside a receipt, a dispute bundle or a succession, as files that tools of other people read: each leaf with its C2SP tlog-proof, its
 * checkpoint, and the policy under which the checkpoint counts.
 */

import type { ChainName } from '@healthblock/chain/chains'
import {
  chainOrigin,
  cosignerName,
  encodeVkey,
  type LogPolicy,
  type NoteKey,
  noteKeyId,
  parseCheckpoint,
  signatureTypes,
} from '@healthblock/chain/checkpoint'
import { parseGenesis } from '@healthblock/chain/genesis'
import { PolicyTrail, type TrailStep } from '@healthblock/chain/policy-trail'
import { parseProof } from '@healthblock/chain/proof'
import { leafKind, parseTransactionLeaf } from '@healthblock/chain/transaction'
import { parseWitnessKey, takeWitnessLines } from '@healthblock/chain/witness'
import { encodeUtf8, equalBytes } from '@healthblock/encoding/bytes'
import { parseFile } from './file-kind.ts'
import { verifyFile } from './verify.ts'

/** A file. `name` has no folder in it. */
export interface ExtractedFile {
  readonly name: string
  readonly bytes: Uint8Array
}

function leafName(leaf: Uint8Array): string {
  return leafKind(leaf) === 'seal' ? 'seal' : parseTransactionLeaf(leaf).body.t
}

/** Log keys of a policy that signed this checkpoint: in a receipt exactly one. */
function signingLogKeys(checkpoint: string, origin: string, { logKeys }: LogPolicy): NoteKey[] {
  const { signatures } = parseCheckpoint(checkpoint)
  return logKeys.flatMap((publicKey) => {
    if (publicKey === undefined) return []
    const key: NoteKey = { name: origin, type: signatureTypes.log, publicKey }
    return signatures.some(({ keyId }) => equalBytes(keyId, noteKeyId(key))) ? [key] : []
  })
}

/** What a checkpoint must carry, in the lines that torchwood and Tessera read as a witness policy. */
function policyText(trail: PolicyTrail, chain: ChainName, checkpoint: string, witnesses: readonly string[]): string {
  const origin = chainOrigin({ ledgerId: trail.genesis.ledgerId, chain })
  const { policy } = trail.verifyReceipt(chain, takeWitnessLines(checkpoint, witnesses.map(parseWitnessKey)).checkpoint)
  const logs = signingLogKeys(checkpoint, origin, policy).map((key) => `log ${encodeVkey(key)}`)
  const nodes = policy.cosigners.flatMap((publicKey, rank) => {
    if (publicKey === undefined) return []
    const key: NoteKey = { name: cosignerName(origin, rank), type: signatureTypes.cosigner, publicKey }
    return [{ name: `node-${rank}`, line: `witness node-${rank} ${encodeVkey(key)}` }]
  })
  const group = `group nodes ${policy.q} ${nodes.map(({ name }) => name).join(' ')}`
  const lines = [...logs, ...nodes.map(({ line }) => line), group]
  if (witnesses.length === 0) return `${[...lines, 'quorum nodes'].join('\n')}\n`
  const outside = witnesses.map((vkey, i) => `witness outside-${i} ${vkey}`)
  const all = `group witnessed all nodes ${witnesses.map((_, i) => `outside-${i}`).join(' ')}`
  return `${[...lines, ...outside, all, 'quorum witnessed'].join('\n')}\n`
}

function filesOf(
  trail: PolicyTrail,
  prefix: string,
  { chain, leaf, proof }: TrailStep,
  witnesses: readonly string[],
): ExtractedFile[] {
  const { index, checkpoint } = parseProof(proof)
  const stem = `${prefix}${chain}-${index}-${leafName(leaf)}`
  return [
    { name: `${stem}.leaf`, bytes: leaf },
    { name: `${stem}.tlog-proof`, bytes: encodeUtf8(proof) },
    { name: `${stem}.checkpoint`, bytes: encodeUtf8(checkpoint) },
    { name: `${stem}.policy`, bytes: encodeUtf8(policyText(trail, chain, checkpoint, witnesses)) },
  ]
}

/**
 * Verifies a file by itself, and takes the public texts out of it.
 *
 * @returns `genesis.cbor`, whose SHA-256 is the ledger id; then for each part `<chain>-<index>-<type>` and for each step of the policy trail
 *   `trail-<number>-<chain>-<index>-<type>`, with `.leaf` (the bytes whose hash is proved), `.tlog-proof`, `.checkpoint` and `.policy`.
 * @throws {ChainError} as `verifyFile`.
 */
export function extractFiles(bytes: Uint8Array): ExtractedFile[] {
  verifyFile(bytes)
  const file = parseFile(bytes)
  const { genesis, parts, trail: steps = [] } = file
  const witnesses = 'witnesses' in file ? (file.witnesses ?? []) : []
  const trail = PolicyTrail.of(parseGenesis(genesis), steps)
  return [
    { name: 'genesis.cbor', bytes: genesis },
    ...parts.flatMap((part) => filesOf(trail, '', part, witnesses)),
    ...steps.flatMap((step, number) => filesOf(trail, `trail-${number}-`, step, [])),
  ]
}
