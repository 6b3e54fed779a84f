import { parseVitalSet, scoreMews, scoreNews2, scoreQsofa } from '@healthblock/diagnosis/early-warning'
import { DiagnosisError } from '@healthblock/diagnosis/errors'
import { type ExitCode, type Io, UsageError } from '../io.ts'
import { parseOptions } from '../options.ts'

const scores = { news2: scoreNews2, mews: scoreMews, qsofa: scoreQsofa } as const
/** Longest line read, in characters. */
const lineMax = 65_536

const help = `Usage: ./healthblock score news2|mews|qsofa < FILE

Reads one JSON object a line: respiratoryRate, spo2, spo2Scale (1 or 2), supplementalOxygen, systolicPressure, pulse, consciousness (A C V P U),
temperature, ageYears; urineMl for MEWS. Leave out what was not measured. Writes one JSON object a line: total, parts, risk, missing.
With anything missing, total and risk are the least that they can be; with nothing measured, or below the age limit, both are null and notApplicable says why.
A line that cannot be read gives {"error"} and exit code 1; the other lines are scored all the same.
`

async function* linesOf(stdin: Io['stdin']): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const piece of stdin) {
    rest += typeof piece === 'string' ? piece : decoder.decode(piece, { stream: true })
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    yield* lines
    // A line without an end must not fill the memory; what is over the limit is refused as it stands.
    if (rest.length > lineMax) {
      yield rest
      rest = ''
    }
  }
  yield rest
}

function scoreLine(line: string, score: (typeof scores)[keyof typeof scores]): { output: unknown; isGood: boolean } {
  if (line.length > lineMax)
    return { output: { error: { field: 'line', message: `is above ${lineMax} characters` } }, isGood: false }
  try {
    return { output: score(parseVitalSet(JSON.parse(line))), isGood: true }
  } catch (error) {
    const isTyped = error instanceof DiagnosisError
    const field = isTyped && 'field' in error.detail ? error.detail.field : 'line'
    return { output: { error: { field, message: isTyped ? error.message : 'is not JSON' } }, isGood: false }
  }
}

/** `./healthblock score`. */
export async function runScore(args: string[], io: Io): Promise<ExitCode> {
  const { values, positionals } = parseOptions(args, {})
  if (values.help === true) {
    io.stdout(help)
    return 0
  }
  const [name, ...rest] = positionals
  if (name === undefined || rest.length > 0 || !Object.hasOwn(scores, name))
    throw new UsageError('needs one of news2, mews, qsofa')
  const score = scores[name as keyof typeof scores]
  let exit: ExitCode = 0
  for await (const line of linesOf(io.stdin)) {
    if (line.trim() === '') continue
    const { output, isGood } = scoreLine(line, score)
    if (!isGood) exit = 1
    io.stdout(`${JSON.stringify(output)}\n`)
  }
  return exit
}
