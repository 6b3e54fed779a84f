/** The figures of a sentence that a program wrote in English, read by the very text that it was made of. */
import english from '../../texts/en.json' with { type: 'json' }

type TextKey = keyof typeof english

/** How what is named looks in a sentence; what is not here is a number, with a tenth at most. */
const shapes: Readonly<Record<string, string>> = {
  ...{ length: String.raw`(?:\d+ h )?\d+ (?:min|s)`, chain: 'userchain|docchain', hash: '[0-9a-f]{64}' },
  ...{ node: '[^,;]+', names: '[^;]+', reason: '.+', witness: String.raw`\S+` },
  /** Of a finding, and the node that it is about. */
  code: String.raw`[a-z-]+\.[a-z.-]+(?: \S+)?`,
}
const numeral = String.raw`\d+(?:\.\d)?`

const patterns = new Map<TextKey, RegExp>()

/** The English text of a key as a pattern with its figures by name. */
function patternOf(key: TextKey): RegExp {
  const known = patterns.get(key)
  if (known !== undefined) return known
  const source = english[key]
    .split(/\{(\w+)\}/)
    .map((part, index) =>
      index % 2 === 0
        ? part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
        : `(?<${part}>${shapes[part] ?? numeral})`,
    )
    .join('')
  const pattern = new RegExp(`^${source}$`)
  patterns.set(key, pattern)
  return pattern
}

/** What a sentence was made of: the key of its text, and its figures as they stand in it. */
export interface ReadSentence {
  readonly key: TextKey
  readonly figures: Readonly<Record<string, string>>
}

/** Reads a sentence by the first text of these keys that it can have been made of; undefined if it was made of none. */
export function readByTexts(keys: readonly string[], sentence: string): ReadSentence | undefined {
  for (const key of keys) {
    if (!Object.hasOwn(english, key)) continue
    const match = patternOf(key as TextKey).exec(sentence)
    if (match !== null) return { key: key as TextKey, figures: { ...match.groups } }
  }
  return undefined
}

/** Reads the sentence of a finding: packages/diagnosis writes one or two kinds for a code. */
export function readSentence(code: string, sentence: string): ReadSentence | undefined {
  const key = `finding.says.${code}`
  return readByTexts([key, `${key}.many`, `${key}.moment`], sentence)
}
