/** A list that comes page by page: the newest page is kept fresh, older ones come as they are asked for and stay. */
import { useState } from 'preact/hooks'
import { type Act, useAct } from './act.tsx'
import { call } from './api.ts'
import { type Resource, type ResourceOptions, useResource } from './resource.ts'

/** The pages that are here. */
export interface Paged<P> {
  readonly newest: Resource<P>
  /** The others, in the order in which they were asked for. */
  readonly older: readonly P[]
  readonly isMore: boolean
  /** Asks for the next page. */
  readonly more: Act<[]>
}

/**
 * Pages of a path of the node.
 *
 * @param nextOf - the query that asks for the page after this one, such as `before=12`; undefined at the end.
 */
export function usePaged<P>(path: string, options: ResourceOptions, nextOf: (page: P) => string | undefined): Paged<P> {
  const newest = useResource<P>(path, options)
  const [older, setOlder] = useState<readonly P[]>([])
  const last = older.at(-1) ?? newest.value
  const next = last === undefined ? undefined : nextOf(last)
  const more = useAct(async () => {
    if (next === undefined) return
    const page = await call<P>(`${path}${path.includes('?') ? '&' : '?'}${next}`)
    setOlder((before) => [...before, page])
  })
  return { newest, older, isMore: next !== undefined, more }
}
