/** A QR code as a picture that prints sharp; drawn here, without markup from a library. */
import type { JSX } from 'preact'
import { encode } from 'uqr'

/** The dark squares of a code as an SVG path, one unit each. */
export function qrPath(text: string): { path: string; size: number } {
  const { data, size } = encode(text, { ecc: 'L', border: 4 })
  let path = ''
  for (const [y, row] of data.entries()) {
    for (const [x, isDark] of row.entries()) if (isDark) path += `M${x} ${y}h1v1h-1z`
  }
  return { path, size }
}

/** A code with its words for who does not see it. Always dark on white: readers of codes want it so. */
export function Qr(props: { text: string; label: string; sizePx?: number }): JSX.Element {
  const { path, size } = qrPath(props.text)
  const { sizePx = 200 } = props
  return (
    <svg class="qr" role="img" aria-label={props.label} viewBox={`0 0 ${size} ${size}`} width={sizePx} height={sizePx}>
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" shape-rendering="crispEdges" />
    </svg>
  )
}
