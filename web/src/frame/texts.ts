/** Words of the page: one file per language, English complete. A key that another language lacks is shown in English. */
import english from '../../texts/en.json' with { type: 'json' }

/** A key of `texts/en.json`. */
export type TextKey = keyof typeof english

type Texts = Readonly<Record<string, string>>

/** Languages that there are, by their own names. */
export const languages = { en: 'English', de: 'Deutsch' } as const

/** A language that there is. */
export type Language = keyof typeof languages

const storageKey = 'healthblock.language'
const loaders: Readonly<Record<Exclude<Language, 'en'>, () => Promise<{ default: Texts }>>> = {
  de: () => import('../../texts/de.json', { with: { type: 'json' } }),
}

let language: Language = 'en'
let texts: Texts = english
let plural = new Intl.PluralRules('en')
const listeners = new Set<() => void>()

function isLanguage(value: string): value is Language {
  return Object.hasOwn(languages, value)
}

/** The language in use. */
export function currentLanguage(): Language {
  return language
}

/** The reader's choice of before, or the first of the browser's languages that there is. */
export function preferredLanguage(): Language {
  const chosen = localStorage.getItem(storageKey)
  for (const wanted of [chosen ?? '', ...navigator.languages]) {
    const short = wanted.slice(0, 2)
    if (isLanguage(short)) return short
  }
  return 'en'
}

/** Loads a language and shows the page in it. */
export async function useLanguage(wanted: Language): Promise<void> {
  texts = wanted === 'en' ? english : { ...english, ...(await loaders[wanted]()).default }
  language = wanted
  plural = new Intl.PluralRules(wanted)
  localStorage.setItem(storageKey, wanted)
  document.documentElement.lang = wanted
  for (const listener of listeners) listener()
}

/** Tells of a change of language. */
export function onLanguage(listener: () => void): () => void {
  listeners.add(listener)
  return () => listeners.delete(listener)
}

/**
 * The text of a key, with `{name}` replaced. With a `count`, the key's form for that count is looked for first: `key.one`, `key.other`
 * (CLDR plural categories).
 */
export function t(key: TextKey, values: Readonly<Record<string, string | number>> = {}): string {
  const { count } = values
  const form = typeof count === 'number' ? texts[`${key}.${plural.select(count)}`] : undefined
  const text = form ?? texts[key] ?? key
  return text.replaceAll(/\{(\w+)\}/g, (whole, name: string) =>
    Object.hasOwn(values, name) ? String(values[name]) : whole,
  )
}
