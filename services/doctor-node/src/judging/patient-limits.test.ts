import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { defaultParameters } from '@healthblock/diagnosis/diagnose'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type LimitChange, PatientLimits } from './patient-limits.ts'

let dir: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-limits-'))
})
afterEach(() => rmSync(dir, { recursive: true }))
const path = () => join(dir, 'limits')
const patient = new Uint8Array(32).fill(5)
const other = new Uint8Array(32).fill(6)

test('what is set holds for that patient alone, and after a restart; null and the default are the same', () => {
  const limits = new PatientLimits(path())
  expect(limits.of(patient)).toEqual(defaultParameters)
  expect(limits.change(patient, { glucoseLow: 80, ageYears: 71 }).hasChanged).toBe(true)
  expect(limits.change(patient, { glucoseLow: 80 }).hasChanged).toBe(false)
  expect(statSync(path()).mode & 0o777).toBe(0o600)
  const again = new PatientLimits(path())
  expect(again.of(patient)).toEqual({ ...defaultParameters, glucoseLow: 80, ageYears: 71 })
  expect(again.of(other)).toEqual(defaultParameters)
  const sizeBytes = statSync(path()).size
  again.change(patient, { glucoseLow: null, ageYears: null })
  expect(statSync(path()).size).toBeLessThan(sizeBytes)
  expect(new PatientLimits(path()).of(patient)).toEqual(defaultParameters)
})

test.each<[LimitChange, string]>([
  [{ glucoseLow: 0 }, 'glucoseLow'],
  [{ pauseMs: 2000.5 }, 'pauseMs'],
  [{ bradycardiaBelow: 90, tachycardiaAbove: 80 }, 'bradycardiaBelow'],
  [{ systolicLow: 130, systolicHigh: 120 }, 'systolicLow'],
])('%j is refused by the name of the limit, and nothing is changed', (change, field) => {
  const limits = new PatientLimits(path())
  limits.change(patient, { glucoseHigh: 300 })
  const before = readFileSync(path())
  expect(() => limits.change(patient, change)).toThrow(
    expect.objectContaining({ detail: { code: 'ERR_LIMIT_INVALID', field } }),
  )
  expect(readFileSync(path()).equals(before)).toBe(true)
  expect(limits.of(patient)).toEqual({ ...defaultParameters, glucoseHigh: 300 })
})

test('a damaged file stops the node: no patient is judged by limits that nobody set', () => {
  new PatientLimits(path()).change(patient, { glucoseLow: 80 })
  const bytes = readFileSync(path())
  for (const bad of [bytes.subarray(0, 20), Buffer.from([0xa0]), Buffer.concat([bytes, Buffer.from([0])])]) {
    writeFileSync(path(), bad)
    expect(() => new PatientLimits(path())).toThrow(
      expect.objectContaining({ detail: { code: 'ERR_LIMITS_CORRUPT', path: path() } }),
    )
  }
})
