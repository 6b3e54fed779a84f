/** What a screen shows of the node, with its age: kept while it is asked for again, and marked when it could not be. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { ApiError, call, nodeNowMs } from './api.ts'
import type { Live } from './live.ts'

/** A thing of the node as the page has it. */
export interface Resource<T> {
  readonly value: T | undefined
  /** When `value` was true, Unix ms. */
  readonly atMs: number | undefined
  /** Why the last try failed; `value` is then as old as it is. */
  readonly error: ApiError | undefined
  readonly isLoading: boolean
  /** Asks again. */
  readonly reload: () => Promise<void>
}

/** How to keep it fresh. */
export interface ResourceOptions {
  /** The page's line: the resource is asked for again after each event of these types, and after each new connection. */
  readonly live?: Live
  readonly on?: readonly string[]
  /** Asked again this often, whatever is heard; not before the answer to the question before, which may take longer than that. */
  readonly everyMs?: number
  /** What another path gave stays until this one's answer is here: for a stretch of time that moves on. */
  readonly isKept?: boolean
}

/** Events that come in a bunch cause one question. */
const settleMs = 150

/** A GET of the node as a resource; an undefined path is not asked for. */
export function useResource<T>(path: string | undefined, options: ResourceOptions = {}): Resource<T> {
  const { live, on, everyMs, isKept = false } = options
  const [state, setState] = useState<Omit<Resource<T>, 'reload'>>({
    ...{ value: undefined, atMs: undefined, error: undefined, isLoading: path !== undefined },
  })
  const turn = useRef(0)
  const answered = useRef(0)
  const load = useCallback(
    async (isBackground: boolean): Promise<void> => {
      if (path === undefined) return
      const mine = ++turn.current
      setState((before) => ({ ...before, isLoading: true }))
      try {
        const value = await call<T>(path, { isBackground })
        if (mine === turn.current) setState({ value, atMs: nodeNowMs(), error: undefined, isLoading: false })
      } catch (error) {
        if (mine !== turn.current) return
        const known = error instanceof ApiError ? error : new ApiError(String(error), 0, {})
        setState((before) => ({ ...before, error: known, isLoading: false }))
      } finally {
        if (mine === turn.current) answered.current = mine
      }
    },
    [path],
  )
  useEffect(() => {
    if (!isKept) setState({ value: undefined, atMs: undefined, error: undefined, isLoading: path !== undefined })
    void load(isKept)
  }, [load, path, isKept])
  const events = on?.join(' ')
  useEffect(() => {
    if (live === undefined) return undefined
    let timer: ReturnType<typeof setTimeout> | undefined
    const stop = live.listen((event) => {
      if (event !== undefined && events?.split(' ').includes(event.type) !== true) return
      clearTimeout(timer)
      timer = setTimeout(() => void load(true), settleMs)
    })
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [live, events, load])
  useEffect(() => {
    if (everyMs === undefined) return undefined
    const timer = setInterval(() => {
      if (answered.current === turn.current) void load(true)
    }, everyMs)
    return () => clearInterval(timer)
  }, [everyMs, load])
  return { ...state, reload: () => load(false) }
}
