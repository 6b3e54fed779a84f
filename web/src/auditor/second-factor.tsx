/** The second factor of whoever is logged in: an authenticator app, set up by a QR code that is drawn here. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ApiError, call } from '../frame/api.ts'
import { messageFor, Shown } from '../frame/notice.tsx'
import { Qr } from '../frame/qr.tsx'
import { useResource } from '../frame/resource.ts'
import { t } from '../frame/texts.ts'

const path = '/v1/portal/second-factor'
function CodeForm(props: { action: string; isDanger?: boolean; onCode: (code: string) => Promise<void> }): JSX.Element {
  const [error, setError] = useState<string>()
  const [isBusy, setBusy] = useState(false)
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault()
    const field = (event.currentTarget as HTMLFormElement).elements.namedItem('code') as HTMLInputElement
    if (isBusy) return
    setBusy(true)
    setError(undefined)
    try {
      await props.onCode(field.value.trim())
    } catch (cause) {
      const isWrong = cause instanceof ApiError && cause.code === 'ERR_CODE_WRONG'
      setError(isWrong ? t('auditor.factor.wrong') : messageFor(cause))
    } finally {
      setBusy(false)
    }
  }
  return (
    <form class="code-form" onSubmit={(event) => void submit(event)}>
      <label>
        {t('auditor.factor.code')}
        <input name="code" inputMode="numeric" autocomplete="one-time-code" pattern="\d{6}" maxLength={6} required />
      </label>
      <button type="submit" class={props.isDanger === true ? 'danger' : 'primary'} aria-disabled={isBusy}>
        {isBusy ? t('working') : props.action}
      </button>
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
    </form>
  )
}

function SetUp(props: { onDone: () => Promise<void> }): JSX.Element {
  const [uri, setUri] = useState<string>()
  const [error, setError] = useState<string>()
  const begin = async (): Promise<void> => {
    setError(undefined)
    try {
      setUri((await call<{ uri: string }>(path, { method: 'POST', body: {} })).uri)
    } catch (cause) {
      setError(messageFor(cause))
    }
  }
  if (uri === undefined) {
    return (
      <>
        <button type="button" class="primary" onClick={() => void begin()}>
          {t('auditor.factor.begin')}
        </button>
        {error !== undefined && (
          <p class="notice bad" role="alert">
            {error}
          </p>
        )}
      </>
    )
  }
  return (
    <>
      <p>{t('auditor.factor.scan')}</p>
      <Qr text={uri} label={t('auditor.factor.image')} />
      <details>
        <summary>{t('auditor.factor.bytyping')}</summary>
        <p>{t('auditor.factor.secret')}</p>
        <p>
          <code class="secret">{new URL(uri).searchParams.get('secret')?.replaceAll(/(.{4})/g, '$1 ')}</code>
        </p>
      </details>
      <CodeForm
        action={t('auditor.factor.confirm')}
        onCode={async (code) => {
          await call(path, { method: 'PUT', body: { code } })
          await props.onDone()
        }}
      />
    </>
  )
}

/** The screen of one's own login. */
export function SecurityScreen(): JSX.Element {
  const resource = useResource<{ on: boolean }>(path)
  return (
    <section class="card narrow" aria-label={t('auditor.factor')}>
      <h1>{t('auditor.factor')}</h1>
      <Shown resource={resource}>
        {({ on }) => (
          <>
            <p class={on ? 'notice good' : 'notice late'}>{t(on ? 'auditor.factor.on' : 'auditor.factor.off')}</p>
            {on ? (
              <CodeForm
                action={t('auditor.factor.end')}
                isDanger
                onCode={async (code) => {
                  await call(`${path}/off`, { method: 'POST', body: { code } })
                  await resource.reload()
                }}
              />
            ) : (
              <SetUp onDone={resource.reload} />
            )}
          </>
        )}
      </Shown>
    </section>
  )
}
