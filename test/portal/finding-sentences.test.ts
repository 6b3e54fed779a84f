/** Every sentence that the program can write is understood by the portals: they say it again in another language with the same figures. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Episodes, type FindingCode, findingKinds, severities } from '../../packages/diagnosis/src/findings.ts'
import { readSentence } from '../../web/src/finding/figures.ts'
import german from '../../web/texts/de.json' with { type: 'json' }
import english from '../../web/texts/en.json' with { type: 'json' }

const codes = Object.keys(findingKinds) as FindingCode[]

/** A sentence as the program writes it for an episode seen so often, with values in thousandths. */
function sentenceOf(code: FindingCode, seen: readonly { atMs: number; value: number }[]): string | undefined {
  const episodes = new Episodes()
  const [severity] = severities
  const [first] = seen
  // From the first one on: what comes later joins it, however long after.
  for (const { atMs, value } of seen)
    episodes.see({ code, fromMs: first?.atMs ?? atMs, toMs: atMs, severity: severity ?? 'info', value })
  return episodes.findings()[0]?.sentence
}

const filled = (text: string, figures: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => figures[name] ?? whole)

test.each(codes)('%s: read from its sentence, and said again letter by letter', (code) => {
  const seen = fc.array(
    fc.record({ atMs: fc.integer({ min: 0, max: 90_000_000 }), value: fc.integer({ min: 0, max: 400_000 }) }),
    {
      ...{ minLength: 1, maxLength: 5 },
    },
  )
  fc.assert(
    fc.property(seen, (list) => {
      const last = { atMs: 100_000_000, value: 88_400 }
      for (const all of [[...list, last], [last]]) {
        const sentence = sentenceOf(code, all)
        // Too short to be told.
        if (sentence === undefined) continue
        const read = readSentence(code, sentence)
        if (read === undefined) throw new Error(`not understood: ${sentence}`)
        expect(filled(english[read.key], read.figures)).toBe(sentence)
        const said = filled(german[read.key as keyof typeof german], read.figures)
        expect(said).not.toMatch(/[{}]/)
        expect(said.match(/\d+(\.\d)?/g)?.toSorted()).toEqual(sentence.match(/\d+(\.\d)?/g)?.toSorted())
      }
    }),
    { numRuns: 50 },
  )
})

test('what no program of ours wrote is shown as it was written', () => {
  for (const sentence of [
    'Tachycardia.',
    'Tachycardia for 22 s, rate 112 to 162/min. <b>',
    'Tachycardia for {length}, rate 1 to 2/min.',
  ])
    expect(readSentence('ecg.tachycardia', sentence)).toBeUndefined()
  expect(readSentence('ecg.of-another-version', 'Anything.')).toBeUndefined()
  expect(readSentence('__proto__', 'Anything.')).toBeUndefined()
})
