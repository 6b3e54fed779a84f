/**
 * From what each trained table was made: the sources that its script ran, and the records. The scripts write it down in `provenance.json` when they write a table; a test compares, so that a table
 * which its script would no longer give is noticed. What a script runs is found by its imports within the package; the table itself is no source of it.
 */
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { posix } from 'node:path'

const root = new URL('../', import.meta.url)
const data = new URL('../../../../shared/data/', import.meta.url)
const file = new URL('provenance.json', import.meta.url)
const readSource = (path: string) => readFileSync(new URL(path, root), 'utf8')

/** Which files of a folder of ../shared/data are records to a training. */
const recordFiles: Readonly<Record<string, RegExp>> = {
  bidmc: /Signals\.csv\.gz$/,
  cinc2017: /\.(hea|mat)$|^REFERENCE\.csv$/,
  mitdb: /\.(hea|dat|atr)$/,
  'noise-ecg': /^(118e00|118e06|118e12|e0103|e0110|e0124)\.csv$/,
}

/** A script that trains, the table that it writes, and the folders of ../shared/data that it reads; paths from the root of the package. */
export interface Recipe {
  script: string
  table: string
  folders: readonly string[]
}

/** Records of a folder: their names, and one SHA-256 over the names and hashes of their files. */
export interface Records {
  names: string
  sha256: string
}

/** From what a table was made: SHA-256 of the table's file, of each source by its path, and the records by folder. */
export interface Provenance {
  script: string
  table: string
  sources: Readonly<Record<string, string>>
  records: Readonly<Record<string, Records>>
}

const sha256 = (content: Uint8Array | string) => createHash('sha256').update(content).digest('hex')
/** An import or export that is run, at the begin of a line or at the end of one that is broken. */
const importPattern = /^(?:(?:import|export) (?!type )[^'\n]*|\} )from '(\.[^']+)'/gm
const nameOf = (fileName: string) => fileName.split('.')[0] as string

/** Hashes of what a script runs, by path: itself and what it imports within the package, and so on, but not the table. */
function hashSources({ script, table }: Omit<Recipe, 'folders'>, read: (path: string) => string) {
  const hashes = new Map<string, string>()
  const walk = (path: string) => {
    if (path === table || hashes.has(path)) return
    const text = read(path)
    hashes.set(path, sha256(text))
    for (const [, target = ''] of text.matchAll(importPattern)) walk(posix.join(posix.dirname(path), target))
  }
  walk(script)
  return Object.fromEntries([...hashes].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Names and hash of the records of a folder, or of those that are named. */
function hashRecords(folder: string, only?: ReadonlySet<string>): Records {
  const here = new URL(`${folder}/`, data)
  const files = readdirSync(here).filter((name) => recordFiles[folder]?.test(name) && only?.has(nameOf(name)) !== false)
  files.sort()
  const lines = files.map((name) => `${name} ${sha256(readFileSync(new URL(name, here)))}\n`)
  return { names: [...new Set(files.map(nameOf))].join(' '), sha256: sha256(lines.join('')) }
}

/** What has been written down, by the path of the table. */
export function readProvenance(): Readonly<Record<string, Provenance>> {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}
}

/**
 * Notes what a training is about to run and read.
 *
 * @returns what writes the table that came of it, and writes down from what it was made.
 */
export function beginTraining(recipe: Recipe): (text: string) => void {
  const { script, table, folders } = recipe
  const sources = hashSources(recipe, readSource)
  const records = Object.fromEntries(folders.map((folder) => [folder, hashRecords(folder)]))
  return (text) => {
    writeFileSync(new URL(table, root), text)
    const all = { ...readProvenance(), [table]: { script, table: sha256(text), sources, records } }
    const sorted = Object.fromEntries(Object.entries(all).sort(([a], [b]) => (a < b ? -1 : 1)))
    writeFileSync(file, `${JSON.stringify(sorted, undefined, 2)}\n`)
  }
}

/**
 * What is no longer as it was when a table was made: paths of sources that are other, more or fewer, and of the table. None = the table belongs to the code.
 *
 * @param read - text of a file of the package.
 */
export function changedSources(table: string, made: Provenance, read: (path: string) => string = readSource): string[] {
  const now: Readonly<Record<string, string>> = hashSources({ script: made.script, table }, read)
  const paths = [...new Set([...Object.keys(made.sources), ...Object.keys(now)])]
  const changed = paths.filter((path) => made.sources[path] !== now[path])
  return sha256(read(table)) === made.table ? changed : [...changed, table]
}

/** Folders of ../shared/data whose records are not those that a table was made from; those that have been added since do not count. */
export function changedRecords(made: Pick<Provenance, 'records'>): string[] {
  const isOther = ([folder, { names, sha256: hash }]: [string, Records]) =>
    hashRecords(folder, new Set(names.split(' '))).sha256 !== hash
  return Object.entries(made.records)
    .filter(isOther)
    .map(([folder]) => folder)
}
