/** The figures of a finding's sentence, read by the very text that it was made of: packages/diagnosis writes one or two kinds for a code. */
import english from '../../texts/en.json' with { type: 'json' }

type TextKey = keyof typeof english

/** How a figure looks in the sentence. */
const shapes: Readonly<Record<string, string>> = { length: String.raw`(?:\d+ h )?\d+ (?:min|s)` }
const numeral = String.raw`\d+(?:\.\d)?`

interface Form {
  readonly key: TextKey
  readonly pattern: RegExp
}

const formsByCode = new Map<string, readonly Form[]>()

/** The English text of a key as a pattern with its figures by name. */
function formOf(key: TextKey): Form {
  const pattern = english[key]
    .split(/\{(\w+)\}/)
    .map((part, index) =>
      index % 2 === 0
        ? part.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
        : `(?<${part}>${shapes[part] ?? numeral})`,
    )
    .join('')
  return { key, pattern: new RegExp(`^${pattern}$`) }
}

function formsOf(code: string): readonly Form[] {
  const known = formsByCode.get(code)
  if (known !== undefined) return known
  const keys = [`finding.says.${code}`, `finding.says.${code}.many`]
  const forms = keys.filter((key) => Object.hasOwn(english, key)).map((key) => formOf(key as TextKey))
  formsByCode.set(code, forms)
  return forms
}

/** What a sentence was made of: the key of its text, and its figures as they stand in it; undefined if it is of no known kind. */
export function readSentence(
  code: string,
  sentence: string,
): { readonly key: TextKey; readonly figures: Readonly<Record<string, string>> } | undefined {
  for (const { key, pattern } of formsOf(code)) {
    const match = pattern.exec(sentence)
    if (match !== null) return { key, figures: { ...match.groups } }
  }
  return undefined
}
