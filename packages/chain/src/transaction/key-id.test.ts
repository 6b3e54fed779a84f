/** Two log keys of one name whose four-byte ids are equal: whoever makes one that looks like another's gains nothing. */
import { generateSigningKey, type SigningKey, signingKeyFromSeed } from '@healthblock/crypto/signature'
import { describe, expect, it } from 'vitest'
import {
  addSignatures,
  chainOrigin,
  cosignCheckpoint,
  noteKeyId,
  signatureTypes,
  signCheckpoint,
  verifyReceiptCheckpoint,
} from '../log/checkpoint.ts'

const origin = chainOrigin({ ledgerId: new Uint8Array(32), chain: 'userchain' })
const head = { origin, size: 8, root: new Uint8Array(32).fill(7) }

function keyOf(number: number): SigningKey {
  const seed = new Uint8Array(32)
  new DataView(seed.buffer).setUint32(0, number)
  return signingKeyFromSeed(seed)
}

/** Found by trying seeds from 1 on. */
const [lookalike, signer] = [keyOf(28_835), keyOf(50_122)]
const [low, high] = [generateSigningKey(), generateSigningKey()]

describe('two log keys with one id', () => {
  it('are two keys', () => {
    const ids = [lookalike, signer].map(({ publicKey }) =>
      noteKeyId({ name: origin, type: signatureTypes.log, publicKey }),
    )
    expect(ids[0]).toEqual(ids[1])
    expect(lookalike.publicKey).not.toEqual(signer.publicKey)
  })

  it.each([
    ['behind', [lookalike, signer]],
    ['before', [signer, lookalike]],
  ])('leave the receipts good of who stands %s the other one', (_where, logs) => {
    const lines = [low, high].map((key, rank) => cosignCheckpoint(head, { rank, signer: key, nowMs: 9_000 }))
    const policy = {
      q: 2,
      cosigners: [low, high].map(({ publicKey }) => publicKey),
      logKeys: logs.map(({ publicKey }) => publicKey),
    }
    const verify = (by: SigningKey) =>
      verifyReceiptCheckpoint({ note: addSignatures(signCheckpoint(head, by), lines), origin, policy })
    expect(verify(signer).size).toBe(8)
    expect(verify(lookalike).size).toBe(8)
    // A line of neither, although it has their id.
    const forged = addSignatures(signCheckpoint({ ...head, size: 9 }, signer), lines).replace('\n9\n', '\n8\n')
    expect(() => verifyReceiptCheckpoint({ note: forged, origin, policy })).toThrow(
      expect.objectContaining({ detail: expect.objectContaining({ code: 'ERR_CHECKPOINT_SIGNATURE' }) }),
    )
  })
})
