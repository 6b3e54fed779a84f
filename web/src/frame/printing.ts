/** Pages on paper: what only a screen can show is drawn anew before a print, in the colours and the width of a sheet. */
import { options } from 'preact'
import { useLayoutEffect, useState } from 'preact/hooks'

/** As much of a sheet of A4 as is printed between its margins, in CSS pixels: 175 mm. */
export const sheetWidthPx = (175 * 96) / 25.4

/** Changes a state, and returns when the page shows it. */
export function drawnAtOnce(change: () => void): void {
  options.debounceRendering = (draw) => draw()
  change()
  delete options.debounceRendering
}

/**
 * Calls before a print (true) and after it (false): a print shows the page as it is when the first call returns.
 *
 * @returns The function that ends it.
 */
export function onPrint(listener: (isPrinted: boolean) => void): () => void {
  const begin = (): void => drawnAtOnce(() => listener(true))
  const end = (): void => listener(false)
  window.addEventListener('beforeprint', begin)
  window.addEventListener('afterprint', end)
  return () => {
    window.removeEventListener('beforeprint', begin)
    window.removeEventListener('afterprint', end)
  }
}

/** True while the page is printed. */
export function usePrinted(): boolean {
  const [isPrinted, setPrinted] = useState(false)
  // With the drawing and not after it: a page may be printed as soon as it is seen.
  useLayoutEffect(() => onPrint(setPrinted), [])
  return isPrinted
}
