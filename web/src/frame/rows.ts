/** A long list is drawn as far as it was asked for, some rows a frame: a thousand at once would hold up what the reader does meanwhile. */
import { useEffect, useState } from 'preact/hooks'

/** How much of a list is drawn. */
export interface Rows {
  /** So many rows, at most all. */
  readonly shown: number
  /** Draws so many more; all if not said how many. */
  readonly more: (rows?: number) => void
}

/**
 * The rows of a list of `count`.
 *
 * @param first - drawn at once.
 * @param eachFrame - drawn with each frame, until what was asked for is there.
 */
export function useRows(count: number, { first, eachFrame }: { first: number; eachFrame: number }): Rows {
  const [shown, setShown] = useState(first)
  const [wanted, setWanted] = useState(first)
  const goal = Math.min(count, wanted)
  useEffect(() => {
    if (shown >= goal) return undefined
    const frame = requestAnimationFrame(() => setShown(Math.min(goal, shown + eachFrame)))
    return () => cancelAnimationFrame(frame)
  }, [shown, goal, eachFrame])
  return {
    shown: Math.min(shown, count),
    more: (rows = Number.POSITIVE_INFINITY) => setWanted(Math.max(shown, wanted) + rows),
  }
}
