/** A strip of ECG for print: drawn in true millimetres, sharp on any printer, 25 mm/s and 10 mm/mV. */
import './ecg.css'
import type { JSX } from 'preact'
import { t } from '../frame/texts.ts'
import { formatTime } from '../frame/time.ts'
import { drawTrace } from './columns.ts'
import { usualPaper } from './paper.ts'
import type { EcgLead, TimeRange } from './signal.ts'

const rowHeightMm = 30

/** A lead as an SVG path in millimetres. */
export function stripPath(lead: EcgLead, range: TimeRange): string {
  const steps: string[] = []
  const number = (value: number): string => String(Math.round(value * 100) / 100)
  drawTrace(
    lead,
    {
      ...{ ...range, xPerMs: usualPaper.speed / 1000, x0: 0, isEverySample: true },
      ...{ yPerMillivolt: usualPaper.gain, y0: rowHeightMm / 2 },
    },
    {
      moveTo: (x, y) => steps.push(`M${number(x)} ${number(y)}`),
      lineTo: (x, y) => steps.push(`L${number(x)} ${number(y)}`),
    },
  )
  return steps.join('')
}

/** The lines of every `stepMm` millimetres as one path. */
function gridPath(widthMm: number, heightMm: number, stepMm: number): string {
  let path = ''
  for (let x = 0; x <= widthMm; x += stepMm) path += `M${x} 0V${heightMm}`
  for (let y = 0; y <= heightMm; y += stepMm) path += `M0 ${y}H${widthMm}`
  return path
}

/** A stretch of leads, one under the other; at most as long as the paper is wide (7 s on A4). */
export function EcgStrip(props: { leads: readonly EcgLead[]; range: TimeRange }): JSX.Element {
  const { leads, range } = props
  const widthMm = ((range.toMs - range.fromMs) * usualPaper.speed) / 1000
  const heightMm = rowHeightMm * Math.max(1, leads.length)
  const label = t('ecg.of', {
    ...{ leads: leads.map(({ name }) => name).join(', '), from: formatTime(range.fromMs), to: formatTime(range.toMs) },
  })
  return (
    <div class="ecg-strip-box">
      <svg
        class="ecg-strip"
        role="img"
        aria-label={label}
        width={`${widthMm}mm`}
        height={`${heightMm}mm`}
        viewBox={`0 0 ${widthMm} ${heightMm}`}
      >
        <title>{label}</title>
        <rect width={widthMm} height={heightMm} fill="#fff" />
        <path d={gridPath(widthMm, heightMm, 1)} stroke="#f3d0d0" stroke-width="0.08" />
        <path d={gridPath(widthMm, heightMm, 5)} stroke="#e0a0a0" stroke-width="0.15" />
        {leads.map((lead, index) => (
          <g key={lead.name} transform={`translate(0 ${index * rowHeightMm})`}>
            <path d={stripPath(lead, range)} fill="none" stroke="#000" stroke-width="0.25" stroke-linejoin="round" />
            <text x="1" y="4" font-size="3.2" fill="#000">
              {lead.name}
            </text>
          </g>
        ))}
      </svg>
    </div>
  )
}
