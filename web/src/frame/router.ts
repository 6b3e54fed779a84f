/** Where the reader is, in the address after `#`: the back button, a second tab and a bookmark work as they should. */
import { useEffect, useState } from 'preact/hooks'

/** A place: `#/patients/ab12?tab=ecg` is `{path: ['patients', 'ab12'], query: {tab: 'ecg'}}`. */
export interface Place {
  readonly path: readonly string[]
  readonly query: Readonly<Record<string, string>>
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    // A hand-made address: it leads to the page that says so.
    return text
  }
}

/** Reads an address's fragment. */
export function parsePlace(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2)
  return {
    path: path
      .split('/')
      .filter((part) => part !== '')
      .map(decode),
    query: Object.fromEntries(new URLSearchParams(query)),
  }
}

/** The address of a place. */
export function hrefOf(path: readonly string[], query: Readonly<Record<string, string>> = {}): string {
  const search = new URLSearchParams(query).toString()
  return `#/${path.map(encodeURIComponent).join('/')}${search === '' ? '' : `?${search}`}`
}

/** Goes to a place; `isReplaced` leaves no step for the back button. */
export function go(path: readonly string[], query: Readonly<Record<string, string>> = {}, isReplaced = false): void {
  const href = hrefOf(path, query)
  if (isReplaced) {
    history.replaceState(undefined, '', href)
    window.dispatchEvent(new HashChangeEvent('hashchange'))
  } else location.hash = href
}

/** The present place; the component is drawn again when it changes. */
export function usePlace(): Place {
  const [place, setPlace] = useState(() => parsePlace(location.hash))
  useEffect(() => {
    const onChange = (): void => setPlace(parsePlace(location.hash))
    window.addEventListener('hashchange', onChange)
    return () => window.removeEventListener('hashchange', onChange)
  }, [])
  return place
}
