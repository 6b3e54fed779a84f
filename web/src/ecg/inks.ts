/** Colours and sharpness of a canvas: they follow the page's theme and the screen. */
import { coloursOf } from '../frame/theme.ts'

const names = ['paper', 'minor', 'major', 'trace', 'text', 'soft', 'alarm', 'finding', 'missing', 'caliper'] as const

/** Colours as CSS knows them. */
export type Inks = Readonly<Record<(typeof names)[number], string>>

/** The colours that hold now, or those of a light page. */
export function presentInks(scheme?: 'light'): Inks {
  const colours = coloursOf(
    names.map((name) => `--ecg-${name}` as const),
    scheme,
  )
  return Object.fromEntries(names.map((name) => [name, colours[`--ecg-${name}`]])) as Inks
}

/**
 * Gives a canvas as many dots as its place on the screen has, and a context that draws in CSS pixels. It is opaque, and black until it
 * is drawn on.
 *
 * @param ratio - dots a CSS pixel; those of the screen if absent.
 * @returns The context, and the dots a CSS pixel.
 */
export function sharpen(
  canvas: HTMLCanvasElement,
  size: { widthPx: number; heightPx: number },
  ratio = window.devicePixelRatio || 1,
): { context: CanvasRenderingContext2D; ratio: number } {
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
