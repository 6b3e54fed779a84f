import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { sampleWitness } from '../../../../packages/chain/src/sample.test-support.ts'
import { parseWitness, WitnessesFile } from './witnesses-file.ts'

let dir: string
let path: string
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'hb-witnesses-'))
  path = join(dir, 'witnesses.json')
})
afterEach(() => rmSync(dir, { recursive: true }))

const witness = (name: string) => parseWitness({ url: 'https://witness.example', vkey: sampleWitness(name).vkey })

test('a list that cannot be read is set aside before another one is written, and a good one is only added to', () => {
  const damaged = '[{"url":"https://witness.example","vkey":"half a ke'
  writeFileSync(path, damaged)
  const file = new WitnessesFile(path)
  expect(() => file.open()).toThrow(SyntaxError)
  expect(file.list).toEqual([])
  file.add(witness('one'))
  file.add(witness('two'))
  expect(readFileSync(`${path}.damaged`, 'utf8')).toBe(damaged)
  const again = new WitnessesFile(path)
  again.open()
  again.add(witness('three'))
  expect(again.list.map(({ key }) => key.name)).toEqual(['one', 'two', 'three'])
  expect(readFileSync(`${path}.damaged`, 'utf8')).toBe(damaged)
  expect(readdirSync(dir).sort()).toEqual(['witnesses.json', 'witnesses.json.damaged'])
})
