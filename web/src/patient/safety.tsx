/** The recovery phrase at first use, rehearsed, and the second factor with its way back. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ActForm, textOf } from '../frame/act.tsx'
import { call } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { PassphraseForm } from '../frame/passphrase.tsx'
import { SecondFactor } from '../frame/second-factor.tsx'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { HouseholdKey } from './household-key.tsx'
import type { Security } from './model.ts'
import { usePatient } from './node.ts'

function PhraseSection(props: { security: Security; onDone: () => void }): JSX.Element {
  const { base } = usePatient()
  const [words, setWords] = useState<readonly string[]>()
  const [positions, setPositions] = useState<readonly number[]>()
  const { rehearsedAt } = props.security
  if (rehearsedAt !== null) return <p>✓ {t('patient.phrase.done', { at: formatMoment(rehearsedAt) })}</p>
  const ask = async (): Promise<void> => {
    const asked = await call<{ positions: number[] }>(`${base}/recovery/questions`, { method: 'POST', body: {} })
    setWords(undefined)
    setPositions(asked.positions)
  }
  if (positions !== undefined) {
    return (
      <ActForm
        action={t('patient.phrase.check')}
        onAct={async (fields) => {
          const answers = positions.map((position) => ({ position, word: textOf(fields, `word-${position}`) }))
          try {
            await call(`${base}/recovery/rehearsal`, { method: 'POST', body: { words: answers } })
          } catch (error) {
            // A wrong answer ended the question: other words are asked for next.
            await ask().catch(() => {})
            throw error
          }
          props.onDone()
        }}
      >
        <p>{t('patient.phrase.back')}</p>
        {positions.map((position) => (
          <label key={position}>
            {t('patient.phrase.word', { position })}
            <input name={`word-${position}`} autocomplete="off" autocapitalize="off" spellcheck={false} required />
          </label>
        ))}
        <button type="button" class="link" onClick={() => setPositions(undefined)}>
          {t('patient.phrase.again')}
        </button>
      </ActForm>
    )
  }
  if (words !== undefined) {
    return (
      <ActForm action={t('patient.phrase.written')} onAct={ask}>
        <p>{t('patient.phrase.write')}</p>
        <ol class="phrase" lang="en">
          {words.map((word, index) => (
            // Words may come twice; their place is what they are.
            <li key={index}>{word}</li>
          ))}
        </ol>
      </ActForm>
    )
  }
  return (
    <ActForm
      action={t('patient.phrase.show')}
      onAct={async (fields) => {
        // Blanks at its ends are part of it.
        const body = { passphrase: String(fields.get('passphrase')) }
        setWords((await call<{ words: string[] }>(`${base}/recovery/phrase`, { method: 'POST', body })).words)
      }}
    >
      <p>{t('patient.phrase.what')}</p>
      <label>
        {t('login.passphrase')}
        <input name="passphrase" type="password" autocomplete="current-password" required maxLength={1024} />
      </label>
    </ActForm>
  )
}

/** What guards the account. */
export function SafetyScreen(): JSX.Element {
  const { base, security, factor } = usePatient()
  const onDone = (): void => void security.reload()
  return (
    <div class="narrow">
      <h1>{t('patient.safety.title')}</h1>
      <Shown resource={security}>
        {(value) => (
          <>
            <section class="card">
              <h2>{t('patient.phrase.title')}</h2>
              <PhraseSection security={value} onDone={onDone} />
            </section>
            <section class="card">
              <h2>{t('patient.factor.title')}</h2>
              {value.rehearsedAt === null ? (
                <p class="soft">{t('patient.factor.phraseFirst')}</p>
              ) : (
                <SecondFactor base={`${base}/second-factor`} about="grant" resource={factor} hasPhrase />
              )}
            </section>
          </>
        )}
      </Shown>
      <section class="card">
        <h2>{t('passphrase.title')}</h2>
        <PassphraseForm
          {...{ path: `${base}/passphrase`, factorBase: `${base}/second-factor`, factor }}
          note={t('patient.passphrase.copies')}
        />
      </section>
      <section class="card">
        <h2>{t('patient.key.title')}</h2>
        <HouseholdKey />
      </section>
    </div>
  )
}
