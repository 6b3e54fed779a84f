import { expect, test } from 'vitest'
import { formatValue, localFigures } from './number.ts'

test('a value has one decimal at most, with the sign of the language', () => {
  expect([38.64, 85, 1234.5, 0.04].map((value) => formatValue(value, 'en'))).toEqual(['38.6', '85', '1234.5', '0'])
  expect([38.64, 85, 1234.5].map((value) => formatValue(value, 'de'))).toEqual(['38,6', '85', '1234,5'])
})

test('what is rounded to nothing from below has no sign', () => {
  expect([-0, -0.04, -0.06, -3].map((value) => formatValue(value, 'en'))).toEqual(['0', '0', '-0.1', '-3'])
})

test('figures in a text keep their decimals, and what is none stays', () => {
  expect(localFigures('38.1–39.0', 'en')).toBe('38.1–39.0')
  expect(localFigures('38.1–39.0', 'de')).toBe('38,1–39,0')
  expect(localFigures('-0.50 mV · 15–17 · ≥25', 'de')).toBe('-0,50 mV · 15–17 · ≥25')
})
