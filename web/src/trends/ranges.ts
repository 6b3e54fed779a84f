/** How far the axis of a trend reaches: at least over what is usual for the sign, so that noise looks like noise. */

const heart = [40, 140] as const
const pressure = [50, 200] as const

/** Usual ranges by sign, in the sign's unit. */
export const usualRanges: Readonly<Record<string, readonly [low: number, high: number]>> = {
  ...{ ecg: heart, 'heart-rate': heart, pulse: heart, 'respiratory-rate': [5, 35], spo2: [80, 100] },
  ...{ 'systolic-pressure': pressure, 'diastolic-pressure': pressure, temperature: [35, 40], glucose: [50, 250] },
  ...{ 'supplemental-oxygen': [0, 15] },
}

/** What lies outside of the usual has so much of the axis beyond it. */
const margin = 0.05

/**
 * The ends of an axis for values from `min` to `max`, which may be null for none.
 *
 * @param usual - shown in any case; without it the values alone count, with as much room on both sides as they take.
 */
export function axisRange(
  min: number | null,
  max: number | null,
  usual?: readonly [number, number],
): [low: number, high: number] {
  if (min === null || max === null) return usual === undefined ? [0, 1] : [...usual]
  if (usual === undefined) {
    const room = min === max ? Math.max(1, Math.abs(min) / 10) : (max - min) / 2
    return [min - room, max + room]
  }
  const room = margin * (Math.max(max, usual[1]) - Math.min(min, usual[0]))
  return [min < usual[0] ? min - room : usual[0], max > usual[1] ? max + room : usual[1]]
}
