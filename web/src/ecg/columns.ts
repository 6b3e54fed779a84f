/**
 * From samples to what is drawn. Where a column of pixels holds many samples, each column keeps the first, the least, the greatest and
 * the last of them: no peak is lost, however far one zooms out.
 */
import { type EcgLead, type EcgSegment, endMsOf, millivoltsOf } from './signal.ts'

/** What each column of pixels shows, in mV; NaN where nothing was measured. */
export interface Columns {
  readonly first: Float32Array
  readonly min: Float32Array
  readonly max: Float32Array
  readonly last: Float32Array
}

/** Which stretch is drawn, and into how many columns. */
export interface ColumnView {
  readonly fromMs: number
  readonly msPerColumn: number
  readonly count: number
}

/** Unix milliseconds are kept to a quarter of a microsecond: moments closer than this are the same. */
const roundingMs = 0.001

/** Index of the first sample at or after a moment, 0 to the count. */
export function sampleIndexAt(segment: EcgSegment, atMs: number): number {
  const index = Math.ceil(((atMs - segment.startMs) * segment.rateHz) / 1000 - roundingMs)
  return Math.min(segment.samples.length, Math.max(0, index))
}

/** Gathers a lead's samples into columns. */
export function columnsOf(lead: EcgLead, view: ColumnView): Columns {
  const { fromMs, msPerColumn, count } = view
  const empty = (): Float32Array => new Float32Array(count).fill(Number.NaN)
  const columns = { first: empty(), min: empty(), max: empty(), last: empty() }
  const toMs = fromMs + count * msPerColumn
  for (const segment of lead.segments) {
    if (segment.startMs >= toMs || endMsOf(segment) <= fromMs) continue
    const end = sampleIndexAt(segment, toMs)
    const stepMs = 1000 / segment.rateHz
    for (let index = sampleIndexAt(segment, fromMs); index < end; index++) {
      const value = millivoltsOf(segment, index)
      if (Number.isNaN(value)) continue
      const column = Math.min(
        count - 1,
        Math.floor((segment.startMs + index * stepMs - fromMs + roundingMs) / msPerColumn),
      )
      put(columns, column, value)
    }
  }
  return columns
}

function put(columns: Columns, column: number, value: number): void {
  if (Number.isNaN(columns.first[column])) {
    for (const part of [columns.first, columns.min, columns.max]) part[column] = value
  } else if (value < (columns.min[column] as number)) columns.min[column] = value
  else if (value > (columns.max[column] as number)) columns.max[column] = value
  columns.last[column] = value
}

/** Takes the points of a line. */
export interface Pen {
  moveTo(x: number, y: number): void
  lineTo(x: number, y: number): void
}

/** Where a line is drawn. */
export interface TraceView {
  readonly fromMs: number
  readonly toMs: number
  /** Pixels a millisecond; `fromMs` lies at `x0`. */
  readonly xPerMs: number
  readonly x0: number
  /** Pixels a millivolt, upwards; 0 mV lies at `y0`. */
  readonly yPerMillivolt: number
  readonly y0: number
  /** A printer has more dots than there are units of `x`: each sample is drawn. */
  readonly isEverySample?: boolean
}

/** Begins of segments are whole milliseconds. */
const startErrorMs = 1
/** Above so many samples a pixel, columns are drawn instead of each sample. */
const samplesPerPixelMax = 2

/**
 * Draws a lead with a pen. The line breaks where a sample is missing, and where two segments do not touch: a hole of more than one and a
 * half samples and a millisecond.
 */
export function drawTrace(lead: EcgLead, view: TraceView, pen: Pen): void {
  const rateHz = Math.max(0, ...lead.segments.map((segment) => segment.rateHz))
  if (view.isEverySample !== true && rateHz / 1000 / view.xPerMs > samplesPerPixelMax) drawColumns(lead, view, pen)
  else drawSamples(lead, view, pen)
}

function drawColumns(lead: EcgLead, view: TraceView, pen: Pen): void {
  const { fromMs, toMs, xPerMs, x0, yPerMillivolt, y0 } = view
  const count = Math.max(1, Math.ceil((toMs - fromMs) * xPerMs))
  const columns = columnsOf(lead, { fromMs, msPerColumn: 1 / xPerMs, count })
  let isDown = false
  for (let column = 0; column < count; column++) {
    const first = columns.first[column] as number
    if (Number.isNaN(first)) {
      isDown = false
      continue
    }
    const x = x0 + column
    if (isDown) pen.lineTo(x, y0 - first * yPerMillivolt)
    else pen.moveTo(x, y0 - first * yPerMillivolt)
    pen.lineTo(x, y0 - (columns.max[column] as number) * yPerMillivolt)
    pen.lineTo(x, y0 - (columns.min[column] as number) * yPerMillivolt)
    pen.lineTo(x, y0 - (columns.last[column] as number) * yPerMillivolt)
    isDown = true
  }
}

function drawSamples(lead: EcgLead, view: TraceView, pen: Pen): void {
  const { fromMs, toMs, xPerMs, x0, yPerMillivolt, y0 } = view
  let lastMs = Number.NEGATIVE_INFINITY
  for (const segment of lead.segments) {
    if (segment.startMs >= toMs || endMsOf(segment) <= fromMs) continue
    const stepMs = 1000 / segment.rateHz
    // One sample more on each side, so that the line reaches the edges.
    const end = Math.min(segment.samples.length, sampleIndexAt(segment, toMs) + 1)
    for (let index = Math.max(0, sampleIndexAt(segment, fromMs) - 1); index < end; index++) {
      const value = millivoltsOf(segment, index)
      const atMs = segment.startMs + index * stepMs
      if (Number.isNaN(value)) {
        lastMs = Number.NEGATIVE_INFINITY
        continue
      }
      const x = x0 + (atMs - fromMs) * xPerMs
      const y = y0 - value * yPerMillivolt
      if (atMs - lastMs > 1.5 * stepMs + startErrorMs) pen.moveTo(x, y)
      else pen.lineTo(x, y)
      lastMs = atMs
    }
  }
}
