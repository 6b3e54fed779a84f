/** What an audit did not check, in the reader's language: the engine writes English sentences, the usual ones of which are known. */
import english from '../../texts/en.json' with { type: 'json' }
import { readByTexts } from '../finding/figures.ts'
import { currentLanguage, t } from '../frame/texts.ts'
import type { ChainName } from './model.ts'
import { chainWords } from './words.ts'

const keys = Object.keys(english).filter((key) => key.startsWith('auditor.unchecked.'))

/** The sentence in the reader's language; undefined if it is none of the usual ones. */
export function saidUnchecked(sentence: string): string | undefined {
  if (currentLanguage() === 'en') return sentence
  const read = readByTexts(keys, sentence)
  if (read === undefined) return undefined
  const { chain } = read.figures
  return t(read.key, { ...read.figures, ...(chain === undefined ? {} : { chain: chainWords(chain as ChainName) }) })
}
