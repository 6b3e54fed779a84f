/** Where the time of a thread went, by parts of the program: from a profile that V8 wrote. */
import { readFileSync } from 'node:fs'

interface ProfileNode {
  readonly id: number
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number }
  readonly children?: readonly number[]
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  /** Of the monotonic clock, µs. */
  readonly startTime: number
  readonly samples: readonly number[]
  readonly timeDeltas: readonly number[]
}

/** A part of the program: whatever runs below a function whose `name path` fits. */
export interface ProgramPart {
  readonly name: string
  readonly fits: RegExp
}

/** What a thread did between two moments. */
export interface ThreadProfile {
  /** Shares of what was not idle, by part, from 0 to 1; what fits no part is `rest`. */
  readonly parts: ReadonlyMap<string, number>
  /** The same by the function that ran, `name path:line`. */
  readonly functions: ReadonlyMap<string, number>
}

/** Name of what fits no part. */
export const restPart = 'rest'

/** Environment of a service that writes `CPU.PID.0.cpuprofile` of its main thread into a folder when it exits. */
export function profiledTo(dir: string): Record<string, string> {
  const hook = new URL('./profile-hook.ts', import.meta.url).href
  return { NODE_OPTIONS: `--import ${hook}`, HEALTHBLOCK_BENCH_PROFILE_DIR: dir }
}

/** The monotonic clock of profiles, µs. */
export function profileClockUs(): number {
  return Number(process.hrtime.bigint() / 1000n)
}

function frameText({ callFrame }: ProfileNode): string {
  return `${callFrame.functionName} ${callFrame.url}`
}

/** The part of each node: that of the innermost function that fits one. */
function partsOfNodes(nodes: readonly ProfileNode[], parts: readonly ProgramPart[]): Map<number, string> {
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)))
  const byId = new Map(nodes.map((node) => [node.id, node]))
  const known = new Map<number, string>()
  for (const { id } of nodes) {
    let name = restPart
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) {
      const text = frameText(byId.get(at) as ProfileNode)
      const part = parts.find(({ fits }) => fits.test(text))
      if (part === undefined) continue
      name = part.name
      break
    }
    known.set(id, name)
  }
  return known
}

/** Reads a profile; only samples between the two moments (µs of `profileClockUs`) count. */
export function readThreadProfile(
  path: string,
  parts: readonly ProgramPart[],
  between: { readonly fromUs: number; readonly toUs: number },
): ThreadProfile {
  const { nodes, samples, timeDeltas, startTime } = JSON.parse(readFileSync(path, 'utf8')) as CpuProfile
  const partOf = partsOfNodes(nodes, parts)
  const idle = new Set(nodes.filter((node) => node.callFrame.functionName === '(idle)').map(({ id }) => id))
  const byId = new Map<number, number>()
  let atUs = startTime
  let busyUs = 0
  for (const [i, id] of samples.entries()) {
    const took = timeDeltas[i] ?? 0
    atUs += took
    if (idle.has(id) || took < 0 || atUs < between.fromUs || atUs > between.toUs) continue
    byId.set(id, (byId.get(id) ?? 0) + took)
    busyUs += took
  }
  const shares = { parts: new Map<string, number>(), functions: new Map<string, number>() }
  const add = (map: Map<string, number>, name: string, us: number) => map.set(name, (map.get(name) ?? 0) + us / busyUs)
  for (const node of nodes) {
    const us = byId.get(node.id)
    if (us === undefined) continue
    const { functionName, url, lineNumber } = node.callFrame
    add(shares.parts, partOf.get(node.id) ?? restPart, us)
    const place = url.replace(/^.*\/(?=(packages|services|node_modules)\/)/, '')
    add(shares.functions, `${functionName || '(anonymous)'} ${place}:${lineNumber + 1}`, us)
  }
  return shares
}
