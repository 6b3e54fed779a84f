/**
 * Keys that work anywhere on a screen, but never while somebody types or answers a question. Who steers by voice turns them off
 * (WCAG 2.1.4): a spoken word is a row of such keys.
 */
import { useLayoutEffect, useRef } from 'preact/hooks'

const storageKey = 'healthblock.doctor.keys'

/** True unless the reader turned the keys off. */
export function areKeysOn(): boolean {
  return localStorage.getItem(storageKey) !== 'off'
}

/** Turns the keys of all screens on or off, from now on. */
export function setKeysOn(isOn: boolean): void {
  if (isOn) localStorage.removeItem(storageKey)
  else localStorage.setItem(storageKey, 'off')
}

/** What takes letters: a slider does not. */
const typed = 'input:not([type="range"]), textarea, select, dialog, [contenteditable]'

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement && target.closest(typed) !== null
}

/** Enter belongs to the button, link or summary that has the focus. */
function isForControl({ key, target }: KeyboardEvent): boolean {
  return key === 'Enter' && target instanceof HTMLElement && target.closest('a, button, summary') !== null
}

/** Calls an act for its key, as long as the screen is shown. */
export function useKeys(acts: Readonly<Record<string, () => void>>): void {
  const latest = useRef(acts)
  latest.current = acts
  // With the drawing and not after it: who sees a screen may press its keys.
  useLayoutEffect(() => {
    const onKeyDown = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || isTyping(event.target)) return
      if (document.querySelector('dialog[open]') !== null || !areKeysOn() || isForControl(event)) return
      const act = latest.current[event.key]
      if (act === undefined) return
      event.preventDefault()
      act()
    }
    window.addEventListener('keydown', onKeyDown)
    return () => window.removeEventListener('keydown', onKeyDown)
  }, [])
}
