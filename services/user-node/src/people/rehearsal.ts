/**
 * The recovery phrase at first use: shown against the passphrase until three of its words were given back, and never again from then on.
 */
import { randomInt } from 'node:crypto'
import { phraseWordsCount, recoveryPhraseFromEntropy } from '@healthblock/crypto/recovery-phrase'
import type { Database } from '@healthblock/runtime/sqlite'
import { TryLimit } from '@healthblock/runtime/try-limit'
import { UserNodeError } from '../errors.ts'
import { hasSecondFactor } from './second-factor.ts'
import type { Session, Sessions } from './sessions.ts'

/** Words that are asked back. */
const askedCount = 3

interface Dependencies {
  readonly database: Database
  readonly sessions: Sessions
  readonly nowMs: () => number
}

/** One word of the phrase: `position` counts from 1. */
export interface PhraseWord {
  readonly position: number
  readonly word: string
}

/** Shows and asks. */
export class Rehearsals {
  readonly #deps: Dependencies
  readonly #limit: TryLimit
  /** By session: the positions that were asked for. A wrong answer ends the question. */
  readonly #asked = new Map<string, readonly number[]>()

  constructor(deps: Dependencies) {
    this.#deps = deps
    this.#limit = new TryLimit({ nowMs: deps.nowMs })
  }

  /** When the phrase was rehearsed, Unix ms. */
  rehearsedAtMs({ person }: Session): number | undefined {
    const row = this.#deps.database.get('SELECT ms FROM rehearsal WHERE account = ?', person.account)
    return row === undefined ? undefined : Number(row.ms)
  }

  /**
   * The 24 words.
   *
   * @throws {UserNodeError} `ERR_PHRASE_HIDDEN` once it was rehearsed, `ERR_PASSPHRASE_WRONG`; {RuntimeError} `ERR_TOO_MANY_TRIES`.
   */
  async show(session: Session, passphrase: string, source: string): Promise<string[]> {
    this.#demandOpen(session)
    await this.#deps.sessions.confirmPassphrase(session, passphrase, source)
    return recoveryPhraseFromEntropy(session.vault.contents.phraseEntropy).words()
  }

  /** Positions of the words to give back, ascending, from 1. @throws {UserNodeError} `ERR_PHRASE_HIDDEN`. */
  ask(session: Session): number[] {
    this.#demandOpen(session)
    const positions = new Set<number>()
    while (positions.size < askedCount) positions.add(1 + randomInt(phraseWordsCount))
    const asked = [...positions].sort((a, b) => a - b)
    this.#asked.set(session.id, asked)
    session.end.addEventListener('abort', () => this.#asked.delete(session.id), { once: true })
    return asked
  }

  /**
   * Takes the answer. From then on the phrase is shown no more.
   *
   * @throws {UserNodeError} `ERR_PHRASE_HIDDEN`, `ERR_WORDS_WRONG`; {RuntimeError} `ERR_TOO_MANY_TRIES`.
   */
  answer(session: Session, answers: readonly PhraseWord[]): void {
    this.#demandOpen(session)
    this.#limit.begin(session.person.id)
    const asked = this.#asked.get(session.id)
    this.#asked.delete(session.id)
    const words = recoveryPhraseFromEntropy(session.vault.contents.phraseEntropy).words()
    const isRight = asked?.every((position) =>
      answers.some((one) => one.position === position && one.word.trim().toLowerCase() === words[position - 1]),
    )
    if (isRight !== true)
      throw new UserNodeError('these are not the words: look at what you wrote down, and try again', {
        code: 'ERR_WORDS_WRONG',
      })
    this.#limit.succeed(session.person.id)
    const { database, nowMs } = this.#deps
    database.run('INSERT OR IGNORE INTO rehearsal (account, ms) VALUES (?, ?)', session.person.account, nowMs())
  }

  #demandOpen(session: Session): void {
    // A folder restored from an older copy may have forgotten that it was rehearsed.
    if (this.rehearsedAtMs(session) !== undefined || hasSecondFactor(session.vault))
      throw new UserNodeError('the recovery phrase was rehearsed, and is shown no more', { code: 'ERR_PHRASE_HIDDEN' })
  }
}
