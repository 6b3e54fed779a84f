/**
 * A download of one's own data: the browser itself takes the bytes, of any size, to its disk, and the node tells the page how far they are. It
 * goes on while other screens are looked at.
 */
import { ApiError, call, noteUse } from '../frame/api.ts'

/** How far it is. `waiting`: the browser has not begun, or asks where to. `lost`: the node does not say any more. */
export interface DownloadView {
  readonly state: 'waiting' | 'running' | 'done' | 'broken' | 'lost'
  readonly records: number
  readonly recordsTotal: number
  readonly sizeBytes: number
}

type Sent = Omit<DownloadView, 'state'> & { readonly state: 'running' | 'done' | 'broken' }

const pollMs = 500
/** So often in a row without an answer, and nobody knows any more. */
const silencesMax = 60

const views = new Map<string, DownloadView>()
const listeners = new Set<() => void>()
/** The newest of a person: who begins another one follows that. */
const newest = new Map<string, string>()

function show(person: string, view: DownloadView): void {
  views.set(person, view)
  for (const listener of listeners) listener()
}

/** The newest download of a person. */
export function downloadOf(person: string): DownloadView | undefined {
  return views.get(person)
}

/** Tells of each step; returns the function that ends it. */
export function onDownload(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/** Has the browser begin, and follows it. `base`: where her own routes begin. */
export function beginDownload(person: string, base: string, query: URLSearchParams): void {
  const name = [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, '0')).join('')
  query.set('export', name)
  newest.set(person, name)
  const link = document.createElement('a')
  link.href = `${base}/fhir?${query}`
  link.download = ''
  link.click()
  show(person, { state: 'waiting', records: 0, recordsTotal: 0, sizeBytes: 0 })
  void follow(person, base, name)
}

async function follow(person: string, base: string, name: string): Promise<void> {
  let silences = 0
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, pollMs))
    if (newest.get(person) !== name) return
    const before = views.get(person)
    try {
      const view = await call<Sent>(`${base}/exports/${name}`, { isBackground: true })
      silences = 0
      // It is her own act for as long as something comes of it: the page does not lock itself, which would break it off.
      if (view.sizeBytes !== before?.sizeBytes) noteUse()
      if (newest.get(person) !== name) return
      show(person, view)
      if (view.state !== 'running') return
    } catch (error) {
      silences++
      const isOver = error instanceof ApiError && error.code === 'ERR_SESSION_MISSING'
      if (!isOver && silences < silencesMax) continue
      if (newest.get(person) === name && before !== undefined) show(person, { ...before, state: 'lost' })
      return
    }
  }
}
