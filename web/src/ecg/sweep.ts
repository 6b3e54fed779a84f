/**
 * A live trace that runs from left to right over still paper and begins anew at the edge, as on a monitor. It is drawn a little ahead of
 * what is shown, twice a second, under a curtain of blank paper; the curtain moves evenly and uncovers it. The browser moves the
 * curtain by itself, at the pace of the screen: no script runs for a frame, nothing is drawn twice. Paper and trace are one opaque canvas:
 * to put a frame together costs half of what two layers over each other do.
 */
import { drawTrace } from './columns.ts'
import { type Inks, presentInks, sharpen } from './inks.ts'
import { heightLines, pixelsPerMillivolt, pixelsPerMm, pixelsPerMs, rowMm, timeLines } from './paper.ts'
import { type EcgLead, type EcgSegment, endMsOf } from './signal.ts'
import { type TurnPart, turnsOf } from './turns.ts'

/** The curtain hides what is drawn ahead and this much of what was drawn a turn ago. */
const gapPx = 4 * pixelsPerMm
/** A line reaches a little over the sample where it ends. */
const lineEndPx = 2

/** How a sweep looks. */
export interface SweepLook {
  readonly leadNames: readonly string[]
  readonly widthPx: number
  readonly speed: number
  readonly gain: number
  /** So much may be drawn that is not to be seen yet. */
  readonly aheadMs: number
}

/** Height of a sweep in CSS pixels. */
export function sweepHeightPx(leadCount: number): number {
  return Math.round(Math.max(1, leadCount) * rowMm(leadCount) * pixelsPerMm)
}

/** Draws the columns between two moments, each on the canvas where it lies. */
export class SweepPainter {
  readonly #box: HTMLElement
  readonly #look: SweepLook
  readonly #trace: CanvasRenderingContext2D
  /** The empty paper, on no screen: what is drawn anew is copied from it first. */
  readonly #paper: HTMLCanvasElement
  /** Dots a CSS pixel. */
  readonly #ratio: number
  readonly #layers: HTMLElement[] = []
  readonly #curtains: { readonly element: HTMLElement; readonly offsetPx: number; motion: Animation | undefined }[] = []
  readonly #curtainPx: number
  readonly #inks: Inks

  /** @param box - A positioned element that holds the layers; they are added here, and removed by `stop`. */
  constructor(box: HTMLElement, look: SweepLook) {
    this.#box = box
    this.#look = look
    this.#inks = presentInks()
    this.#paper = this.#paintPaper()
    const size = { widthPx: look.widthPx, heightPx: sweepHeightPx(look.leadNames.length) }
    const { context, ratio } = sharpen(this.#layer('canvas', 'ecg-layer'), size)
    this.#ratio = ratio
    context.lineWidth = 1.5
    context.lineJoin = 'round'
    context.strokeStyle = this.#inks.trace
    this.#trace = context
    this.clear()
    this.#curtainPx = gapPx + look.aheadMs * pixelsPerMs(look.speed)
    // The second one comes in at the left while the first leaves at the right.
    for (const offsetPx of [0, -look.widthPx]) {
      const element = this.#layer('div', 'ecg-curtain')
      element.style.width = `${this.#curtainPx}px`
      this.#curtains.push({ element, offsetPx, motion: undefined })
    }
  }

  /** How much time the paper holds, ms. */
  get spanMs(): number {
    return this.#look.widthPx / pixelsPerMs(this.#look.speed)
  }

  /** Draws what lies between two moments; after a jump the whole paper up to `toMs`. */
  draw(leads: readonly EcgLead[], fromMs: number, toMs: number): void {
    const span = this.spanMs
    const from = Math.max(fromMs, toMs - span + this.#curtainPx / pixelsPerMs(this.#look.speed))
    for (const part of turnsOf({ fromMs: from, toMs, spanMs: span })) this.#drawTurn(leads, part)
  }

  /**
   * Uncovers the trace from one moment to another, evenly.
   *
   * @param sinceMs - When it was at `fromMs`, by the clock of `performance.now`; it is at `toMs` `lengthMs` later, and stays there; at once,
   * without any motion, where that is 0.
   */
  uncover(fromMs: number, toMs: number, { sinceMs, lengthMs }: { sinceMs: number; lengthMs: number }): void {
    const turnMs = Math.floor(fromMs / this.spanMs) * this.spanMs
    const scale = pixelsPerMs(this.#look.speed)
    for (const curtain of this.#curtains) {
      const at = (ms: number): number => (ms - turnMs) * scale + curtain.offsetPx
      const before = curtain.motion
      // Most of the time one of them is outside, and costs nothing there.
      const isSeen = at(toMs) > -this.#curtainPx && at(fromMs) < this.#look.widthPx
      const display = isSeen ? '' : 'none'
      if (curtain.element.style.display !== display) curtain.element.style.display = display
      curtain.motion = undefined
      const place = (ms: number): string => `translateX(${at(ms)}px)`
      if (isSeen && lengthMs > 0) {
        const frames = [fromMs, toMs].map((ms) => ({ transform: place(ms) }))
        curtain.motion = curtain.element.animate(frames, { duration: lengthMs, fill: 'forwards' })
        // Begun when it was there, not when the browser gets to it: so each motion goes on where the one before it was.
        curtain.motion.startTime = sinceMs
      } else curtain.element.style.transform = place(toMs)
      before?.cancel()
    }
  }

  /** Takes the trace away. */
  clear(): void {
    this.#blank(0, this.#look.widthPx)
  }

  /** Removes the layers. */
  stop(): void {
    for (const layer of this.#layers) layer.remove()
  }

  #layer<Tag extends 'canvas' | 'div'>(tag: Tag, className: string): HTMLElementTagNameMap[Tag] {
    const element = document.createElement(tag)
    element.className = className
    element.setAttribute('aria-hidden', 'true')
    this.#box.append(element)
    this.#layers.push(element)
    return element
  }

  #drawTurn(leads: readonly EcgLead[], { turnMs, fromMs, toMs }: TurnPart): void {
    const { speed, gain } = this.#look
    const scale = pixelsPerMs(speed)
    const [x, endX] = [(fromMs - turnMs) * scale, (toMs - turnMs) * scale]
    // Where the last line ended was cleared with it.
    const clearX = x < lineEndPx ? 0 : x + lineEndPx
    const context = this.#trace
    this.#blank(clearX, endX + lineEndPx)
    context.beginPath()
    for (const [index, lead] of leads.entries()) {
      drawTrace(
        lead,
        // From the sample before to the one after: the line goes on from where it ended. Each sample is drawn: columns would begin anew
        // with every stretch.
        {
          ...{ fromMs, toMs, xPerMs: scale, x0: x, isEverySample: true },
          ...{ yPerMillivolt: pixelsPerMillivolt(gain), y0: this.#zeroPx(index) },
        },
        context,
      )
    }
    context.stroke()
  }

  /** Copies empty paper between two places, in whole dots: what was blanked last time is not touched, and nothing is left between. */
  #blank(fromPx: number, toPx: number): void {
    const { width, height } = this.#paper
    const [left, right] = [fromPx, toPx].map((px) => Math.min(width, Math.round(px * this.#ratio))) as [number, number]
    if (right <= left) return
    const [x, wide, high] = [left, right - left, height].map((dots) => dots / this.#ratio) as [number, number, number]
    this.#trace.drawImage(this.#paper, left, 0, right - left, height, x, 0, wide, high)
  }

  #zeroPx(index: number): number {
    const count = this.#look.leadNames.length
    return (index + 0.6) * rowMm(count) * pixelsPerMm
  }

  #paintPaper(): HTMLCanvasElement {
    const { widthPx, leadNames, speed, gain } = this.#look
    const heightPx = sweepHeightPx(leadNames.length)
    const canvas = document.createElement('canvas')
    const { context, ratio } = sharpen(canvas, { widthPx, heightPx })
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
    return canvas
  }
}

/** Keeps the newest samples of each lead, as long as a paper shows them. */
export class SweepSamples {
  readonly #leads: { name: string; segments: EcgSegment[] }[]
  readonly #keepMs: number
  #bunchMs = 0

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

  /** How much comes at once, ms: the length of the newest segment. */
  get bunchMs(): number {
    return this.#bunchMs
  }

  /** Takes a lead's next segment; one that begins before the last ended, or of a lead that is not shown, is left out. */
  push(name: string, segment: EcgSegment): void {
    const lead = this.#leads.find((one) => one.name === name)
    const last = lead?.segments.at(-1)
    if (lead === undefined || (last !== undefined && segment.startMs < endMsOf(last) - 2)) return
    lead.segments.push(segment)
    this.#bunchMs = endMsOf(segment) - segment.startMs
    const limitMs = endMsOf(segment) - this.#keepMs
    while (lead.segments.length > 0 && endMsOf(lead.segments[0] as EcgSegment) < limitMs) lead.segments.shift()
  }
}
