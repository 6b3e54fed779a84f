/** The second factor of whoever is logged in: an authenticator app, set up by a QR code that is drawn here. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { ApiError, call } from '../frame/api.ts'
import { messageFor, Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { t } from '../frame/texts.ts'

const path = '/v1/portal/second-factor'
/** Empty modules around the code (ISO/IEC 18004). */
const quiet = 4

/** A QR code as one path, black on white in any colours: cameras want it so. */
function QrCode(props: { text: string; label: string }): JSX.Element | null {
  const [code, setCode] = useState<{ size: number; path: string }>()
  useEffect(() => {
    let isWanted = true
    void import('uqr').then(({ encode }) => {
      const { data, size } = encode(props.text, { ecc: 'M', border: 0 })
      const modules = data.flatMap((row, y) =>
        row.flatMap((isDark, x) => (isDark ? [`M${x + quiet} ${y + quiet}h1v1h-1z`] : [])),
      )
      if (isWanted) setCode({ size: size + 2 * quiet, path: modules.join('') })
    })
    return () => {
      isWanted = false
    }
  }, [props.text])
  if (code === undefined) return null
  return (
    <svg class="qr" viewBox={`0 0 ${code.size} ${code.size}`} role="img" aria-label={props.label}>
      <rect width={code.size} height={code.size} fill="#fff" />
      <path d={code.path} fill="#000" />
    </svg>
  )
}

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
      <QrCode text={uri} label={t('auditor.factor.image')} />
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
