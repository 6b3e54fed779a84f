import { readFileSync } from 'node:fs'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { encodeUtf8, fromHex } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { acceptedFlips, bytesOf, keyOf, SampleLog, sampleGenesis } from '../sample.test-support.ts'
import {
  addSignatures,
  checkpointText,
  cosignCheckpoint,
  cosignerName,
  encodeVkey,
  genesisPolicy,
  noteKeyId,
  parseCheckpoint,
  parseVkey,
  receiptCheckpoint,
  signatureTypes,
  verifyCheckpoint,
  verifyCosignature,
  verifyNoteSignature,
  verifyReceiptCheckpoint,
} from './checkpoint.ts'
import { encodeNote, parseNote } from './note.ts'

interface Vectors {
  keys: { vkey: string }[]
  badKeys: { vkey: string; why: string }[]
  signed: { seed: string; vkey: string; note: string }
  checkpoints: { source: string; logVkey: string; cosigners: string[]; size: number; note: string }[]
}
const vectors: Vectors = JSON.parse(readFileSync(new URL('../../vectors/notes.json', import.meta.url), 'utf8'))

const refusal = (code: string) =>
  expect.objectContaining({ name: 'ChainError', detail: expect.objectContaining({ code }) })

describe('published keys and notes', () => {
  test.each(vectors.keys)('$vkey', ({ vkey }) => {
    expect(encodeVkey(parseVkey(vkey))).toBe(vkey)
  })

  test.each(vectors.badKeys)('refuses a key: $why', ({ vkey }) => {
    expect(() => parseVkey(vkey)).toThrow(refusal('ERR_KEY_TEXT_INVALID'))
  })

  test('a key with anything cut away or changed is refused', () => {
    const vkey = vectors.signed.vkey
    for (let start = 0; start < vkey.length; start++) {
      expect(() => parseVkey(vkey.slice(start + 1))).toThrow(ChainError)
      expect(() => parseVkey(vkey.slice(0, start))).toThrow(ChainError)
      const next = String.fromCharCode(vkey.charCodeAt(start) + 1)
      expect(() => parseVkey(vkey.slice(0, start) + next + vkey.slice(start + 1))).toThrow(ChainError)
    }
  })

  test('a published note verifies, and is signed again to the same bytes', () => {
    const { note, seed, vkey } = vectors.signed
    const { text, signatures } = parseNote(note)
    const key = parseVkey(vkey)
    for (const signature of signatures) expect(verifyNoteSignature({ text, key, signature })).toBeUndefined()
    const signature = signingKeyFromSeed(fromHex(seed)).sign(encodeUtf8(text))
    expect(encodeNote({ text, signatures: [{ name: key.name, keyId: noteKeyId(key), signature }] })).toBe(note)
  })

  test('a signature that held holds for nothing else', () => {
    const { note, vkey } = vectors.signed
    const { text, signatures } = parseNote(note)
    const key = parseVkey(vkey)
    // As of a key that was made to have the same name and id.
    const other = { ...key, publicKey: keyOf('another').publicKey }
    for (const { name, signature: bytes } of signatures) {
      const check = (by: typeof key, words: string, signature: Uint8Array) =>
        verifyNoteSignature({ text: words, key: by, signature: { name, keyId: noteKeyId(by), signature } })
      check(key, text, bytes)
      check(key, text, bytes)
      expect(() => check(other, text, bytes)).toThrow(refusal('ERR_CHECKPOINT_SIGNATURE'))
      expect(() => check(key, `${text}x\n`, bytes)).toThrow(refusal('ERR_CHECKPOINT_SIGNATURE'))
      expect(() => check(key, text, bytes.with(0, (bytes[0] as number) ^ 1))).toThrow(
        refusal('ERR_CHECKPOINT_SIGNATURE'),
      )
      check(key, text, bytes)
    }
  })

  test.each(vectors.checkpoints)('$source', ({ logVkey, cosigners, size, note }) => {
    const checkpoint = parseCheckpoint(note)
    expect(checkpoint.size).toBe(size)
    expect(encodeNote(checkpoint)).toBe(note)
    const { text } = checkpoint
    for (const vkey of [logVkey, ...cosigners]) {
      const key = parseVkey(vkey)
      const times = checkpoint.signatures.flatMap((signature) => {
        if (signature.name !== key.name || noteKeyId(key).join() !== signature.keyId.join()) return []
        expect(() => verifyNoteSignature({ text: `${text}x\n`, key, signature })).toThrow(
          refusal('ERR_CHECKPOINT_SIGNATURE'),
        )
        return [verifyNoteSignature({ text, key, signature })]
      })
      expect(times).toEqual([key.type === signatureTypes.cosigner ? 1_779_573_024_000 : undefined])
    }
  })
})

describe('checkpoints', () => {
  const genesis = sampleGenesis()
  const policy = genesisPolicy(genesis, 'userchain')
  const log = new SampleLog(genesis, 'userchain')
  log.add(bytesOf('leaf 0'), bytesOf('leaf 1'), bytesOf('leaf 2'))
  const { origin } = log
  const verify = (note: string, q = policy.q) => verifyCheckpoint({ note, origin, policy: { ...policy, q } })

  test('q cosignatures make it hold; its time is that of the oldest of the q newest', () => {
    const verified = verify(log.checkpoint([3, 1, 0, 2]))
    expect(verified).toEqual({ size: 3, root: log.root, cosigners: [0, 1, 2, 3], oldestTime: 1_750_000_101_000 })
  })

  test('q - 1 cosignatures do not, whatever else is there', () => {
    const two = log.checkpoint([0, 2])
    expect(() => verify(two)).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_CHECKPOINT_QUORUM', count: 2, countMin: 3 } }),
    )
    // The same node twice, a node beyond the policy, a stranger's line, the log's own line again.
    const head = parseCheckpoint(two)
    const lines = [
      cosignCheckpoint(head, { rank: 0, signer: keyOf('userchain cosigner 0'), nowMs: 1_750_000_200_000 }),
      cosignCheckpoint(head, { rank: 4, signer: keyOf('userchain cosigner 4'), nowMs: 1_750_000_200_000 }),
      cosignCheckpoint(head, { rank: 1, signer: keyOf('docchain cosigner 1'), nowMs: 1_750_000_200_000 }),
    ]
    expect(() => verify(addSignatures(two, lines))).toThrow(refusal('ERR_CHECKPOINT_QUORUM'))
    expect(verify(addSignatures(two, lines), 2).oldestTime).toBe(1_750_000_102_000)
  })

  test('a wrong line of a known cosigner spoils it', () => {
    const head = parseCheckpoint(log.checkpoint([0, 1, 2]))
    const other = { ...head, size: 4 }
    const line = cosignCheckpoint(other, { rank: 3, signer: keyOf('userchain cosigner 3'), nowMs: 1_750_000_200_000 })
    expect(() => verify(addSignatures(log.checkpoint([0, 1, 2]), [line]))).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_CHECKPOINT_SIGNATURE', name: cosignerName(origin, 3) } }),
    )
  })

  test('of another chain or ledger it is refused', () => {
    const note = log.checkpoint()
    const docchain = new SampleLog(genesis, 'docchain').origin
    expect(() => verifyCheckpoint({ note, origin: docchain, policy })).toThrow(refusal('ERR_CHECKPOINT_ORIGIN'))
  })

  test('a log key that poses as a cosigner does not count', () => {
    const head = parseCheckpoint(log.checkpoint())
    const note = addSignatures(log.checkpoint([0, 1]), [
      cosignCheckpoint(head, { rank: 2, signer: keyOf('userchain log 2'), nowMs: 1_750_000_200_000 }),
    ])
    expect(() => verify(note)).toThrow(refusal('ERR_CHECKPOINT_QUORUM'))
  })

  test('single cosignatures verify for their rank alone', () => {
    const head = parseCheckpoint(log.checkpoint())
    const line = cosignCheckpoint(head, { rank: 2, signer: keyOf('userchain cosigner 2'), nowMs: 1_750_000_200_999 })
    const { cosigners } = policy
    expect(verifyCosignature({ line, head, cosigners })).toEqual({ rank: 2, time: 1_750_000_200_000, line })
    expect(() => verifyCosignature({ line, head: { ...head, size: 2 }, cosigners })).toThrow(
      refusal('ERR_CHECKPOINT_SIGNATURE'),
    )
    expect(() => verifyCosignature({ line, head, cosigners: cosigners.slice(0, 2) })).toThrow(
      refusal('ERR_CHECKPOINT_SIGNATURE'),
    )
    for (const bad of ['', line.slice(0, -1), `${line}\n`, line.replace('\u2014', '-'), line.replace(' ', '  ')]) {
      expect(() => verifyCosignature({ line: bad, head, cosigners })).toThrow(refusal('ERR_NOTE_FORMAT'))
    }
  })

  test('the form for receipts: one log line, q cosignatures by rank, nothing else', () => {
    const published = addSignatures(log.checkpoint([3, 0, 2, 1]), [
      cosignCheckpoint(parseCheckpoint(log.checkpoint()), {
        rank: 9,
        signer: keyOf('witness'),
        nowMs: 1_750_000_200_000,
      }),
    ])
    const note = receiptCheckpoint({ note: published, origin, policy })
    expect(note).toBe(log.checkpoint([0, 1, 2]))
    expect(verifyReceiptCheckpoint({ note, origin, policy }).cosigners).toEqual([0, 1, 2])
    expect(() => verifyReceiptCheckpoint({ note: published, origin, policy })).toThrow(refusal('ERR_CHECKPOINT_FORMAT'))
    for (const wrong of [log.checkpoint([0, 2, 1]), log.checkpoint([0, 1, 2, 3])]) {
      expect(() => verifyReceiptCheckpoint({ note: wrong, origin, policy })).toThrow(refusal('ERR_CHECKPOINT_FORMAT'))
    }
    // Without the log's line, or with that of a key which is no log key of the policy.
    const withoutLog = note.replace(/\u2014 \S*userchain \S+\n/, '')
    const otherLog = { ...policy, logKeys: [keyOf('stranger').publicKey] }
    expect(() => verifyReceiptCheckpoint({ note: withoutLog, origin, policy })).toThrow(
      refusal('ERR_CHECKPOINT_LOG_LINE'),
    )
    expect(() => verifyReceiptCheckpoint({ note, origin, policy: otherLog })).toThrow(
      refusal('ERR_CHECKPOINT_LOG_LINE'),
    )
  })

  test('every flipped bit of a checkpoint in the form for receipts is refused', () => {
    const small = sampleGenesis(1, 1)
    const smallLog = new SampleLog(small, 'userchain')
    smallLog.add(bytesOf('leaf'))
    for (const [of, own, ranks, step] of [
      [small, smallLog, [0], 1],
      [genesis, log, [0, 1, 2], 11],
    ] as const) {
      const place = { origin: own.origin, policy: genesisPolicy(of, 'userchain') }
      const read = (flipped: Uint8Array) =>
        verifyReceiptCheckpoint({ note: new TextDecoder().decode(flipped), ...place })
      expect(acceptedFlips(encodeUtf8(own.checkpoint(ranks)), read, { step })).toEqual([])
    }
  })

  const head = { origin, size: 3, root: log.root }
  const text = checkpointText(head)
  const lines = log.checkpoint().slice(text.length)
  test.each([
    ['ERR_CHECKPOINT_FORMAT', 'an extension line', `${text}more\n${lines}`],
    ['ERR_CHECKPOINT_FORMAT', 'a leading zero', text.replace('\n3\n', '\n03\n') + lines],
    ['ERR_CHECKPOINT_FORMAT', 'a sign', text.replace('\n3\n', '\n+3\n') + lines],
    ['ERR_CHECKPOINT_FORMAT', 'a size of 2^53', text.replace('\n3\n', '\n9007199254740992\n') + lines],
    ['ERR_CHECKPOINT_FORMAT', 'no size', text.replace('\n3\n', '\n\n') + lines],
    ['ERR_CHECKPOINT_FORMAT', 'a short root', `${origin}\n3\nAAAA\n${lines}`],
    ['ERR_CHECKPOINT_FORMAT', 'a root without padding', text.replace('=', '') + lines],
    ['ERR_CHECKPOINT_FORMAT', 'no origin', text.replace(origin, '') + lines],
    ['ERR_NOTE_FORMAT', 'no text', lines],
    ['ERR_NOTE_FORMAT', 'no signatures', `${text}\n`],
    ['ERR_NOTE_FORMAT', 'no empty line', text + lines.slice(1)],
    ['ERR_NOTE_FORMAT', 'an end without newline', text + lines.slice(0, -1)],
    ['ERR_NOTE_FORMAT', 'one newline more', `${text + lines}\n`],
    ['ERR_NOTE_FORMAT', 'carriage returns', (text + lines).replaceAll('\n', '\r\n')],
    ['ERR_NOTE_FORMAT', 'half a character', `${text}\ud800${lines}`],
    ['ERR_NOTE_FORMAT', 'base64 that is not canonical', `${text}\n\u2014 name AAAAAAB=\n`],
    ['ERR_NOTE_FORMAT', 'a name with a plus sign', `${text}\n\u2014 na+me AAAAAAAA\n`],
    ['ERR_NOTE_FORMAT', 'a name with a wide space', `${text}\n\u2014 na\u2003me AAAAAAAA\n`],
    ['ERR_NOTE_FORMAT', 'a signature of a key id alone', `${text}\n\u2014 name AAAAAA==\n`],
    ['ERR_NOTE_FORMAT', 'too many signatures', `${text}\n${'\u2014 name AAAAAAAA\n'.repeat(1025)}`],
    ['ERR_NOTE_FORMAT', 'too long', `${'x'.repeat(262_144)}\n\n\u2014 name AAAAAAAA\n`],
  ])('%s: %s', (code, _why, note) => {
    expect(() => parseCheckpoint(note)).toThrow(refusal(code))
  })

  test('whatever is parsed is written again, and nothing else is thrown than typed errors', () => {
    const good = log.checkpoint()
    fc.assert(
      fc.property(
        fc.oneof(fc.string({ unit: 'binary' }), fc.constant(good)),
        fc.nat(),
        fc.nat(3),
        fc.string({ unit: fc.constantFrom('\n', '\u2014', ' ', '=', 'A', '+', '0', '\u0000'), maxLength: 4 }),
        (base, at, cut, insert) => {
          const position = at % (base.length + 1)
          const note = base.slice(0, position) + insert + base.slice(position + cut)
          try {
            expect(encodeNote(parseCheckpoint(note))).toBe(note)
          } catch (error) {
            expect(error).toBeInstanceOf(ChainError)
          }
          try {
            parseVkey(note)
          } catch (error) {
            expect(error).toBeInstanceOf(ChainError)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })
})
