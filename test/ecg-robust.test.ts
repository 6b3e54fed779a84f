/** The ECG analysis on a record that other recorders, electrodes and rooms changed: the same beats, and ventricular beats still told. `./healthblock bench ecg-robust` has all records. */
import { existsSync } from 'node:fs'
import { annotateEcg, annotateIntervals, type EcgLead } from '@healthblock/diagnosis/annotate'
import { expect, test } from 'vitest'
import { countBeats, countClass, matchBeats, predictivity, sensitivity } from '../bench/support/ec57.ts'
import { atRate, changes, dataFolder, loadRecord } from '../bench/support/ecg-records.ts'
import { fibrillatingShare, madeHearts, madeRate, makeBreathingHeart, makeHeart } from '../bench/support/made-hearts.ts'

const minutes = 2
const hasData = existsSync(dataFolder)

/** The first minutes of a record with some twenty ventricular beats in them. */
function part() {
  const { name, leads, reference } = loadRecord('119')
  const length = minutes * 60 * (leads[0] as EcgLead).rate
  return {
    name,
    leads: leads.map((lead) => ({ ...lead, samples: lead.samples.subarray(0, length) })),
    reference: reference.filter(({ sample }) => sample < length),
  }
}

test.skipIf(!hasData).each(
  // Of the other lead less is asked: V1 shows ventricular beats less well.
  changes.filter(({ name }) => name !== 'other lead'),
)('data: $name: the same beats, the same ventricular ones', ({ change }) => {
  const record = part()
  const { rate } = record.leads[0] as EcgLead
  const changed = change(record)
  const pairs = matchBeats(record.reference, atRate(annotateEcg(changed), changed.rate, rate), rate)
  const [beats, V] = [countBeats(pairs), countClass(pairs, 'V')]
  expect(beats.hit).toBeGreaterThan(100)
  expect([sensitivity(beats), predictivity(beats)].every((value) => value >= 97)).toBe(true)
  expect(V.hit).toBeGreaterThan(10)
  expect([sensitivity(V), predictivity(V)].every((value) => value >= 95)).toBe(true)
})

test.each(madeHearts.filter(({ name }) => /^breath of/.test(name)))(
  'a made heart of 23 hours does not fibrillate: $name',
  (heart) => {
    const changes = annotateIntervals(makeHeart(heart, 1), madeRate)
    expect(changes.filter(({ aux }) => aux === '(AFIB').length).toBeLessThanOrEqual(1)
  },
)

// A prediction that counted from 0.6 on, over 32 intervals, told 20 to 60 % of their time as fibrillation.
test.each([
  [60, 16],
  [75, 16],
  [75, 20],
  [90, 20],
])(
  'a made heart at rest of %d beats and %d breaths a minute, each breath another by a fifth, does not fibrillate',
  (beats, breaths) => {
    const intervals = makeBreathingHeart({ beats, breaths, swing: 0.2, spread: 0.2, hours: 3 }, 1)
    expect(fibrillatingShare(intervals, annotateIntervals(intervals, madeRate))).toBeLessThan(0.02)
  },
)
