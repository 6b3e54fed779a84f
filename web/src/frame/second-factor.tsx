/** The second factor of whoever is logged in: security keys and passkeys, and an authenticator app. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ActForm, textOf } from './act.tsx'
import { call } from './api.ts'
import { CodeField, EvidenceFields, type FactorView, postWithEvidence } from './evidence.tsx'
import { Shown } from './notice.tsx'
import { PassphraseForm } from './passphrase.tsx'
import { Qr } from './qr.tsx'
import { type Resource, useResource } from './resource.ts'
import { hasSecurityKeys, type KeyOffer, makeKey, namedAddress } from './security-key.ts'
import { t } from './texts.ts'
import { formatMoment } from './time.ts'

interface PartProps {
  /** Where the routes are. */
  readonly base: string
  readonly view: FactorView
  readonly onDone: () => Promise<void>
  /** True if a recovery phrase ends a factor too. */
  readonly hasPhrase: boolean
  /** Level of the parts' headings. */
  readonly heading: 'h2' | 'h3'
}

type Key = FactorView['keys'][number]

function KeyRow(props: PartProps & { of: Key }): JSX.Element {
  const { base, of: key, view, onDone, hasPhrase } = props
  const path = `${base}/keys/${key.id}`
  return (
    <li class="key">
      <p>
        <strong>
          <bdi>{key.name}</bdi>
        </strong>
        <span class="soft">
          {' '}
          · {t('factor.key.added', { at: formatMoment(key.addedAt) })}
          {!key.isHere && ` · ${t('factor.key.elsewhere')}`}
        </span>
      </p>
      <details>
        <summary>
          {t('factor.key.change')}
          <span class="hidden"> {key.name}</span>
        </summary>
        <ActForm
          action={t('factor.key.rename')}
          onAct={async (fields) => {
            await call(path, { method: 'PUT', body: { name: textOf(fields, 'name') } })
            await onDone()
          }}
        >
          <label>
            {t('factor.key.name')}
            <input name="name" defaultValue={key.name} required maxLength={64} dir="auto" />
          </label>
        </ActForm>
        <ActForm
          action={t('factor.key.remove')}
          isDanger
          onAct={async (fields) => {
            await postWithEvidence(base, { path: `${path}/remove`, fields })
            await onDone()
          }}
        >
          <EvidenceFields view={view} hasPhrase={hasPhrase} />
        </ActForm>
      </details>
    </li>
  )
}

/** Why no key can be added here, or the form that adds one. */
function NewKey({ base, view, onDone }: PartProps): JSX.Element {
  const named = namedAddress()
  if (!view.isKeyPossible || !hasSecurityKeys()) {
    return (
      <p class="soft">
        {t(named === undefined ? 'factor.key.nowhere' : 'factor.key.named')}{' '}
        {named !== undefined && <a href={named}>{named}</a>}
      </p>
    )
  }
  return (
    <details>
      <summary>{t('factor.key.new')}</summary>
      <ActForm
        action={t('factor.key.add')}
        onAct={async (fields) => {
          const offer = await postWithEvidence<KeyOffer>(base, { path: `${base}/keys/offer`, fields })
          const answer = await makeKey(offer)
          await call(`${base}/keys`, { method: 'POST', body: { name: textOf(fields, 'name'), answer } })
          await onDone()
        }}
      >
        <label>
          {t('factor.key.name')}
          <input name="name" required maxLength={64} dir="auto" placeholder={t('factor.key.example')} />
        </label>
        <EvidenceFields view={view} />
      </ActForm>
    </details>
  )
}

function Keys(props: PartProps): JSX.Element {
  const { heading: Heading, view } = props
  const { keys } = view
  return (
    <>
      <Heading>{t('factor.keys')}</Heading>
      <p>{t('factor.key.what')}</p>
      {keys.length > 0 && (
        <ul class="plain key-list">
          {keys.map((key) => (
            <KeyRow key={key.id} of={key} {...props} />
          ))}
        </ul>
      )}
      {/* Another number of keys begins another form. */}
      <NewKey key={keys.length} {...props} />
    </>
  )
}

/** A new secret as a QR code, and its first code. */
function Enrolment(props: { base: string; uri: string; onDone: () => Promise<void> }): JSX.Element {
  const { base, uri, onDone } = props
  const secret = new URL(uri).searchParams.get('secret') ?? ''
  return (
    <ActForm
      action={t('factor.confirm')}
      onAct={async (fields) => {
        await call(`${base}/confirm`, { method: 'POST', body: { code: textOf(fields, 'code') } })
        await onDone()
      }}
    >
      <p>{t('factor.scan')}</p>
      <Qr text={uri} label={t('factor.qr')} sizePx={220} />
      <details>
        <summary>{t('factor.type')}</summary>
        <p>
          <code class="secret">{secret.match(/.{1,4}/g)?.join(' ')}</code>
        </p>
      </details>
      <CodeField />
    </ActForm>
  )
}

function App(props: PartProps): JSX.Element {
  const { base, view, onDone, hasPhrase, heading: Heading } = props
  const [uri, setUri] = useState<string>()
  const begin = async (fields: FormData): Promise<void> => {
    setUri((await postWithEvidence<{ uri: string }>(base, { path: base, fields })).uri)
  }
  return (
    <>
      <Heading>{t('factor.app')}</Heading>
      {view.code ? (
        <>
          <p>{t('factor.app.on')}</p>
          <details>
            <summary>{t('factor.end')}</summary>
            <ActForm
              action={t('factor.end.action')}
              isDanger
              onAct={async (fields) => {
                await postWithEvidence(base, { path: `${base}/remove`, fields })
                await onDone()
              }}
            >
              <EvidenceFields view={view} hasPhrase={hasPhrase} />
            </ActForm>
          </details>
        </>
      ) : uri === undefined ? (
        <ActForm action={t('factor.begin')} onAct={begin}>
          <p>{t('factor.app.off')}</p>
          <EvidenceFields view={view} />
        </ActForm>
      ) : (
        <Enrolment
          {...{ base, uri }}
          onDone={async () => {
            await onDone()
            setUri(undefined)
          }}
        />
      )}
    </>
  )
}

/** What is set up, and how to change it. `about`: what the factor is asked for. */
export function SecondFactor(props: {
  base: string
  about: 'login' | 'grant'
  resource: Resource<FactorView>
  hasPhrase?: boolean
}): JSX.Element {
  const { base, about, resource, hasPhrase = false } = props
  const part = { base, hasPhrase, heading: about === 'login' ? 'h2' : 'h3', onDone: resource.reload } as const
  return (
    <Shown resource={resource}>
      {(view) => (
        <>
          <p class={view.on ? 'notice good' : 'notice late'}>{t(`factor.${view.on ? 'on' : 'off'}.${about}`)}</p>
          <Keys {...part} view={view} />
          <App {...part} view={view} />
        </>
      )}
    </Shown>
  )
}

/** Where the second factor of a login is. */
export const loginFactorPath = '/v1/portal/second-factor'

/** The screen of one's own login. */
export function SecondFactorScreen(): JSX.Element {
  const resource = useResource<FactorView>(loginFactorPath)
  return (
    <div class="narrow">
      <section class="card">
        <h1>{t('factor.title')}</h1>
        <SecondFactor base={loginFactorPath} about="login" resource={resource} />
      </section>
      <section class="card">
        <h2>{t('passphrase.title')}</h2>
        <PassphraseForm path="/v1/portal/passphrase" factorBase={loginFactorPath} factor={resource} />
      </section>
    </div>
  )
}
