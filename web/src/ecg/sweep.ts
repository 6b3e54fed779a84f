/**
 * A live trace that runs from left to right over still paper and begins anew at the edge, a gap before it, as on a monitor. Each frame
 * clears the columns that the gap reaches and draws the samples that came since the last one: nothing else is touched. The trace lies on
 * several narrow canvases side by side, so that the browser copies one of them a frame and not the width of the page.
 */
import { drawTrace } from './columns.ts'
import { type Inks, inksOf, sharpen } from './inks.ts'
import { heightLines, pixelsPerMillivolt, pixelsPerMm, pixelsPerMs, rowMm, timeLines } from './paper.ts'
import { type EcgLead, type EcgSegment, endMsOf } from './signal.ts'

/** Width of one canvas of the trace. */
const tilePx = 128
const gapPx = 6 * pixelsPerMm

/** How a sweep looks. */
export interface SweepLook {
  readonly leadNames: readonly string[]
  readonly widthPx: number
  readonly speed: number
  readonly gain: number
}

/** Height of a sweep in CSS pixels. */
export function sweepHeightPx(leadCount: number): number {
  return Math.round(Math.max(1, leadCount) * rowMm(leadCount) * pixelsPerMm)
}

/** Draws the columns between two moments, each on the canvas where it lies. */
export class SweepPainter {
  readonly #box: HTMLElement
  readonly #look: SweepLook
  readonly #tiles: { readonly context: CanvasRenderingContext2D; readonly left: number; readonly width: number }[] = []
  readonly #layers: HTMLCanvasElement[] = []
  #inks: Inks

  /** @param box - A positioned element that holds the canvases; they are added here, and removed by `stop`. */
  constructor(box: HTMLElement, look: SweepLook) {
    this.#box = box
    this.#look = look
    this.#inks = inksOf(box)
    this.#paintPaper()
    const heightPx = sweepHeightPx(look.leadNames.length)
    for (let left = 0; left < look.widthPx; left += tilePx) {
      const width = Math.min(tilePx, look.widthPx - left)
      const { context } = sharpen(this.#layer(left), { widthPx: width, heightPx })
      context.translate(-left, 0)
      context.lineWidth = 1.5
      context.lineJoin = 'round'
      context.strokeStyle = this.#inks.trace
      this.#tiles.push({ context, left, width })
    }
  }

  /** How much time the paper holds, ms. */
  get spanMs(): number {
    return this.#look.widthPx / pixelsPerMs(this.#look.speed)
  }

  /** Draws what lies between two moments; after a jump the whole paper up to `toMs`. */
  draw(leads: readonly EcgLead[], fromMs: number, toMs: number): void {
    const span = this.spanMs
    let from = Math.max(fromMs, toMs - span + gapPx / pixelsPerMs(this.#look.speed))
    // Turn by turn: each lies between two passages of the left edge.
    while (from < toMs) {
      const edgeMs = Math.min(toMs, (Math.floor(from / span) + 1) * span)
      this.#drawTurn(leads, from, edgeMs)
      from = edgeMs
    }
  }

  /** Takes the trace away. */
  clear(): void {
    for (const { context, left, width } of this.#tiles) context.clearRect(left, 0, width, 10_000)
  }

  /** Removes the canvases. */
  stop(): void {
    for (const layer of this.#layers) layer.remove()
  }

  #layer(left: number): HTMLCanvasElement {
    const canvas = document.createElement('canvas')
    canvas.className = 'ecg-layer'
    canvas.style.left = `${left}px`
    canvas.setAttribute('aria-hidden', 'true')
    this.#box.append(canvas)
    this.#layers.push(canvas)
    return canvas
  }

  #drawTurn(leads: readonly EcgLead[], fromMs: number, toMs: number): void {
    const { speed, gain, widthPx } = this.#look
    const scale = pixelsPerMs(speed)
    const turnMs = Math.floor(fromMs / this.spanMs) * this.spanMs
    const [x, endX] = [(fromMs - turnMs) * scale, (toMs - turnMs) * scale]
    this.#erase(x, endX + gapPx)
    // At the end of the paper the gap reaches round the edge.
    if (endX + gapPx > widthPx) this.#erase(0, endX + gapPx - widthPx)
    for (const { context, left, width } of this.#tiles) {
      if (left > endX + 1 || left + width < x - 1) continue
      context.beginPath()
      for (const [index, lead] of leads.entries()) {
        drawTrace(
          lead,
          // From the sample before to the one after: the line goes on from where it ended. Each sample is drawn: columns would begin anew
          // with every frame.
          {
            ...{ fromMs, toMs, xPerMs: scale, x0: x, isEverySample: true },
            ...{ yPerMillivolt: pixelsPerMillivolt(gain), y0: this.#zeroPx(index) },
          },
          context,
        )
      }
      context.stroke()
    }
  }

  #erase(from: number, to: number): void {
    for (const { context, left, width } of this.#tiles) {
      if (left < to && left + width > from) context.clearRect(from, 0, to - from, 10_000)
    }
  }

  #zeroPx(index: number): number {
    const count = this.#look.leadNames.length
    return (index + 0.6) * rowMm(count) * pixelsPerMm
  }

  #paintPaper(): void {
    const { widthPx, leadNames, speed, gain } = this.#look
    const heightPx = sweepHeightPx(leadNames.length)
    const { context, ratio } = sharpen(this.#layer(0), { widthPx, heightPx })
    context.fillStyle = this.#inks.paper
    context.fillRect(0, 0, widthPx, heightPx)
    const along = timeLines({ fromMs: 0, widthPx, speed })
    const up = heightLines(heightPx, this.#zeroPx(0))
    for (const [part, ink] of [
      ['minor', this.#inks.minor],
      ['major', this.#inks.major],
    ] as const) {
      context.fillStyle = ink
      for (const x of along[part]) context.fillRect(Math.round(x * ratio) / ratio, 0, 1 / ratio, heightPx)
      for (const y of up[part]) context.fillRect(0, Math.round(y * ratio) / ratio, widthPx, 1 / ratio)
    }
    context.fillStyle = this.#inks.text
    context.font = '600 12px system-ui, sans-serif'
    const height = pixelsPerMillivolt(gain)
    for (const [index, name] of leadNames.entries()) {
      const zero = this.#zeroPx(index)
      context.fillText(name, 4, Math.max(14, zero - 15 * pixelsPerMm + 8))
      context.fillRect(2, zero - height, 2, height)
      context.fillText('1 mV', 8, zero - height + 4)
    }
  }
}

/** Keeps the newest samples of each lead, as long as a paper shows them. */
export class SweepSamples {
  readonly #leads: { name: string; segments: EcgSegment[] }[]
  readonly #keepMs: number

  /** @param keepMs - What ended longer ago than this before the newest sample is let go. */
  constructor(leadNames: readonly string[], keepMs: number) {
    this.#leads = leadNames.map((name) => ({ name, segments: [] }))
    this.#keepMs = keepMs
  }

  /** The leads as they are now. */
  get leads(): readonly EcgLead[] {
    return this.#leads
  }

  /** Unix ms after the newest sample; -Infinity without any. */
  get newestMs(): number {
    return Math.max(
      Number.NEGATIVE_INFINITY,
      ...this.#leads.map(({ segments }) =>
        segments.length === 0 ? Number.NEGATIVE_INFINITY : endMsOf(segments.at(-1) as EcgSegment),
      ),
    )
  }

  /** Takes a lead's next segment; one that begins before the last ended, or of a lead that is not shown, is left out. */
  push(name: string, segment: EcgSegment): void {
    const lead = this.#leads.find((one) => one.name === name)
    const last = lead?.segments.at(-1)
    if (lead === undefined || (last !== undefined && segment.startMs < endMsOf(last) - 2)) return
    lead.segments.push(segment)
    const limitMs = endMsOf(segment) - this.#keepMs
    while (lead.segments.length > 0 && endMsOf(lead.segments[0] as EcgSegment) < limitMs) lead.segments.shift()
  }
}
