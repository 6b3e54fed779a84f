/** What an audit can find and leave out has words in every language: the codes of its specification, and the sentences that it writes. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { incidentCodes } from '../../services/accounting-node/src/incidents/incident-log.ts'
import { readByTexts } from '../../web/src/finding/figures.ts'
import german from '../../web/texts/de.json' with { type: 'json' }
import english from '../../web/texts/en.json' with { type: 'json' }

/** The codes of the table "Findings" of packages/audit/SPEC.md; `incident.<code>` once for each code, `block.<rule>` not at all. */
function specifiedCodes(): string[] {
  const spec = readFileSync(new URL('../../packages/audit/SPEC.md', import.meta.url), 'utf8')
  const rows = spec.split('\n').filter((line) => /^\| `[a-z]+\.[a-z<]/.test(line))
  const codes = rows.flatMap((row) =>
    [...(row.split('|')[1] ?? '').matchAll(/`([^`]+)`/g)].map(([, code]) => code ?? ''),
  )
  return codes
    .filter((code) => code !== 'block.<rule>')
    .flatMap((code) => (code === 'incident.<code>' ? incidentCodes.map((one) => `incident.${one}`) : [code]))
}

test('every finding that is specified has a sentence of its own in each language, and nothing else has one', () => {
  const codes = specifiedCodes()
  expect(codes.length).toBeGreaterThan(50)
  for (const texts of [english, german])
    expect(
      Object.keys(texts)
        .filter((key) => key.startsWith('auditor.code.'))
        .map((key) => key.replace('auditor.code.', ''))
        .toSorted(),
    ).toEqual(codes.toSorted())
})

test.each(incidentCodes)('%s: the list of incidents has words for it', (code) => {
  for (const texts of [english, german]) expect(Object.keys(texts)).toContain(`auditor.incident.${code}`)
})

const keys = Object.keys(english).filter((key) => key.startsWith('auditor.unchecked.'))
const filled = (text: string, figures: Readonly<Record<string, string>>): string =>
  text.replaceAll(/\{(\w+)\}/g, (whole, name: string) => figures[name] ?? whole)

test.each([
  'records of the state of userchain, but for 16 of 211, which were asked for',
  'records of the state of userchain, but for 16 of 211, which were asked for; 19 answers were of another height than the audited one',
  '16 questions for records of the state of userchain were refused',
  'stored blocks, but for 20 of 22, which were asked for; what stored blocks hold was not read, but for disclosed ones: the auditor has no keys; 2 questions had no answer (fetch failed; storage-1)',
  'promises of gateways, but for 3 that were held against the ledger, for 7 transactions; the deadline of 1 has not passed, or only just',
  'entries of docchain at accounting-1, which was away: they are compared within 10 min',
  'the signatures and rules of the first 12 entries of userchain, up to height 3: an earlier audit executed them, and its word is taken; the entries were compared again',
  '2 promises whose gateways do not answer: these have 10 min to show a refusal',
  'reads and promises of gateways, because the ledger was not replayed whole',
  'docchain after a revocation that is long past: it went on while this was looked at',
  'entries of docchain at accounting-1, accounting-2, which published fewer when the audit began',
  'userchain was replayed up to height 12 only',
  'docchain was not replayed, because the replay of userchain stopped',
  '41 further findings entry.altered accounting-2 are not listed',
  '41 further findings log.root are not listed',
  'userchain at http://127.0.0.1:1: it has cosigned nothing yet',
  'docchain at witness.example/w: it was at 12 entries when 14 were audited',
  'docchain at witness.example/w: no proof could be made',
  "docchain at witness.example/w: no node's head was replayed whole",
  'docchain at witness.example/w: it named another size each time',
  'docchain at witness.example/w: fetch failed (ECONNREFUSED)',
  `nodes of ledger ${'ab'.repeat(32)}, which this one carries on: none was named`,
  `what ledger ${'ab'.repeat(32)} holds up to its last heads: audit it by itself`,
  `anything after this ledger: ${'ab'.repeat(32)} carries it on`,
])('%s: read, and said again letter by letter', (sentence) => {
  const read = readByTexts(keys, sentence)
  if (read === undefined) throw new Error('not understood')
  expect(filled(english[read.key], read.figures)).toBe(sentence)
  // What is known by a sentence of its own is not told as a mere reason.
  if (!sentence.includes('failed')) expect(read.key).not.toBe('auditor.unchecked.witness.why')
  expect(filled(german[read.key as keyof typeof german], read.figures)).not.toMatch(/[{}]/)
})
