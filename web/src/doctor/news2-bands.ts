/** The bands of the NEWS2 chart (Royal College of Physicians 2017): which row a value stands in, and the points of that row. */

/** One row of the chart. */
export interface News2Band {
  /** As it is printed on the chart; a text key where it is a word. */
  readonly label: string
  readonly points: 0 | 1 | 2 | 3
  readonly holds: (value: number | string | boolean) => boolean
}

/** A sign with its rows, from the top of the chart to the bottom. */
export interface News2Sign {
  /** Name of the sign in packages/diagnosis. */
  readonly sign: string
  readonly unit: string
  readonly bands: readonly News2Band[]
}

type Points = News2Band['points']

/** Rows of whole numbers: each from its number up to the row above. */
function rows(...from: readonly (readonly [number, Points])[]): News2Band[] {
  return from.map(([low, points], index) => {
    const above = index === 0 ? Number.POSITIVE_INFINITY : (from[index - 1]?.[0] as number)
    const isLast = index === from.length - 1
    const label = index === 0 ? `≥${low}` : isLast ? `≤${above - 1}` : `${low}–${above - 1}`
    return { label, points, holds: (value) => within(value, isLast ? Number.NEGATIVE_INFINITY : low, above) }
  })
}

function within(value: number | string | boolean, low: number, above: number): boolean {
  return typeof value === 'number' && Math.round(value) >= low && Math.round(value) < above
}

/** Rows of tenths of a degree. */
function tenths(...from: readonly (readonly [number, Points])[]): News2Band[] {
  return from.map(([low, points], index) => {
    const above = index === 0 ? Number.POSITIVE_INFINITY : (from[index - 1]?.[0] as number)
    const isLast = index === from.length - 1
    const text = (value: number): string => (value / 10).toFixed(1)
    const label = index === 0 ? `≥${text(low)}` : isLast ? `≤${text(above - 1)}` : `${text(low)}–${text(above - 1)}`
    const holds: News2Band['holds'] = (value) =>
      typeof value === 'number' && within(Math.round(value * 10), isLast ? Number.NEGATIVE_INFINITY : low, above)
    return { label, points, holds }
  })
}

function word(label: string, points: Points, value: string | boolean): News2Band {
  return { label, points, holds: (other) => other === value }
}

/** The chart, scale 1 of oxygen saturation. */
export const news2Chart: readonly News2Sign[] = [
  { sign: 'respiratoryRate', unit: '/min', bands: rows([25, 3], [21, 2], [18, 0], [15, 0], [12, 0], [9, 1], [0, 3]) },
  { sign: 'spo2', unit: '%', bands: rows([96, 0], [94, 1], [92, 2], [0, 3]) },
  {
    sign: 'supplementalOxygen',
    unit: '',
    bands: [word('doctor.news2.air', 0, false), word('doctor.news2.oxygen', 2, true)],
  },
  {
    sign: 'systolicPressure',
    unit: 'mmHg',
    bands: rows(
      [220, 3],
      [201, 0],
      [181, 0],
      [161, 0],
      [141, 0],
      [121, 0],
      [111, 0],
      [101, 1],
      [91, 2],
      [81, 3],
      [71, 3],
      [0, 3],
    ),
  },
  {
    sign: 'pulse',
    unit: '/min',
    bands: rows(
      [131, 3],
      [121, 2],
      [111, 2],
      [101, 1],
      [91, 1],
      [81, 0],
      [71, 0],
      [61, 0],
      [51, 0],
      [41, 1],
      [31, 3],
      [0, 3],
    ),
  },
  {
    sign: 'consciousness',
    unit: '',
    bands: [
      word('doctor.news2.alert', 0, 'A'),
      word('doctor.news2.confusion', 3, 'C'),
      word('doctor.news2.voice', 3, 'V'),
      word('doctor.news2.pain', 3, 'P'),
      word('doctor.news2.unresponsive', 3, 'U'),
    ],
  },
  { sign: 'temperature', unit: '°C', bands: tenths([391, 2], [381, 1], [371, 0], [361, 0], [351, 1], [0, 3]) },
]
