import { describe, expect, test } from 'vitest'
import { encodeVkey, type NoteKey, signatureTypes } from '../log/note.ts'
import { encodeProof, parseProof } from '../log/proof.ts'
import { acceptedFlips, bytesOf, keyOf, sampleWitness } from '../sample.test-support.ts'
import { type Dispute, type DisputePart, encodeDispute, parseDispute, verifyDispute } from './dispute.ts'
import { disputeStory } from './dispute-story.test-support.ts'

const { world, dispute } = disputeStory()
const { ledgerId } = world.genesis
const [first, second] = [sampleWitness('witness.example/a'), sampleWitness('witness.example/b')]
const vkeys = [first.vkey, second.vkey].sort()
const times = { userchain: 1_750_100_000_000, docchain: 1_750_100_007_000 }
type Line = (chain: 'userchain' | 'docchain') => string

const headOf = (chain: 'userchain' | 'docchain') => {
  const { size, root } = world.ledger.head(chain)
  return { origin: world.logs[chain].origin, size, root }
}
const lineOf =
  (witness: typeof first): Line =>
  (chain) =>
    witness.line(headOf(chain), times[chain])
const [byFirst, bySecond] = [lineOf(first), lineOf(second)]

/** The bundle with these lines at the end of every checkpoint, and this list. */
function withLines(lines: readonly Line[], witnesses: readonly string[] = vkeys): Dispute {
  const parts = dispute.parts.map((part): DisputePart => {
    const proof = parseProof(part.proof)
    const checkpoint = proof.checkpoint + lines.map((line) => line(part.chain)).join('')
    return { ...part, proof: encodeProof({ ...proof, checkpoint }) }
  })
  return { ...dispute, parts, witnesses }
}

const good = withLines([byFirst, bySecond])
const bytes = encodeDispute(good)

describe('a witnessed bundle', () => {
  test('says who cosigned every checkpoint of both chains, and since when', () => {
    const { witnesses, steps } = verifyDispute({ bytes, ledgerId })
    expect(witnesses.map(({ vkey, time }) => [vkey, time])).toEqual(vkeys.map((vkey) => [vkey, times.userchain]))
    expect(steps.filter((step) => step.includes('besides the quorum'))).toHaveLength(2)
    expect(parseDispute(bytes)).toEqual(good)
  })

  test('without witnesses has the form of the first release', () => {
    expect(encodeDispute(withLines([], []))).toEqual(encodeDispute(dispute))
    expect(verifyDispute({ bytes: encodeDispute(dispute), ledgerId }).witnesses).toEqual([])
  })

  test('is refused with a flipped bit in the list', () => {
    const from = (bytes.length - vkeys.join('","').length - 3) * 8
    const flips = acceptedFlips(bytes, (flipped) => verifyDispute({ bytes: flipped, ledgerId }), { from, step: 29 })
    expect(flips).toEqual([])
  })
})

const node: NoteKey = {
  name: `${world.logs.userchain.origin}/0`,
  type: signatureTypes.cosigner,
  publicKey: keyOf('userchain cosigner 0').publicKey,
}
const asLog = {
  name: 'witness.example/a',
  type: signatureTypes.log,
  publicKey: keyOf('witness witness.example/a').publicKey,
}
const [step] = dispute.trail as [Dispute['trail'][number]]
const stepProof = parseProof(step.proof)
const otherHead: Line = (chain) => second.line({ ...headOf(chain), root: bytesOf('another history') }, times[chain])
const otherSize: Line = (chain) => second.line({ ...headOf(chain), size: 2 }, times[chain])
const otherLog: Line = () => bySecond('userchain')
const damaged: Line = (chain) =>
  bySecond(chain).replace(/(.)(.==\n)$/, (_, found, end) => `${found === 'A' ? 'B' : 'A'}${end}`)
/** A line under the second witness's name and key id, signed by the first. */
const forgedName: Line = (chain) => {
  const [, , own] = byFirst(chain).split(' ') as [string, string, string]
  const [dash, name, theirs] = bySecond(chain).split(' ') as [string, string, string]
  const mixed = Buffer.concat([Buffer.from(theirs, 'base64').subarray(0, 4), Buffer.from(own, 'base64').subarray(4)])
  return `${dash} ${name} ${mixed.toString('base64')}\n`
}
const onOne =
  (line: Line, on: 'userchain' | 'docchain'): Line =>
  (chain) =>
    chain === on ? line(chain) : ''

/** What a forger may try with witnesses, and what he is told. */
const forgeries: [string, Dispute, string][] = [
  ['lines, and no list', withLines([byFirst, bySecond], []), 'signature lines'],
  ['a list, and no lines', withLines([]), 'the lines of witnesses do not end it'],
  [
    'a witness on userchain alone',
    withLines([byFirst, onOne(bySecond, 'userchain')]),
    'the lines of witnesses do not end it',
  ],
  [
    'a witness on docchain alone',
    withLines([byFirst, onOne(bySecond, 'docchain')]),
    'the lines of witnesses do not end it',
  ],
  ['a line of nobody named', withLines([byFirst, bySecond], [first.vkey]), 'the lines of witnesses do not end it'],
  ['a line of nobody named before the others', withLines([byFirst, bySecond], [second.vkey]), 'signature lines'],
  ['a line twice', withLines([byFirst, bySecond, bySecond]), 'the lines of witnesses do not end it'],
  ['lines in another order', withLines([bySecond, byFirst]), 'the lines of witnesses do not end it'],
  ['a list in another order', withLines([bySecond, byFirst], vkeys.toReversed()), 'not in order'],
  ['a witness twice', withLines([byFirst, byFirst], [first.vkey, first.vkey]), 'not in order'],
  ['a line over another root', withLines([byFirst, otherHead]), 'a signature of witness.example/b does not verify'],
  ['a line over another size', withLines([byFirst, otherSize]), 'a signature of witness.example/b does not verify'],
  ['a line over the other log', withLines([byFirst, otherLog]), 'a signature of witness.example/b does not verify'],
  ['a line with other bytes', withLines([byFirst, damaged]), 'a signature of witness.example/b does not verify'],
  ["a line under another's name", withLines([byFirst, forgedName]), 'a signature of witness.example/b does not verify'],
  ['a node that calls itself a witness', withLines([], [encodeVkey(node)]), 'name of a ledger'],
  ['a log key', withLines([byFirst], [encodeVkey(asLog)]), "not a witness's key: type"],
  ['words for a key', withLines([byFirst], ['witness.example/a']), 'not a verifier key'],
  [
    'a line on the trail',
    {
      ...good,
      trail: [
        { ...step, proof: encodeProof({ ...stepProof, checkpoint: stepProof.checkpoint + byFirst('userchain') }) },
      ],
    },
    'signature lines',
  ],
]

test.each(forgeries)('%s: refused', (_name, forged, reason) => {
  let message = 'accepted'
  try {
    verifyDispute({ bytes: encodeDispute(forged), ledgerId })
  } catch (error) {
    message = (error as Error).message
  }
  expect(message).toContain(reason)
})

test('a witness that signs a time beyond all calendars is named with that number', () => {
  const late: Line = (chain) => first.line(headOf(chain), 9_007_199_254_740_000)
  const { steps, witnesses } = verifyDispute({ bytes: encodeDispute(withLines([late], [first.vkey])), ledgerId })
  expect(witnesses.map(({ time }) => time)).toEqual([9_007_199_254_740_000])
  expect(steps.join()).toContain('first at 9007199254740000 ms')
})

test('an empty list is not canonical', () => {
  const text = new TextDecoder().decode(encodeDispute(dispute)).replace(/}$/, ',"witnesses":[]}')
  expect(() => parseDispute(new TextEncoder().encode(text))).toThrow('not canonical')
})
