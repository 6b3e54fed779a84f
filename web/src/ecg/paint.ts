/** Draws a stretch of ECG: paper, calibration pulse, traces, beats, rhythm, findings, calipers. One call draws all of it. */
import { drawTrace } from './columns.ts'
import type { Inks } from './inks.ts'
import {
  heightLines,
  type PaperGain,
  type PaperSpeed,
  pixelsPerMillivolt,
  pixelsPerMm,
  pixelsPerMs,
  rowMm,
  timeLines,
} from './paper.ts'
import type { EcgBeat, EcgLead, EcgSpan, TimeRange } from './signal.ts'

/** All that one picture shows. */
export interface EcgPicture {
  readonly leads: readonly EcgLead[]
  readonly beats: readonly EcgBeat[]
  readonly spans: readonly EcgSpan[]
  /** Unix ms at the left edge of the traces. */
  readonly fromMs: number
  readonly widthPx: number
  readonly speed: PaperSpeed
  readonly gain: PaperGain
  readonly calipers: TimeRange | undefined
  /** Writes a time of day under the strong lines. */
  readonly timeText: (atMs: number) => string
}

/** Left of the traces: name of the lead and calibration pulse. */
export const gutterPx = 13 * pixelsPerMm
/** Above the traces: beats and rhythm. */
const headPx = 42
/** Where 0 mV lies in a row: R waves go up. */
const zeroShare = 0.6
/** Below them: the time. */
const footPx = 20
const font = '12px system-ui, sans-serif'
/** A beat's letter is written when there is room for it. */
const letterPxMin = 9

/** Height of the picture in CSS pixels. */
export function pictureHeightPx(leadCount: number): number {
  return Math.round(headPx + footPx + Math.max(1, leadCount) * rowMm(leadCount) * pixelsPerMm)
}

/** Where 0 mV of each lead lies, in CSS pixels from the top. */
export function zeroPx(leadCount: number, index: number): number {
  return headPx + (index + zeroShare) * rowMm(leadCount) * pixelsPerMm
}

/** Unix ms under a place of the picture. */
export function momentAt(picture: Pick<EcgPicture, 'fromMs' | 'speed'>, xPx: number): number {
  return picture.fromMs + (xPx - gutterPx) / pixelsPerMs(picture.speed)
}

function toX(picture: EcgPicture, atMs: number): number {
  return gutterPx + (atMs - picture.fromMs) * pixelsPerMs(picture.speed)
}

/** Lines lie on whole dots: one dot wide, sharp on every screen. */
function strokeLines(
  context: CanvasRenderingContext2D,
  lines: readonly number[],
  options: { isVertical: boolean; from: number; to: number; ratio: number; ink: string; shift: number },
): void {
  const { isVertical, from, to, ratio, ink, shift } = options
  context.fillStyle = ink
  const thickness = 1 / ratio
  for (const line of lines) {
    const at = Math.round((line + shift) * ratio) / ratio
    if (isVertical) context.fillRect(at, from, thickness, to - from)
    else context.fillRect(from, at, to - from, thickness)
  }
}

function paintPaper(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks, ratio: number): void {
  const { widthPx, fromMs, speed, leads } = picture
  const height = pictureHeightPx(leads.length)
  const bottom = height - footPx
  context.fillStyle = inks.paper
  context.fillRect(0, 0, widthPx, height)
  const up = heightLines(bottom - headPx, zeroPx(leads.length, 0) - headPx)
  const along = timeLines({ fromMs: fromMs - gutterPx / pixelsPerMs(speed), widthPx, speed })
  const upright = { isVertical: true, from: headPx, to: bottom, ratio, shift: 0 }
  const level = { isVertical: false, from: 0, to: widthPx, ratio, shift: headPx }
  strokeLines(context, along.minor, { ...upright, ink: inks.minor })
  strokeLines(context, up.minor, { ...level, ink: inks.minor })
  strokeLines(context, along.major, { ...upright, ink: inks.major })
  strokeLines(context, up.major, { ...level, ink: inks.major })
}

/** The pulse that shows what one millivolt is: 1 mV high, 5 mm long, with the lead's name over it. */
function paintGutter(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { leads, gain } = picture
  const millivolt = pixelsPerMillivolt(gain)
  context.strokeStyle = inks.trace
  context.fillStyle = inks.text
  context.lineWidth = 1.25
  context.textAlign = 'left'
  context.textBaseline = 'middle'
  for (const [index, lead] of leads.entries()) {
    const zero = zeroPx(leads.length, index)
    context.beginPath()
    const foot = 2 * pixelsPerMm
    context.moveTo(foot, zero)
    for (const [x, y] of [
      [1.5, 0],
      [1.5, 1],
      [6.5, 1],
      [6.5, 0],
      [8, 0],
    ] as const)
      context.lineTo(foot + x * pixelsPerMm, zero - y * millivolt)
    context.stroke()
    context.font = `600 ${font}`
    context.fillText(lead.name, 4, zero - Math.min(millivolt, 12 * pixelsPerMm) - 10)
  }
}

function paintSpans(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { spans, widthPx, leads } = picture
  const bottom = pictureHeightPx(leads.length) - footPx
  // One ground for all findings: those that overlap are not darker than others.
  context.fillStyle = inks.finding
  const ground = new Path2D()
  for (const span of spans) {
    if (span.kind === 'rhythm') continue
    const from = Math.max(gutterPx, toX(picture, span.fromMs))
    const to = Math.min(widthPx, toX(picture, span.toMs))
    if (to <= from) continue
    if (span.kind === 'finding') ground.rect(from, headPx, to - from, bottom - headPx)
    else hatch(context, { from, to, top: headPx, bottom, ink: inks.missing, isFaint: span.kind === 'noise' })
  }
  context.fill(ground)
}

/** Slanted lines over a stretch where nothing is to be read. */
function hatch(
  context: CanvasRenderingContext2D,
  box: { from: number; to: number; top: number; bottom: number; ink: string; isFaint: boolean },
): void {
  const { from, to, top, bottom, ink, isFaint } = box
  const stepPx = isFaint ? 24 : 12
  const height = bottom - top
  context.save()
  context.beginPath()
  context.rect(from, top, to - from, height)
  context.clip()
  context.beginPath()
  for (let x = Math.floor((from - height) / stepPx) * stepPx; x < to; x += stepPx) {
    context.moveTo(x, bottom)
    context.lineTo(x + height, top)
  }
  context.strokeStyle = ink
  context.lineWidth = 1
  context.globalAlpha = isFaint ? 0.5 : 1
  context.stroke()
  context.restore()
}

/** Lines of names on the trace; what finds no room on them is named where it begins anew. */
const nameRows = 3
const nameRowPx = 18

/**
 * Names of stretches: rhythms on the first line, what is found or missing on the trace, one under the other where they would overlap.
 * A name stays in view while its stretch is.
 */
function paintNames(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { spans, widthPx } = picture
  context.font = font
  context.textBaseline = 'middle'
  context.textAlign = 'left'
  const usedTo = new Array<number>(nameRows).fill(Number.NEGATIVE_INFINITY)
  for (const span of spans.toSorted((a, b) => a.fromMs - b.fromMs)) {
    const from = Math.max(gutterPx, toX(picture, span.fromMs))
    const to = Math.min(widthPx, toX(picture, span.toMs))
    if (to - from < 2) continue
    if (span.kind === 'rhythm') paintRhythm(context, { from, to, label: span.label }, inks)
    else {
      const width = context.measureText(span.label).width + 8
      const row = usedTo.findIndex((end) => end < from)
      if (row < 0) continue
      usedTo[row] = from + width + 4
      const y = headPx + 12 + row * nameRowPx
      context.fillStyle = inks.paper
      context.fillRect(from + 2, y - 8, width, 16)
      context.fillStyle = span.kind === 'finding' ? inks.alarm : inks.text
      context.fillText(span.label, from + 6, y)
    }
  }
}

function paintRhythm(
  context: CanvasRenderingContext2D,
  { from, to, label }: { from: number; to: number; label: string },
  inks: Inks,
): void {
  context.fillStyle = inks.soft
  context.fillRect(from, 18, to - from - 1, 1.5)
  context.save()
  context.beginPath()
  context.rect(from, 0, to - from - 4, 18)
  context.clip()
  context.fillStyle = inks.text
  context.fillText(label, from, 9)
  context.restore()
}

/** A letter over each R peak; what is not a normal beat has a mark of its own shape. */
function paintBeats(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { beats, widthPx, speed } = picture
  context.font = font
  context.textAlign = 'center'
  context.textBaseline = 'middle'
  let lastLetter = Number.NEGATIVE_INFINITY
  for (const beat of beats) {
    const x = toX(picture, beat.atMs)
    if (x < gutterPx || x > widthPx) continue
    const isNormal = beat.label === 'N'
    context.fillStyle = isNormal ? inks.soft : inks.alarm
    if (isNormal) context.fillRect(x - 0.5, 36, 1, 6)
    else {
      context.beginPath()
      context.moveTo(x - 4, 35)
      context.lineTo(x + 4, 35)
      context.lineTo(x, 42)
      context.fill()
    }
    if (x - lastLetter < letterPxMin || (isNormal && speed < 12.5)) continue
    context.fillText(beat.label, x, 29)
    lastLetter = x
  }
}

function paintTraces(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { leads, widthPx, fromMs, speed, gain } = picture
  context.save()
  context.beginPath()
  context.rect(gutterPx, headPx, widthPx - gutterPx, pictureHeightPx(leads.length) - headPx - footPx)
  context.clip()
  context.strokeStyle = inks.trace
  context.lineWidth = 1.25
  context.lineJoin = 'round'
  for (const [index, lead] of leads.entries()) {
    context.beginPath()
    drawTrace(
      lead,
      {
        ...{ fromMs, toMs: momentAt(picture, widthPx), xPerMs: pixelsPerMs(speed), x0: gutterPx },
        ...{ yPerMillivolt: pixelsPerMillivolt(gain), y0: zeroPx(leads.length, index) },
      },
      context,
    )
    context.stroke()
  }
  context.restore()
}

function paintTimes(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { widthPx, fromMs, speed, leads, timeText } = picture
  const boxMs = 5000 / speed
  const stepMs = boxMs * Math.ceil(90 / (boxMs * pixelsPerMs(speed)))
  const y = pictureHeightPx(leads.length) - footPx / 2
  context.font = font
  context.fillStyle = inks.soft
  context.textAlign = 'left'
  context.textBaseline = 'middle'
  for (let at = Math.ceil(fromMs / stepMs) * stepMs; at < momentAt(picture, widthPx); at += stepMs) {
    const x = toX(picture, at)
    context.fillRect(x, y - footPx / 2, 1, 5)
    context.fillText(timeText(at), x + 3, y)
  }
}

function paintCalipers(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks): void {
  const { calipers, leads } = picture
  if (calipers === undefined) return
  const bottom = pictureHeightPx(leads.length) - footPx
  const [from, to] = [toX(picture, calipers.fromMs), toX(picture, calipers.toMs)]
  context.save()
  context.beginPath()
  context.rect(gutterPx, 0, picture.widthPx - gutterPx, bottom)
  context.clip()
  context.fillStyle = inks.caliper
  for (const x of [from, to]) context.fillRect(x - 0.75, headPx, 1.5, bottom - headPx)
  context.fillRect(Math.min(from, to), headPx + 4, Math.abs(to - from), 1.5)
  // The same length again, to see whether a rhythm is regular.
  context.globalAlpha = 0.45
  const step = to - from
  if (Math.abs(step) > 8)
    for (let turn = 1; turn <= 12; turn++) context.fillRect(to + turn * step - 0.5, headPx, 1, bottom - headPx)
  context.restore()
}

/** Draws the whole picture; `ratio` = dots a CSS pixel. */
export function paintPicture(context: CanvasRenderingContext2D, picture: EcgPicture, inks: Inks, ratio: number): void {
  paintPaper(context, picture, inks, ratio)
  paintSpans(context, picture, inks)
  paintGutter(context, picture, inks)
  paintTraces(context, picture, inks)
  paintBeats(context, picture, inks)
  paintNames(context, picture, inks)
  paintTimes(context, picture, inks)
  paintCalipers(context, picture, inks)
}
