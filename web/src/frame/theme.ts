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
