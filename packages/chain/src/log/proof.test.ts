import { encodeUtf8, toBase64 } from '@healthblock/encoding/bytes'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { acceptedFlips, bytesOf, SampleLog, sampleGenesis } from '../sample.test-support.ts'
import { genesisPolicy, receiptCheckpoint } from './checkpoint.ts'
import { encodeAddCheckpoint, encodeProof, parseAddCheckpoint, parseProof, verifyProof } from './proof.ts'

const genesis = sampleGenesis()
const policy = genesisPolicy(genesis, 'userchain')
const log = new SampleLog(genesis, 'userchain')
const leaves = Array.from({ length: 11 }, (_, i) => bytesOf(`leaf ${i}`, i))
log.add(...leaves)
const { origin } = log
const checkpoint = receiptCheckpoint({ note: log.checkpoint([0, 1, 2]), origin, policy })
const proofOf = (index: number) => encodeProof({ ...log.entry(index), checkpoint })

test('a proof of every leaf verifies, with and without extra data, for its leaf alone', () => {
  leaves.forEach((leaf, index) => {
    const proof = proofOf(index)
    expect(verifyProof({ proof, leaf, origin, policy })).toMatchObject({ index, size: 11, cosigners: [0, 1, 2] })
    expect(encodeProof(parseProof(proof))).toBe(proof)
    const extra = encodeProof({ ...parseProof(proof), extra: bytesOf('extra', 7) })
    expect(parseProof(extra).extra).toEqual(bytesOf('extra', 7))
    expect(encodeProof(parseProof(extra))).toBe(extra)
    verifyProof({ proof: extra, leaf, origin, policy })
    expect(() => verifyProof({ proof, leaf: bytesOf('other'), origin, policy })).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_INCLUSION_INVALID', index, size: 11 } }),
    )
  })
})

test('its text is that of the specification', () => {
  const { hashes } = log.entry(10)
  expect(proofOf(10)).toBe(
    `c2sp.org/tlog-proof@v1\nindex 10\n${hashes.map((hash) => `${toBase64(hash)}\n`).join('')}\n${checkpoint}`,
  )
})

test('every flipped bit is refused', () => {
  const bytes = encodeUtf8(proofOf(10))
  // The log's own line proves nothing, so only receipts read it; everything before it is covered here.
  const covered = proofOf(10).indexOf('\u2014')
  const read = (flipped: Uint8Array) =>
    verifyProof({ proof: new TextDecoder().decode(flipped), leaf: leaves[10] as Uint8Array, origin, policy })
  expect(acceptedFlips(bytes, read, { to: covered * 8 })).toEqual([])
})

const good = proofOf(3)
test.each([
  ['ERR_PROOF_FORMAT', 'another version', good.replace('@v1', '@v2')],
  ['ERR_PROOF_FORMAT', 'no index', good.replace(/index 3\n/, '')],
  ['ERR_PROOF_FORMAT', 'a leading zero', good.replace('index 3', 'index 03')],
  ['ERR_PROOF_FORMAT', 'a negative index', good.replace('index 3', 'index -3')],
  ['ERR_PROOF_FORMAT', 'an index of 2^53', good.replace('index 3', 'index 9007199254740992')],
  ['ERR_PROOF_FORMAT', 'a short hash', good.replace('index 3\n', 'index 3\nAAAA\n')],
  ['ERR_PROOF_FORMAT', 'a hash without padding', good.replace('=\n', '\n')],
  ['ERR_PROOF_FORMAT', 'extra data after the index', good.replace('index 3\n', 'index 3\nextra AAAA\n')],
  ['ERR_PROOF_FORMAT', 'extra data that is no base64', good.replace('index 3\n', 'extra ?\nindex 3\n')],
  ['ERR_PROOF_FORMAT', '64 hashes', good.replace('index 3\n', `index 3\n${`${toBase64(bytesOf('x'))}\n`.repeat(64)}`)],
  ['ERR_PROOF_FORMAT', 'nothing', ''],
  ['ERR_PROOF_FORMAT', 'no checkpoint', good.slice(0, good.indexOf('\n\n'))],
  ['ERR_NOTE_FORMAT', 'a newline at the end', `${good}\n`],
  ['ERR_INCLUSION_INVALID', 'another index', good.replace('index 3', 'index 2')],
  ['ERR_INCLUSION_INVALID', 'one hash less', good.replace(/index 3\n.*\n/, 'index 3\n')],
  ['ERR_INCLUSION_INVALID', 'an index beyond the tree', good.replace('index 3', 'index 11')],
  ['ERR_CHECKPOINT_QUORUM', 'q - 1 cosignatures', good.replace(/\u2014 [^\n]*\n$/, '')],
])('%s: %s', (code, _why, proof) => {
  expect(() => verifyProof({ proof, leaf: leaves[3] as Uint8Array, origin, policy })).toThrow(
    expect.objectContaining({ name: 'ChainError', detail: expect.objectContaining({ code }) }),
  )
})

test('requests to witnesses read back', () => {
  const { hashes } = log.entry(3)
  const body = encodeAddCheckpoint({ oldSize: 7, proof: hashes, checkpoint })
  expect(body.startsWith(`old 7\n${toBase64(hashes[0] as Uint8Array)}\n`)).toBe(true)
  expect(parseAddCheckpoint(body)).toEqual({ oldSize: 7, proof: hashes, checkpoint })
  const first = encodeAddCheckpoint({ oldSize: 0, proof: [], checkpoint })
  expect(first).toBe(`old 0\n\n${checkpoint}`)
  expect(parseAddCheckpoint(first)).toEqual({ oldSize: 0, proof: [], checkpoint })
  for (const bad of [body.replace('old', 'new'), body.replace('old 7', 'old 07'), body.slice(0, 40), `${body}\n`]) {
    expect(() => parseAddCheckpoint(bad)).toThrow(ChainError)
  }
})

test('any text is a proof or a typed error', () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string(), fc.constant(good)),
      fc.nat(),
      fc.nat(5),
      fc.string({ maxLength: 5 }),
      (base, at, cut, add) => {
        const position = at % (base.length + 1)
        const text = base.slice(0, position) + add + base.slice(position + cut)
        for (const read of [parseProof, parseAddCheckpoint]) {
          try {
            read(text)
          } catch (error) {
            expect(error).toBeInstanceOf(ChainError)
          }
        }
        try {
          expect(encodeProof(parseProof(text))).toBe(text)
        } catch (error) {
          if (!(error instanceof ChainError)) throw error
        }
      },
    ),
    { numRuns: 1500 },
  )
})
