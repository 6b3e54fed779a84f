import { existsSync, globSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { changedRecords, changedSources, type Provenance, readProvenance } from './provenance.ts'

const root = fileURLToPath(new URL('../', import.meta.url))
const hasData = existsSync(new URL('../../../../shared/data/mitdb/', import.meta.url))
const kept = readProvenance()
const tables = Object.entries(kept)
const read = (path: string) => readFileSync(`${root}${path}`, 'utf8')

test('each trained table says from what it was made', () => {
  expect(Object.keys(kept)).toEqual(globSync('src/**/*-table.ts', { cwd: root }).sort())
})

test.each(tables)('%s is that of the code; else train it again (`node training/train-all.ts`)', (table, made) => {
  expect(changedSources(table, made)).toEqual([])
})

test.skipIf(!hasData).each(tables)('data: %s is that of the records', (_, made) => {
  expect(changedRecords(made)).toEqual([])
})

test('a table is noticed that is not what its training wrote, or whose sources are others', () => {
  const table = 'src/ecg/beat-table.ts'
  const made = kept[table] as Provenance
  const changed = (path: string, text: string) =>
    changedSources(table, made, (one) => (one === path ? text : read(one)))
  expect(changed(table, read(table).replace('leaves: [', 'leaves: [1'))).toEqual([table])
  for (const path of ['training/train-beats.ts', 'training/boost.ts', 'src/ecg/mains.ts', 'src/ecg/flutter-table.ts'])
    expect(changed(path, `${read(path)}\n`)).toEqual([path])
  // One source more, and one less.
  const more = changed('src/ecg/mains.ts', `import { x } from '../limits.ts'\n${read('src/ecg/mains.ts')}`)
  expect(more).toContain('src/limits.ts')
  const { 'src/ecg/mains.ts': _, ...fewer } = made.sources
  expect(changedSources(table, { ...made, sources: fewer })).toEqual(['src/ecg/mains.ts'])
})

test('the trees of beats are no source of themselves, and are one of the class table', () => {
  const beats = Object.keys(kept['src/ecg/beat-table.ts']?.sources ?? {})
  expect(beats).toEqual(expect.arrayContaining(['src/ecg/beat.ts', 'src/ecg/flutter-table.ts', 'training/boost.ts']))
  expect(beats).not.toContain('src/ecg/beat-table.ts')
  const classes = Object.keys(kept['src/class-table.ts']?.sources ?? {})
  expect(classes).toEqual(expect.arrayContaining(['src/ecg/beat-table.ts', 'src/ecg/flutter-table.ts']))
})

test.skipIf(!hasData)('data: other bytes, and a record that is missing, are noticed', () => {
  const { records } = kept['src/ecg/beat-table.ts'] as Provenance
  const { mitdb } = records as { mitdb: { names: string; sha256: string } }
  expect(changedRecords({ records: { mitdb: { ...mitdb, sha256: '0'.repeat(64) } } })).toEqual(['mitdb'])
  expect(changedRecords({ records: { mitdb: { ...mitdb, names: mitdb.names.slice(4) } } })).toEqual(['mitdb'])
})
