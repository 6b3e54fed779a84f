import { encodeUtf8 } from '@healthblock/encoding/bytes'
import { describe, expect, test } from 'vitest'
import { ChainError } from '../errors.ts'
import { createReceipt, encodeReceipt, parseReceipt, type Receipt, verifyReceipt } from '../evidence/receipt.ts'
import { genesisLeaf } from '../policy/genesis.ts'
import {
  acceptedFlips,
  b32,
  keyOf,
  SampleLog,
  sampleBodies,
  sampleGenesis,
  sampleWitness,
} from '../sample.test-support.ts'
import { signTransaction } from '../transaction/transaction.ts'
import { parseCheckpoint, parseVkey } from './checkpoint.ts'
import { encodeVkey, signatureTypes } from './note.ts'
import {
  addWitnessLines,
  parseWitnessKey,
  parseWitnessSize,
  takeWitnessLines,
  verifyWitnessAnswer,
  withoutWitnessLines,
  witnessAnswerSizeBytesMax,
  witnessCosignatures,
  witnessNote,
} from './witness.ts'

const genesis = sampleGenesis()
const { ledgerId } = genesis
const log = new SampleLog(genesis, 'userchain')
const body = sampleBodies.iot
log.add(genesisLeaf(genesis))
log.add(
  signTransaction({
    ledgerId,
    chain: 'userchain',
    body,
    signers: [{ account: b32('p'), key: 1, signingKey: keyOf('op') }],
  }).leaf,
)
const head = { origin: log.origin, size: 2, root: log.root }
const nowMs = 1_750_000_200_000
const [first, second] = [sampleWitness('witness.example/a'), sampleWitness('witness.example/b')]
const keys = [first, second].map(({ vkey }) => parseWitnessKey(vkey))
const [firstKey] = keys as [(typeof keys)[0] & object]
const published = log.checkpoint()
const code = (work: () => unknown): string | undefined => {
  try {
    work()
    return undefined
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    return error.detail.code
  }
}

describe('a key of a witness', () => {
  test('is a cosigner key under a name that is no node of a ledger', () => {
    expect(encodeVkey(firstKey)).toBe(first.vkey)
    const { publicKey } = firstKey
    const log = encodeVkey({ name: 'witness.example/a', type: signatureTypes.log, publicKey })
    const node = encodeVkey({ name: `${head.origin}/0`, type: signatureTypes.cosigner, publicKey })
    for (const vkey of [log, node, `${first.vkey}x`, '', 'a+b+c']) {
      expect(code(() => parseWitnessKey(vkey))).toBe('ERR_KEY_TEXT_INVALID')
    }
    expect(() => parseVkey(log)).not.toThrow()
  })
})

describe('what a witness answers', () => {
  const line = first.line(head, nowMs)
  const verify = (answer: string, key = firstKey) => verifyWitnessAnswer({ answer, head, key })

  test('is its line over this very head, whatever else stands beside it', () => {
    expect(verify(line)).toEqual({ line, time: nowMs })
    expect(verify(second.line(head, nowMs) + line)).toEqual({ line, time: nowMs })
  })

  test.each([
    ['nothing', ''],
    ['a line without an end', line.slice(0, -1)],
    ['words', 'ok\n'],
    ['a page', `<html>${'x'.repeat(witnessAnswerSizeBytesMax)}</html>\n`],
    ['many lines', second.line(head, nowMs).repeat(65)],
  ])('%s is not an answer', (_, answer) => {
    expect(code(() => verify(answer))).toBe('ERR_NOTE_FORMAT')
  })

  test.each([
    ['another witness', second.line(head, nowMs)],
    ['another size', first.line({ ...head, size: 3 }, nowMs)],
    ['another root', first.line({ ...head, root: b32('other') }, nowMs)],
    ['another log', first.line({ ...head, origin: 'healthblock/x' }, nowMs)],
    ['a wrong line before a good one', first.line({ ...head, size: 3 }, nowMs) + line],
  ])('a line of %s is refused', (_, answer) => {
    expect(code(() => verify(answer))).toBe('ERR_CHECKPOINT_SIGNATURE')
  })

  test('any changed bit is noticed', () => {
    expect(acceptedFlips(encodeUtf8(line), (bytes) => verify(Buffer.from(bytes).toString('utf8')))).toEqual([])
  })

  test('is a size, when it holds another one', () => {
    expect(parseWitnessSize('0\n')).toBe(0)
    expect(parseWitnessSize('20852014\n')).toBe(20_852_014)
    for (const wrong of ['', '\n', '-1\n', '01\n', '1e3\n', '9007199254740993\n', '12\n\n', '٣\n', '5 \n']) {
      expect(code(() => parseWitnessSize(wrong))).toBe('ERR_NOTE_FORMAT')
    }
  })
})

describe('a checkpoint', () => {
  test('goes to a witness with one line, that of the log key that is named', () => {
    const own = { name: head.origin, type: signatureTypes.log, publicKey: keyOf('userchain log 0').publicKey }
    const sent = parseCheckpoint(witnessNote(published, own))
    expect(sent).toMatchObject({ ...head, signatures: [{ name: head.origin }] })
    expect(witnessNote(published)).toBe(witnessNote(published, own))
    expect(code(() => witnessNote(published, { ...own, publicKey: keyOf('x').publicKey }))).toBe(
      'ERR_CHECKPOINT_SIGNATURE',
    )
  })

  test('carries the lines of witnesses at its end, in the order of their keys, once each', () => {
    const lines = [first, second].map((witness) => ({ line: witness.line(head, nowMs), time: nowMs }))
    const whole = addWitnessLines(published, lines)
    expect(takeWitnessLines(whole, keys)).toEqual({ checkpoint: published, cosignatures: lines })
    expect(witnessCosignatures(whole, keys.toReversed())).toEqual(lines.toReversed())
    expect(withoutWitnessLines(whole)).toBe(published)
    expect(witnessCosignatures(published, keys)).toEqual([undefined, undefined])
    const take = (note: string) => code(() => takeWitnessLines(note, keys))
    expect(take(published)).toBe('ERR_CHECKPOINT_FORMAT')
    expect(take(addWitnessLines(published, lines.toReversed()))).toBe('ERR_CHECKPOINT_FORMAT')
    expect(take(addWitnessLines(published, lines.slice(0, 1)))).toBe('ERR_CHECKPOINT_FORMAT')
    const wrong = { line: second.line({ ...head, size: 9 }, nowMs), time: nowMs }
    expect(take(addWitnessLines(published, [lines[0] as (typeof lines)[0], wrong]))).toBe('ERR_CHECKPOINT_SIGNATURE')
    expect(witnessCosignatures(addWitnessLines(published, [wrong]), keys)).toEqual([undefined, undefined])
  })
})

describe('a witnessed receipt', () => {
  const cosigned = addWitnessLines(
    published,
    [second, first].map((one) => ({ line: one.line(head, nowMs), time: nowMs })),
  )
  const receipt = createReceipt({ genesis, chain: 'userchain', transaction: log.entry(1, cosigned), witnesses: keys })
  const parsed = parseReceipt(receipt)
  const [part] = parsed.parts as [Receipt['parts'][0]]

  test('names the witnesses that cosigned every checkpoint, and they are verified', () => {
    const { witnesses, steps } = verifyReceipt({ bytes: receipt, ledgerId })
    expect(witnesses.map(({ vkey, time }) => [vkey, time])).toEqual(
      [first, second].map(({ vkey }) => [vkey, nowMs]).sort(),
    )
    expect(steps.filter((step) => step.includes('witness'))).toHaveLength(2)
  })

  test('names none that did not sign, and has then the form of the first release', () => {
    const third = parseWitnessKey(sampleWitness('witness.example/c').vkey)
    const plain = createReceipt({
      genesis,
      chain: 'userchain',
      transaction: log.entry(1, cosigned),
      witnesses: [third],
    })
    expect(plain).toEqual(createReceipt({ genesis, chain: 'userchain', transaction: log.entry(1) }))
    expect(verifyReceipt({ bytes: plain }).witnesses).toEqual([])
  })

  test.each<[string, Partial<Receipt>, string]>([
    [
      'a witness that did not sign',
      { witnesses: [first.vkey, sampleWitness('witness.example/c').vkey] },
      'ERR_CHECKPOINT_FORMAT',
    ],
    ['a line of nobody named', { witnesses: [first.vkey] }, 'ERR_CHECKPOINT_FORMAT'],
    ['witnesses in another order', { witnesses: [second.vkey, first.vkey] }, 'ERR_RECEIPT_INVALID'],
    ['a witness twice', { witnesses: [first.vkey, first.vkey] }, 'ERR_RECEIPT_INVALID'],
    ['a key that is none', { witnesses: ['witness.example/a', second.vkey] }, 'ERR_KEY_TEXT_INVALID'],
    ['no list', { witnesses: [] }, 'ERR_CHECKPOINT_FORMAT'],
    [
      'a line over another head',
      {
        parts: [
          {
            ...part,
            proof: part.proof.replace(/\u2014 witness\.example\/b [^\n]*\n$/, second.line({ ...head, size: 1 }, nowMs)),
          },
        ],
      },
      'ERR_CHECKPOINT_SIGNATURE',
    ],
  ])('with %s is refused', (_, change, expected) => {
    const forged = encodeReceipt({ ...parsed, ...change })
    expect(forged).not.toEqual(receipt)
    expect(code(() => verifyReceipt({ bytes: forged, ledgerId }))).toBe(expected)
  })

  test('of which any bit changes in the list or the lines is refused', () => {
    const text = Buffer.from(receipt).toString('utf8')
    const from = Buffer.byteLength(text.slice(0, text.indexOf('\u2014 witness'))) * 8
    expect(acceptedFlips(receipt, (bytes) => verifyReceipt({ bytes, ledgerId }), { from, step: 3 })).toEqual([])
  })
})
