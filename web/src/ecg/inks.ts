/** Colours and sharpness of a canvas: they follow the page's theme and the screen. */
import { coloursOf } from '../frame/theme.ts'

const names = ['paper', 'minor', 'major', 'trace', 'text', 'soft', 'alarm', 'finding', 'missing', 'caliper'] as const

/** Colours as CSS knows them. */
export type Inks = Readonly<Record<(typeof names)[number], string>>

/** The colours that hold now. */
export function presentInks(): Inks {
  const colours = coloursOf(names.map((name) => `--ecg-${name}` as const))
  return Object.fromEntries(names.map((name) => [name, colours[`--ecg-${name}`]])) as Inks
}

/**
 * Gives a canvas as many dots as its place on the screen has, and a context that draws in CSS pixels. It is opaque, and black until it
 * is drawn on.
 *
 * @returns The context, and the dots a CSS pixel.
 */
export function sharpen(
  canvas: HTMLCanvasElement,
  size: { widthPx: number; heightPx: number },
): { context: CanvasRenderingContext2D; ratio: number } {
  const ratio = window.devicePixelRatio || 1
  const [width, height] = [
    Math.max(1, Math.round(size.widthPx * ratio)),
    Math.max(1, Math.round(size.heightPx * ratio)),
  ]
  if (canvas.width !== width) canvas.width = width
  if (canvas.height !== height) canvas.height = height
  canvas.style.width = `${size.widthPx}px`
  canvas.style.height = `${size.heightPx}px`
  const context = canvas.getContext('2d', { alpha: false }) as CanvasRenderingContext2D
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  return { context, ratio }
}
