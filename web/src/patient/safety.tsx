/** The recovery phrase at first use, rehearsed, and the second factor with its way back. */
import type { ComponentChildren, JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { Qr } from '../frame/qr.tsx'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { type Security, usePatient } from './node.ts'
import { explain } from './words.ts'

/** A small form with one act: what went wrong is said in it, and what was typed stays. */
function ActForm(props: {
  action: string
  onAct: (fields: FormData) => Promise<void>
  isDanger?: boolean
  children: ComponentChildren
}): JSX.Element {
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<string>()
  const act = async (form: HTMLFormElement): Promise<void> => {
    if (isBusy) return
    setBusy(true)
    setError(undefined)
    try {
      await props.onAct(new FormData(form))
    } catch (cause) {
      setError(explain(cause))
    }
    setBusy(false)
  }
  return (
    <form
      class="act"
      onSubmit={(event) => {
        event.preventDefault()
        void act(event.currentTarget)
      }}
    >
      {props.children}
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      <button type="submit" class={props.isDanger === true ? 'danger' : 'primary'} aria-disabled={isBusy}>
        {isBusy ? t('working') : props.action}
      </button>
    </form>
  )
}

const textOf = (fields: FormData, name: string): string => String(fields.get(name) ?? '')

function CodeField(): JSX.Element {
  return (
    <label class="code">
      {t('login.code')}
      <input name="code" inputMode="numeric" autocomplete="one-time-code" pattern="\d{6}" maxLength={6} required />
    </label>
  )
}

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
        const body = { passphrase: textOf(fields, 'passphrase') }
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

function FactorOn(props: { onDone: () => void }): JSX.Element {
  const { base } = usePatient()
  const [isLost, setLost] = useState(false)
  return (
    <>
      <p>✓ {t('patient.factor.on')}</p>
      <details>
        <summary>{t('patient.factor.end')}</summary>
        <ActForm
          action={t('patient.factor.endAction')}
          isDanger
          onAct={async (fields) => {
            const body = isLost ? { phrase: textOf(fields, 'phrase') } : { code: textOf(fields, 'code') }
            await call(`${base}/second-factor/remove`, { method: 'POST', body })
            props.onDone()
          }}
        >
          {isLost ? (
            <label>
              {t('patient.factor.phrase')}
              <textarea name="phrase" rows={4} required maxLength={1024} autocomplete="off" spellcheck={false} />
            </label>
          ) : (
            <CodeField />
          )}
          <button type="button" class="link" onClick={() => setLost(!isLost)}>
            {t(isLost ? 'patient.factor.haveCode' : 'patient.factor.lost')}
          </button>
        </ActForm>
      </details>
    </>
  )
}

function FactorSection(props: { security: Security; onDone: () => void }): JSX.Element {
  const { base } = usePatient()
  const [uri, setUri] = useState<string>()
  if (props.security.secondFactor) return <FactorOn onDone={props.onDone} />
  if (props.security.rehearsedAt === null) return <p class="soft">{t('patient.factor.phraseFirst')}</p>
  if (uri === undefined) {
    return (
      <ActForm
        action={t('patient.factor.begin')}
        onAct={async () => {
          setUri((await call<{ uri: string }>(`${base}/second-factor`, { method: 'POST', body: {} })).uri)
        }}
      >
        <p>{t('patient.factor.what')}</p>
      </ActForm>
    )
  }
  const secret = new URL(uri).searchParams.get('secret') ?? ''
  return (
    <ActForm
      action={t('patient.factor.confirm')}
      onAct={async (fields) => {
        await call(`${base}/second-factor/confirm`, { method: 'POST', body: { code: textOf(fields, 'code') } })
        setUri(undefined)
        props.onDone()
      }}
    >
      <p>{t('patient.factor.scan')}</p>
      <Qr text={uri} label={t('patient.factor.qr')} />
      <details>
        <summary>{t('patient.factor.byHand')}</summary>
        <p class="secret">{secret.replaceAll(/(.{4})/g, '$1 ')}</p>
      </details>
      <CodeField />
    </ActForm>
  )
}

/** What guards the account. */
export function SafetyScreen(): JSX.Element {
  const { security } = usePatient()
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
              <FactorSection security={value} onDone={onDone} />
            </section>
          </>
        )}
      </Shown>
    </div>
  )
}
