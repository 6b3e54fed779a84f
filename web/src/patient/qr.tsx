/** A text as a QR code: one path, black on white in every theme, so that any camera reads it. */
import type { JSX } from 'preact'
import { encode } from 'uqr'

/** The code. `label` says what it is for. */
export function QrCode(props: { text: string; label: string; sizePx?: number }): JSX.Element {
  const { text, label, sizePx = 220 } = props
  const { data, size } = encode(text, { ecc: 'L', border: 4 })
  let path = ''
  for (const [y, row] of data.entries()) {
    for (const [x, isBlack] of row.entries()) if (isBlack) path += `M${x} ${y}h1v1h-1z`
  }
  return (
    <svg
      class="qr"
      role="img"
      aria-label={label}
      width={sizePx}
      height={sizePx}
      viewBox={`0 0 ${size} ${size}`}
      shape-rendering="crispEdges"
    >
      <title>{label}</title>
      <rect width={size} height={size} fill="#fff" />
      <path d={path} fill="#000" />
    </svg>
  )
}
