/** Colours and sharpness of a canvas: they follow the page's theme and the screen. */

/** Colours as CSS knows them. */
export interface Inks {
  readonly paper: string
  readonly minor: string
  readonly major: string
  readonly trace: string
  readonly text: string
  readonly soft: string
  readonly alarm: string
  readonly finding: string
  readonly missing: string
  readonly caliper: string
}

/** The colours that hold for an element now. */
export function inksOf(element: Element): Inks {
  const style = getComputedStyle(element)
  const ink = (name: string): string => style.getPropertyValue(`--ecg-${name}`).trim()
  return {
    ...{ paper: ink('paper'), minor: ink('minor'), major: ink('major'), trace: ink('trace'), text: ink('text') },
    ...{ soft: ink('soft'), alarm: ink('alarm'), finding: ink('finding'), missing: ink('missing') },
    caliper: ink('caliper'),
  }
}

/** Calls when the colours may have changed; returns the function that ends it. */
export function onInks(listener: () => void): () => void {
  const media = matchMedia('(prefers-color-scheme: dark)')
  media.addEventListener('change', listener)
  const observer = new MutationObserver(listener)
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
  return () => {
    media.removeEventListener('change', listener)
    observer.disconnect()
  }
}

/**
 * Gives a canvas as many dots as its place on the screen has, and a context that draws in CSS pixels.
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
  const context = canvas.getContext('2d') as CanvasRenderingContext2D
  context.setTransform(ratio, 0, 0, ratio, 0, 0)
  return { context, ratio }
}
