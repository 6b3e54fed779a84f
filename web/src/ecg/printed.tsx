/** The stretch of ECG that is seen, on paper: in true millimetres, in lines that are as long as a sheet is wide. */
import type { JSX } from 'preact'
import { useLayoutEffect, useRef } from 'preact/hooks'
import { sheetWidthPx } from '../frame/printing.ts'
import { formatMoment } from '../frame/time.ts'
import { presentInks, sharpen } from './inks.ts'
import { type EcgPicture, gutterPx, paintPicture, pictureHeightPx } from './paint.ts'
import { lineStarts } from './paper.ts'

/** Dots a CSS pixel: some 400 an inch. */
const ratio = 4

function PrintedLine(props: { picture: EcgPicture }): JSX.Element {
  const { picture } = props
  const canvas = useRef<HTMLCanvasElement>(null)
  useLayoutEffect(() => {
    const element = canvas.current
    if (element === null) return
    const size = { widthPx: picture.widthPx, heightPx: pictureHeightPx(picture.leads.length) }
    paintPicture(sharpen(element, size, ratio).context, picture, presentInks('light'), ratio)
  })
  return <canvas ref={canvas} />
}

/** What of a picture is seen until `toMs`; `note` says why that may not be all. */
export function EcgPrinted(props: { picture: EcgPicture; toMs: number; note: string | undefined }): JSX.Element {
  const { picture, toMs, note } = props
  const { fromMs, speed, gain } = picture
  const starts = lineStarts({ fromMs, toMs, speed, widthPx: sheetWidthPx - gutterPx })
  return (
    <div class="ecg-printed">
      {starts.map((startMs) => (
        <PrintedLine key={startMs} picture={{ ...picture, fromMs: startMs, widthPx: sheetWidthPx }} />
      ))}
      <p>
        {formatMoment(fromMs)} · {speed} mm/s · {gain} mm/mV
        {note !== undefined && ` · ${note}`}
      </p>
    </div>
  )
}
