/** A table that a phone shows row by row, each cell with its heading. */
import type { ComponentChildren, JSX } from 'preact'

/** One row: what it is about, and the others in the order of the headings. */
export interface TableRow {
  readonly key: string
  readonly head: ComponentChildren
  readonly cells: readonly ComponentChildren[]
}

/** The table. Browsers keep the parts of a table for who hears it, also where they are drawn as blocks. */
export function Table(props: { headings: readonly string[]; rows: readonly TableRow[] }): JSX.Element {
  const [, ...headings] = props.headings
  return (
    <div class="card scroll">
      <table class="stacks">
        <thead>
          <tr>
            {props.headings.map((heading) => (
              <th scope="col" key={heading}>
                {heading}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {props.rows.map(({ key, head, cells }) => (
            <tr key={key}>
              <th scope="row">{head}</th>
              {cells.map((cell, at) => (
                <td data-label={headings[at]} key={headings[at]}>
                  {cell}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  )
}
