/** The NEWS2 chart: rows and colours as nurses know them from paper; the points stand beside each row, so that no colour is needed to read it. */
import { Fragment, type JSX } from 'preact'
import { memo } from '../frame/memo.ts'
import { formatValue, localFigures } from '../frame/number.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { formatClock, formatMoment } from '../frame/time.ts'
import type { News2Column } from './model.ts'
import { type News2Sign, news2Chart } from './news2-bands.ts'

function labelOf(label: string): string {
  return label.startsWith('doctor.') ? t(label as TextKey) : localFigures(label)
}

function valueText(value: number | string | boolean | undefined): string {
  if (typeof value === 'number') return formatValue(value)
  return value === undefined ? '' : '●'
}

function SignRows(props: { sign: News2Sign; columns: readonly News2Column[] }): JSX.Element {
  const { sign, columns } = props
  const name = t(`doctor.sign.${sign.sign}` as TextKey)
  return (
    <tbody>
      {sign.bands.map((band, index) => (
        <tr key={band.label} class={`news2-${band.points}`}>
          {index === 0 && (
            <th scope="rowgroup" rowSpan={sign.bands.length} class="news2-sign">
              {name} <span class="soft">{sign.unit}</span>
            </th>
          )}
          <th scope="row" class="news2-band">
            {labelOf(band.label)}
          </th>
          <td class="news2-points">{band.points}</td>
          {columns.map((column) => {
            const value = column.values[sign.sign]
            const isHere = value !== undefined && band.holds(value)
            return (
              <td key={column.at} class={isHere ? 'news2-here' : ''}>
                {isHere ? valueText(value) : ''}
              </td>
            )
          })}
        </tr>
      ))}
    </tbody>
  )
}

/** The class of a total: the trigger thresholds of the Royal College. */
function totalClass(column: News2Column): string {
  if (column.total === null) return ''
  if (column.total >= 7) return 'news2-3'
  if (column.total >= 5) return 'news2-2'
  return column.risk === 'low-medium' ? 'news2-2' : column.total >= 1 ? 'news2-1' : 'news2-0'
}

/** A score in words: "NEWS2 5, medium". Signs that are missing make it a least value. */
export function news2Words(column: News2Column | undefined): string {
  if (column === undefined || column.total === null) return t('doctor.news2.unknown')
  const total = column.missing.length > 0 ? `≥ ${column.total}` : String(column.total)
  return t('doctor.news2.words', { total, risk: t(`doctor.risk.${column.risk ?? 'low'}`) })
}

/** Where not all times fit, the newest are seen first. */
function toNewest(box: HTMLElement | null): void {
  if (box !== null) box.scrollLeft = box.scrollWidth
}

/** The chart. */
export const News2Chart = memo(function drawChart(props: { columns: readonly News2Column[] }): JSX.Element {
  const { columns } = props
  const last = columns.at(-1)
  if (last === undefined) return <p class="soft">{t('doctor.news2.none')}</p>
  return (
    <>
      <p>
        <strong>{news2Words(last)}</strong> · <time>{formatMoment(last.at)}</time>
        {last.risk !== null && (
          <>
            <br />
            {t(`doctor.risk.response.${last.risk}`)}
          </>
        )}
      </p>
      {last.missing.length > 0 && (
        <p class="notice late">
          {t('doctor.news2.missing', {
            signs: last.missing.map((sign) => t(`doctor.sign.${sign}` as TextKey)).join(', '),
          })}
        </p>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls sideways must be reached with the keyboard */}
      <section class="scroll" ref={toNewest} tabIndex={0} aria-label={t('doctor.news2.table')}>
        <table class="news2">
          <thead>
            <tr>
              <th scope="col">{t('doctor.news2.sign')}</th>
              <th scope="col">{t('doctor.news2.band')}</th>
              <th scope="col">{t('doctor.news2.points')}</th>
              {columns.map(({ at }) => (
                <th key={at} scope="col">
                  {formatClock(at).slice(0, 5)}
                </th>
              ))}
            </tr>
          </thead>
          {news2Chart.map((sign) => (
            <Fragment key={sign.sign}>
              <SignRows sign={sign} columns={columns} />
            </Fragment>
          ))}
          <tbody>
            <tr class="news2-total">
              <th scope="row" colSpan={3}>
                {t('doctor.news2.total')}
              </th>
              {columns.map((column) => (
                <td key={column.at} class={totalClass(column)}>
                  {column.total === null ? '–' : `${column.missing.length > 0 ? '≥' : ''}${column.total}`}
                </td>
              ))}
            </tr>
          </tbody>
        </table>
      </section>
    </>
  )
})
