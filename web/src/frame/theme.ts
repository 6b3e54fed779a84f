/** Light, dark, or as the system has it. */

const storageKey = 'healthblock.theme'
const order = ['system', 'light', 'dark'] as const

/** A choice of colours. */
export type Theme = (typeof order)[number]

/** The reader's choice of before. */
export function themeChoice(): Theme {
  const stored = localStorage.getItem(storageKey)
  return order.find((theme) => theme === stored) ?? 'system'
}

/** The choice after this one, for a button that goes round. */
export function nextTheme(theme: Theme): Theme {
  return order[(order.indexOf(theme) + 1) % order.length] as Theme
}

/** Shows the page in these colours, and from now on. */
export function applyTheme(theme: Theme): void {
  localStorage.setItem(storageKey, theme)
  if (theme === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme
}

/** Colours of the stylesheet as a canvas takes them, by the names of their variables; with `scheme`, those of a light page. */
export function coloursOf<Name extends string>(
  names: readonly Name[],
  scheme?: 'light',
): Readonly<Record<Name, string>> {
  // A variable is what was written, `light-dark(…)` too; only a property of an element has the colour that holds now.
  const probe = document.body.appendChild(document.createElement('span'))
  if (scheme === 'light') probe.className = 'light-inks'
  const colours = names.map((name) => {
    probe.style.color = `var(${name})`
    return [name, getComputedStyle(probe).color] as const
  })
  probe.remove()
  return Object.fromEntries(colours) as Record<Name, string>
}

/** Calls when the colours may have changed; returns the function that ends it. */
export function onColours(listener: () => void): () => void {
  const media = matchMedia('(prefers-color-scheme: dark)')
  media.addEventListener('change', listener)
  const observer = new MutationObserver(listener)
  observer.observe(document.documentElement, { attributes: true, attributeFilter: ['data-theme'] })
  return () => {
    media.removeEventListener('change', listener)
    observer.disconnect()
  }
}
