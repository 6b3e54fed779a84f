/**
 * What of the changes of rhythm is an episode of fibrillation. The detector decides from beat to beat; a file of annotations says what a cardiologist would have marked:
 * an episode lasts thirty seconds at least (as in the guidelines of the European Society of Cardiology, 2020), and a few beats that happen to be even are no end of it.
 */

/** A change of rhythm, `(AFIB` and the like, and where it lies. */
export interface RhythmChange {
  sample: number
  aux: string
}

/** An episode that ends sooner is none. */
const episodeSecondsLeast = 30
/** Between two episodes a rest of less is none. */
const restSecondsLeast = 10
/** Rhythms in which fibrillation has ended; runs and groups of ventricular beats go on top of it. */
const endings: ReadonlySet<string> = new Set(['(N', '(SBR', '(P'])

/**
 * Takes out rests and episodes that are too short; what still lasts at the end stays. A verdict may so change by what follows in the next thirty seconds, and by nothing later.
 *
 * @param changes - in order of time.
 * @param rate - samples a second.
 */
export function settleFibrillation<T extends RhythmChange>(changes: readonly T[], rate: number): T[] {
  const isFibrillation = (change: RhythmChange | undefined) => change?.aux === '(AFIB'
  const joined = changes.filter((change, i) => {
    const [before, after] = [changes[i - 1], changes[i + 1]]
    const isRest = change.aux === '(N' && isFibrillation(before) && isFibrillation(after)
    return !isRest || (after?.sample ?? 0) - change.sample >= restSecondsLeast * rate
  })
  let isBrief = false
  const settled = joined.map((change, i) => {
    if (endings.has(change.aux)) isBrief = false
    else if (isFibrillation(change) && !isWithin(joined, i)) {
      const end = joined.find(({ aux }, k) => k > i && endings.has(aux))
      isBrief = end !== undefined && end.sample - change.sample < episodeSecondsLeast * rate
    }
    return isBrief && isFibrillation(change) ? { ...change, aux: '(N' } : change
  })
  return settled.filter(({ aux }, i) => aux !== settled[i - 1]?.aux)
}

/** True when the episode that has this change began at an earlier one. */
function isWithin(changes: readonly RhythmChange[], index: number): boolean {
  for (let i = index - 1; i >= 0; i--) {
    const { aux } = changes[i] as RhythmChange
    if (endings.has(aux)) return false
    if (aux === '(AFIB') return true
  }
  return false
}
