/** `./healthblock test fuzz`: every parser for minutes, a line each, and a summary in the last line. */
import { parseArgs } from 'node:util'
import { type FuzzSuite, type FuzzTally, fuzz } from '../support/fuzz.ts'
import { suites } from './suites.ts'

const { values } = parseArgs({
  options: {
    minutes: { type: 'string' },
    seed: { type: 'string' },
    only: { type: 'string', multiple: true },
    list: { type: 'boolean' },
    json: { type: 'boolean' },
  },
})
const minutes = Number(values.minutes ?? 1)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
if (!(minutes > 0) || !Number.isSafeInteger(seed)) {
  process.stderr.write('--minutes takes a number above 0, --seed a whole one\n')
  process.exit(2)
}

/** By the name of a suite, a part of a parser's name, or the whole of it as `--list` writes it. */
function isWanted(suite: string, target: string): boolean {
  const isNamed = (name: string): boolean => name === suite || target.includes(name) || name === `${suite}: ${target}`
  return values.only === undefined || values.only.some(isNamed)
}

function wordsOf({ inputs, accepted, refused }: FuzzTally): string {
  const codes = [...refused].sort(([, a], [, b]) => b - a).map(([code, count]) => `${code} ${count}`)
  return `${inputs} inputs, ${accepted} taken; ${codes.join(', ')}`
}

let [tried, failed, inputs] = [0, 0, 0]
const begunMs = performance.now()

async function runSuite(name: string, { targets, isTyped }: FuzzSuite): Promise<void> {
  for (const target of targets) {
    if (!isWanted(name, target.name)) continue
    tried++
    if (values.list === true) {
      process.stdout.write(`${name}: ${target.name}\n`)
      continue
    }
    const fromMs = performance.now()
    let words: string
    let tally: FuzzTally | undefined
    try {
      tally = await fuzz(target, isTyped, { ms: minutes * 60_000, seed })
      inputs += tally.inputs
      words = wordsOf(tally)
    } catch (error) {
      failed++
      words = `WRONG: ${(error as Error).message} (${String((error as Error).cause)})`
    }
    const seconds = Math.round((performance.now() - fromMs) / 1000)
    const row = { suite: name, parser: target.name, seconds, ok: tally !== undefined, words }
    if (values.json === true) process.stdout.write(`${JSON.stringify(row)}\n`)
    else process.stdout.write(`${name}: ${target.name}: ${seconds} s, ${words}\n`)
  }
}

/** Some suites start nodes or servers: one of which nothing is wanted is not opened, if names of suites alone were given. */
function mayBeWanted(suite: string): boolean {
  const isSuite = (name: string): boolean => suites.some(([known]) => known === name)
  return values.only === undefined || values.only.includes(suite) || !values.only.every(isSuite)
}

for (const [name, open] of suites) {
  if (!mayBeWanted(name)) continue
  const suite = await open()
  try {
    await runSuite(name, suite)
  } finally {
    await suite.close?.()
  }
}
if (tried === 0) {
  process.stderr.write('no parser has such a name; --list says which there are\n')
  process.exit(2)
}
const summary = {
  ok: failed === 0,
  parsers: tried,
  failed,
  inputs,
  seconds: Math.round((performance.now() - begunMs) / 1000),
  seed,
}
if (values.json === true) process.stdout.write(`${JSON.stringify(summary)}\n`)
else if (values.list !== true)
  process.stdout.write(
    `${tried - failed} passed, ${failed} failed; ${inputs} inputs, ${summary.seconds} s, seed ${seed}\n`,
  )
process.exit(failed === 0 ? 0 : 1)
