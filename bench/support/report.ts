/** What every benchmark prints: a table for people, or one line of JSON with the machine it ran on. */
import { cpus, release, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { formatTable } from '../../cli/src/table.ts'

/** One measured row: names in camelCase with the unit last. */
export type Result = Readonly<Record<string, number | string>>

/** How a benchmark is run: `quick` ends within about 20 s and says less. */
export interface BenchOptions {
  readonly quick: boolean
  readonly json: boolean
}

/** Reads `--quick` and `--json`, and of benchmarks that have them `--million`, `--nodes` and `--steps` (sizes with commas), which the command has checked. */
export function benchOptions(
  own: { million?: { type: 'boolean' }; nodes?: { type: 'string' }; steps?: { type: 'string' } } = {},
): BenchOptions & {
  readonly million: boolean
  readonly nodes: string | undefined
  readonly steps: readonly number[] | undefined
} {
  const options = { quick: { type: 'boolean' }, json: { type: 'boolean' }, ...own } as const
  const values = parseArgs({ options }).values as Partial<Record<string, string | boolean>>
  const nodes = typeof values.nodes === 'string' ? values.nodes : undefined
  const steps = typeof values.steps === 'string' ? values.steps.split(',').map(Number) : undefined
  return { quick: values.quick === true, json: values.json === true, million: values.million === true, nodes, steps }
}

/** The machine and the versions that a figure belongs to. */
export function machineOf(): Result {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 1e9),
    system: `${process.platform} ${process.arch} ${release()}`,
    node: process.versions.node,
    openssl: process.versions.openssl ?? 'none',
    sqlite: process.versions.sqlite ?? 'none',
  }
}

/** A number of three or so digits. */
function show(value: number | string | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'string' || Number.isInteger(value)) return String(value)
  if (Math.abs(value) >= 100) return value.toFixed(0)
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 3)
}

/** Prints the results; with `--json` exactly one line. */
export function report(bench: string, results: readonly Result[], options: BenchOptions): void {
  const machine = machineOf()
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ bench, machine, results })}\n`)
    return
  }
  const words = Object.entries(machine).map(([name, value]) => `${name} ${value}`)
  process.stdout.write(`${bench}: ${words.join(', ')}\n\n`)
  let names = ''
  let rows: string[][] = []
  // Rows of one shape share a table.
  for (const result of [...results, {}]) {
    const own = Object.keys(result)
    if (own.join() !== names) {
      if (rows.length > 0) process.stdout.write(`${formatTable(rows)}\n`)
      names = own.join()
      rows = [own]
    }
    rows.push(own.map((name) => show((result as Result)[name])))
  }
}

/** Says on stderr what is being done. */
export function tell(text: string): void {
  process.stderr.write(`${text}\n`)
}

/** The value below which `part` (0 to 1) of the samples lie. */
export function percentile(samples: readonly number[], part: number): number {
  const sorted = [...samples].sort((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0
}
