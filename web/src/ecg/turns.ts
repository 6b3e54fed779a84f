/** Where a sweep begins anew at the left edge. */

/** A part of a stretch of time that lies on one turn of the paper. */
export interface TurnPart {
  /** The moment at the left edge, Unix ms. */
  readonly turnMs: number
  readonly fromMs: number
  readonly toMs: number
}

/**
 * Cuts a stretch at each passage of the left edge.
 *
 * @param spanMs - how much time the paper holds, above 0.
 */
export function turnsOf({ fromMs, toMs, spanMs }: { fromMs: number; toMs: number; spanMs: number }): TurnPart[] {
  const parts: TurnPart[] = []
  let from = fromMs
  // Turns are counted, and never worked out again from where one ended: k times a length, divided by it, may be less than k.
  for (let turn = Math.floor(fromMs / spanMs); from < toMs; turn++) {
    const edgeMs = Math.min(toMs, (turn + 1) * spanMs)
    if (edgeMs <= from) continue
    parts.push({ turnMs: turn * spanMs, fromMs: from, toMs: edgeMs })
    from = edgeMs
  }
  return parts
}
