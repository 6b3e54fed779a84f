/** Prints the filter table of `src/ecg/coefficients.ts`: second-order Butterworth sections by the bilinear transform at 250 Hz. */
import { pathToFileURL } from 'node:url'

/** The five coefficients of a section, divided by a0: b0, b1, b2, a1, a2. */
export function butterworth(kind: 'high' | 'low', cutHz: number, rateHz: number): number[] {
  const omega = (2 * Math.PI * cutHz) / rateHz
  const alpha = Math.sin(omega) / Math.SQRT2
  const cosine = Math.cos(omega)
  const sign = kind === 'low' ? 1 : -1
  const b0 = (1 - sign * cosine) / 2
  const b1 = sign * (1 - sign * cosine)
  return [b0, b1, b0, -2 * cosine, 1 - alpha].map((value) => value / (1 + alpha))
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const sections = {
    highPass10: ['high', 10],
    lowPass25: ['low', 25],
    highPass1: ['high', 0.7],
    lowPass40: ['low', 40],
    highPass40: ['high', 40],
  } as const
  for (const [name, [kind, cut]] of Object.entries(sections))
    console.log(name, JSON.stringify(butterworth(kind, cut, 250)))
}
