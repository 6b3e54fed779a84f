/** Vouching for somebody's registration: read here first, then signed, then seen to come on record. */
import type { RegisterBody } from '@healthblock/chain/transaction'
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { useDraft } from '../frame/drafts.ts'
import { SaidError } from '../frame/said-error.ts'
import { type TextKey, t } from '../frame/texts.ts'
import { CommitTicks } from './commit-ticks.tsx'

const fileSizeBytesMax = 65_536

/** What was pasted, read: its base64 and the role that it asks for. */
interface ReadRegistration {
  readonly body: string
  readonly role: number
}

/** A registration as its node gives it: base64, or JSON with `body`. */
function bodyOf(text: string): string {
  const plain = text.trim()
  if (!plain.startsWith('{')) return plain.replaceAll(/\s/g, '')
  const { body } = JSON.parse(plain) as { body?: unknown }
  return typeof body === 'string' ? body : ''
}

async function readRegistration(text: string, organisation: string): Promise<ReadRegistration> {
  const [{ parseBody }, { fromBase64, toHex }] = await Promise.all([
    import('@healthblock/chain/transaction'),
    import('@healthblock/encoding/bytes'),
  ])
  let register: RegisterBody
  let base64: string
  try {
    base64 = bodyOf(text)
    const body = parseBody(fromBase64(base64))
    if (body.t !== 'register') throw new Error(body.t)
    register = body
  } catch (cause) {
    throw new SaidError(t('auditor.sponsor.bad', { why: (cause as Error).message }), { cause })
  }
  if (toHex(register.sponsor) !== organisation) throw new SaidError(t('auditor.sponsor.other'))
  return { body: base64, role: register.role }
}

function Signed(props: { signed: { account: string; signature: string }; onRecorded: () => void }): JSX.Element {
  const { signed, onRecorded } = props
  const [isCopied, setCopied] = useState(false)
  return (
    <section class="notice good">
      <p>{t('auditor.sponsor.done')}</p>
      <p>
        <code class="signature">{signed.signature}</code>
      </p>
      <button
        type="button"
        onClick={() => void navigator.clipboard?.writeText(signed.signature).then(() => setCopied(true))}
      >
        {t(isCopied ? 'auditor.copied' : 'auditor.copy')}
      </button>
      <CommitTicks id={signed.account} onRecorded={onRecorded} />
    </section>
  )
}

function RegistrationFields(props: {
  text: string
  name: string
  onText: (text: string) => void
  onFile: (file: File) => void
  onName: (name: string) => void
  onLook: (event: Event) => void
}): JSX.Element {
  const { text, name, onText, onFile, onName, onLook } = props
  return (
    <form onSubmit={onLook}>
      <label>
        {t('auditor.sponsor.body')}
        <textarea
          rows={3}
          required
          maxLength={fileSizeBytesMax}
          spellcheck={false}
          value={text}
          onInput={(event) => onText(event.currentTarget.value)}
        />
      </label>
      <label>
        {t('auditor.sponsor.file')}
        <input
          type="file"
          onChange={(event) => {
            const file = event.currentTarget.files?.[0]
            if (file !== undefined) onFile(file)
          }}
        />
      </label>
      <label>
        {t('auditor.sponsor.name')}
        <input name="name" maxLength={128} value={name} onInput={(event) => onName(event.currentTarget.value)} />
      </label>
      <button type="submit">{t('auditor.sponsor.look')}</button>
    </form>
  )
}

/** The form. */
export function SponsorForm(props: {
  /** Who is logged in: what was typed is nobody else's. */
  owner: string
  organisation: string
  onRecorded: () => void
}): JSX.Element {
  const { owner, organisation, onRecorded } = props
  const [text, setText] = useDraft(owner, 'registration')
  const [name, setName] = useDraft(owner, 'name of a registration')
  const [read, setRead] = useState<ReadRegistration>()
  const [error, setError] = useState<string>()
  const [signed, setSigned] = useState<{ account: string; signature: string }>()
  const open = async (file: File): Promise<void> => {
    setError(undefined)
    try {
      if (file.size > fileSizeBytesMax)
        throw new SaidError(t('auditor.sponsor.large', { count: fileSizeBytesMax / 1024 }))
      setText(await file.text())
    } catch (cause) {
      // What was there before is not taken for what the file says.
      setText('')
      setError((cause as Error).message)
    }
  }
  const look = async (event: Event): Promise<void> => {
    event.preventDefault()
    setError(undefined)
    setSigned(undefined)
    try {
      setRead(await readRegistration(text, organisation))
    } catch (cause) {
      setError((cause as Error).message)
    }
  }
  const sign = async (): Promise<void> => {
    const body = { body: read?.body, ...(name.trim() === '' ? {} : { name: name.trim() }) }
    setSigned(await call('/v1/sponsor', { method: 'POST', body }))
    setRead(undefined)
    setText('')
    setName('')
  }
  const role = t(`auditor.role.${read?.role ?? 1}` as TextKey)
  return (
    <section class="card" aria-label={t('auditor.sponsor')}>
      <h2>{t('auditor.sponsor')}</h2>
      <p class="soft">{t('auditor.sponsor.words')}</p>
      <RegistrationFields
        text={text}
        name={name}
        onText={setText}
        onFile={(file) => void open(file)}
        onName={setName}
        onLook={(event) => void look(event)}
      />
      {error !== undefined && (
        <p class="notice bad" role="alert">
          {error}
        </p>
      )}
      {signed !== undefined && <Signed signed={signed} onRecorded={onRecorded} />}
      {read !== undefined && (
        <ConfirmDialog
          title={t('auditor.sponsor.title', { role })}
          action={t('auditor.sponsor.act')}
          onConfirm={sign}
          onClose={() => setRead(undefined)}
        >
          <p>{t('auditor.sponsor.ask', { role })}</p>
          {name.trim() !== '' && <p class="given-name">{name.trim()}</p>}
        </ConfirmDialog>
      )}
    </section>
  )
}
