/** What somebody was writing: kept in the page's memory, so that a session that ends while one types takes nothing away. Never stored. */
import { useState } from 'preact/hooks'

const drafts = new Map<string, string>()

/** A text that outlives the form it is written in, until it is sent; `owner` is who writes: nobody else gets it. */
export function useDraft(owner: string, about: string): [string, (text: string) => void] {
  const key = `${owner}\n${about}`
  const [text, setText] = useState(drafts.get(key) ?? '')
  const write = (next: string): void => {
    if (next === '') drafts.delete(key)
    else drafts.set(key, next)
    setText(next)
  }
  return [text, write]
}
