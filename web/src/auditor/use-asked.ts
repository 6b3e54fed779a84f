/** Something that takes several questions or a lazily loaded part: what came of it, or why not. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, nodeNowMs } from '../frame/api.ts'
import type { Resource } from '../frame/resource.ts'

/**
 * Asks when `key` changes, as a resource that `Shown` shows; what is asked for again stays until the answer is here. The signal is aborted
 * when nobody waits any more.
 */
export function useAsked<T>(key: string, ask: (signal: AbortSignal) => Promise<T>): Resource<T> {
  const [turn, setTurn] = useState(0)
  const [state, setState] = useState<Omit<Resource<T>, 'reload'>>({
    ...{ value: undefined, atMs: undefined, error: undefined, isLoading: true },
  })
  const asked = useRef(key)
  useEffect(() => {
    let isWanted = true
    const leaving = new AbortController()
    const isAgain = asked.current === key
    asked.current = key
    setState((before) => ({
      ...(isAgain ? before : { value: undefined, atMs: undefined }),
      ...{ error: undefined, isLoading: true },
    }))
    ask(leaving.signal).then(
      (value) => isWanted && setState({ value, atMs: nodeNowMs(), error: undefined, isLoading: false }),
      (cause: unknown) => {
        const error = cause instanceof ApiError ? cause : new ApiError(String((cause as Error).message), 0, {})
        if (isWanted) setState((before) => ({ ...before, error, isLoading: false }))
      },
    )
    return () => {
      isWanted = false
      leaving.abort()
    }
  }, [key, turn])
  return { ...state, reload: useCallback(async () => setTurn((before) => before + 1), []) }
}
