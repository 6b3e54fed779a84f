/**
 * The paper: how long a second and how high a millivolt is. Millimetres are those of CSS (96 px an inch), which a printed page keeps
 * exactly; on a screen they are as long as its maker says.
 */

/** CSS pixels a millimetre. */
export const pixelsPerMm = 96 / 25.4

/** Millimetres a second; 25 is the usual one, the small ones are for an overview. */
export const paperSpeeds = [2.5, 5, 12.5, 25, 50, 100] as const
/** A speed of the paper, mm/s. */
export type PaperSpeed = (typeof paperSpeeds)[number]

/** Millimetres a millivolt; 10 is the usual one. */
export const paperGains = [5, 10, 20] as const
/** A height of the trace, mm/mV. */
export type PaperGain = (typeof paperGains)[number]

/** The usual paper. */
export const usualPaper = { speed: 25, gain: 10 } as const satisfies { speed: PaperSpeed; gain: PaperGain }

/** CSS pixels a millisecond. */
export function pixelsPerMs(speed: number): number {
  return (speed * pixelsPerMm) / 1000
}

/** CSS pixels a millivolt. */
export function pixelsPerMillivolt(gain: number): number {
  return gain * pixelsPerMm
}

/** How much time fits in a width of CSS pixels. */
export function widthMs(widthPx: number, speed: number): number {
  return widthPx / pixelsPerMs(speed)
}

/** Where each line of a printed stretch begins, Unix ms: lines of `widthPx` that together show from `fromMs` to `toMs`. */
export function lineStarts(view: { fromMs: number; toMs: number; speed: number; widthPx: number }): number[] {
  const lineMs = widthMs(view.widthPx, view.speed)
  // A rest that nobody sees, a rounded pixel, has no line of its own.
  const count = Math.max(1, Math.ceil((view.toMs - view.fromMs - 1) / lineMs))
  return Array.from({ length: count }, (_, line) => view.fromMs + line * lineMs)
}

/** The next speed or gain up (1) or down (-1); the same at the ends. */
export function nextStep<T extends number>(steps: readonly T[], now: T, direction: 1 | -1): T {
  return steps[Math.min(steps.length - 1, Math.max(0, steps.indexOf(now) + direction))] as T
}

/** Height of one lead's row in mm: less where there are more. */
export function rowMm(leadCount: number): number {
  if (leadCount <= 1) return 40
  if (leadCount === 2) return 30
  return leadCount <= 6 ? 24 : 18
}

/** Where lines stand, in CSS pixels from the left. */
export interface GridLines {
  /** Each millimetre but the fifths; empty where they would be closer than 2 px. */
  readonly minor: readonly number[]
  /** Each fifth millimetre. */
  readonly major: readonly number[]
}

/**
 * Vertical lines of a stretch of paper. They move with the time: the same moment lies at the same place of a square, wherever one
 * scrolls to.
 */
export function timeLines(view: { fromMs: number; widthPx: number; speed: number }): GridLines {
  const { fromMs, widthPx, speed } = view
  const boxMs = 1000 / speed
  const scale = pixelsPerMs(speed)
  const major: number[] = []
  const minor: number[] = []
  const last = fromMs + widthPx / scale
  for (let box = Math.ceil(fromMs / boxMs); box * boxMs <= last; box++) {
    const x = (box * boxMs - fromMs) * scale
    if (box % 5 === 0) major.push(x)
    else minor.push(x)
  }
  return { minor, major }
}

/** Horizontal lines from the top of a height of CSS pixels; the fifths count from `zeroPx`, where 0 mV lies. */
export function heightLines(heightPx: number, zeroPx: number): GridLines {
  const major: number[] = []
  const minor: number[] = []
  for (let box = Math.ceil(-zeroPx / pixelsPerMm); zeroPx + box * pixelsPerMm <= heightPx; box++) {
    const y = zeroPx + box * pixelsPerMm
    if (box % 5 === 0) major.push(y)
    else minor.push(y)
  }
  return { minor, major }
}
