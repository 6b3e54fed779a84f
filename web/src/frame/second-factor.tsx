/** The second factor of who logs in by name and passphrase: turned on with a QR code and a code of the app, off with another code. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from './api.ts'
import { messageFor, Shown } from './notice.tsx'
import { Qr } from './qr.tsx'
import { useResource } from './resource.ts'
import { t } from './texts.ts'

const path = '/v1/portal/second-factor'

function CodeForm(props: { action: string; onCode: (code: string) => Promise<void> }): JSX.Element {
  const [code, setCode] = useState('')
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<string>()
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    if (isBusy) return
    setBusy(true)
    setError(undefined)
    try {
      await props.onCode(code.replaceAll(/\s/g, ''))
    } catch (cause) {
      setError(messageFor(cause))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form onSubmit={(event) => void submit(event)}>
      <label>
        {t('login.code')}
        <input
          name="code"
          inputMode="numeric"
          autocomplete="one-time-code"
          required
          maxLength={16}
          value={code}
          onInput={(event) => setCode((event.currentTarget as HTMLInputElement).value)}
        />
      </label>
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      <button type="submit" class="primary" aria-disabled={isBusy}>
        {isBusy ? t('working') : props.action}
      </button>
    </form>
  )
}

/** A new secret as a QR code, and its first code. */
function Enrolment(props: { uri: string; onDone: () => void }): JSX.Element {
  const secret = new URL(props.uri).searchParams.get('secret') ?? ''
  return (
    <>
      <p>{t('factor.scan')}</p>
      <Qr text={props.uri} label={t('factor.qr')} sizePx={220} />
      <details>
        <summary>{t('factor.type')}</summary>
        <code class="details">{secret.match(/.{1,4}/g)?.join(' ')}</code>
      </details>
      <CodeForm
        action={t('factor.confirm')}
        onCode={async (code) => {
          await call(path, { method: 'PUT', body: { code } })
          props.onDone()
        }}
      />
    </>
  )
}

/** The screen. */
export function SecondFactorScreen(): JSX.Element {
  const state = useResource<{ on: boolean }>(path)
  const [uri, setUri] = useState<string>()
  const [error, setError] = useState<string>()
  const begin = async (): Promise<void> => {
    setError(undefined)
    try {
      setUri((await call<{ uri: string }>(path, { method: 'POST' })).uri)
    } catch (cause) {
      setError(messageFor(cause))
    }
  }
  const done = (): void => {
    setUri(undefined)
    void state.reload()
  }
  return (
    <>
      <h1>{t('factor.title')}</h1>
      <Shown resource={state}>
        {({ on }) => (
          <section class="card narrow">
            <p>{t(on ? 'factor.on' : 'factor.off')}</p>
            {error !== undefined && (
              <p class="notice bad" role="alert">
                {error}
              </p>
            )}
            {!on && uri === undefined && (
              <button type="button" class="primary" onClick={() => void begin()}>
                {t('factor.begin')}
              </button>
            )}
            {!on && uri !== undefined && <Enrolment uri={uri} onDone={done} />}
            {on && (
              <CodeForm
                action={t('factor.end')}
                onCode={async (code) => {
                  await call(`${path}/off`, { method: 'POST', body: { code } })
                  done()
                }}
              />
            )}
          </section>
        )}
      </Shown>
    </>
  )
}
