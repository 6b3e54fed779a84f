import { expect, test } from 'vitest'
import { settleFibrillation } from './fibrillation-episodes.ts'

const rate = 100
/** "N 0, AFIB 10" = rhythms and the second at which they begin. */
const changes = (text: string) =>
  text.split(', ').map((one) => {
    const [name, second] = one.split(' ')
    return { aux: `(${name}`, sample: Number(second) * rate }
  })

test.each([
  ['an episode of half a minute stays', 'N 0, AFIB 10, N 40', 'N 0, AFIB 10, N 40'],
  ['a shorter one is none', 'N 0, AFIB 10, N 39', 'N 0'],
  ['one that lasts at the end stays', 'N 0, AFIB 10', 'N 0, AFIB 10'],
  ['a short rest is none', 'AFIB 0, N 20, AFIB 29, N 60', 'AFIB 0, N 60'],
  ['a longer one is', 'AFIB 0, N 40, AFIB 50, N 90', 'AFIB 0, N 40, AFIB 50, N 90'],
  ['a longer one parts what is then too short', 'AFIB 0, N 20, AFIB 30, N 50', 'N 0'],
  ['ventricular runs do not end it', 'N 0, AFIB 1, VT 20, AFIB 22, B 25, AFIB 28, N 32', null],
  ['nor make it longer', 'N 0, AFIB 1, VT 10, AFIB 12, N 30', 'N 0, VT 10, N 12'],
  ['bradycardia does', 'AFIB 0, SBR 29, N 50', 'N 0, SBR 29, N 50'],
  ['other rhythms are left', 'N 0, B 4, N 8, VT 9, N 11, SVTA 20', null],
])('%s', (_name, given, settled) => {
  expect(settleFibrillation(changes(given), rate)).toEqual(changes(settled ?? given))
})
