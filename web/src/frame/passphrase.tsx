/** Another passphrase, by who knows the present one and shows the second factor. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { ActForm } from './act.tsx'
import { EvidenceFields, type FactorView, postWithEvidence } from './evidence.tsx'
import { Shown } from './notice.tsx'
import type { Resource } from './resource.ts'
import { SaidError } from './said-error.ts'
import { t } from './texts.ts'

/** Fewest characters that a node takes. */
const lengthMin = 8

function Field(props: { name: string; label: string; isNew?: boolean }): JSX.Element {
  return (
    <label>
      {props.label}
      <input
        name={props.name}
        type="password"
        autocomplete={props.isNew === true ? 'new-password' : 'current-password'}
        required
        maxLength={1024}
      />
    </label>
  )
}

/** The form. `path`: where it is posted to; `factorBase`: where the second factor's routes are. Blanks at the ends are part of a passphrase. */
export function PassphraseForm(props: {
  path: string
  factorBase: string
  factor: Resource<FactorView>
  note?: string
}): JSX.Element {
  const { path, factorBase, factor } = props
  // The form begins anew, empty, each time that it was changed.
  const [changes, setChanges] = useState(0)
  const change = async (fields: FormData): Promise<void> => {
    const textOf = (name: string): string => String(fields.get(name) ?? '')
    const newPassphrase = textOf('newPassphrase')
    if ([...newPassphrase.normalize('NFKC')].length < lengthMin)
      throw new SaidError(t('passphrase.short', { count: lengthMin }))
    if (newPassphrase !== textOf('again')) throw new SaidError(t('passphrase.differs'))
    await postWithEvidence(factorBase, { path, body: { passphrase: textOf('passphrase'), newPassphrase }, fields })
    setChanges((count) => count + 1)
  }
  return (
    <Shown resource={factor}>
      {(view) => (
        <>
          <p>
            {t('passphrase.what', { count: lengthMin })} {props.note}
          </p>
          <div role="status">{changes > 0 && <p class="notice good">{t('passphrase.changed')}</p>}</div>
          <ActForm key={changes} action={t('passphrase.action')} onAct={change}>
            <Field name="passphrase" label={t('passphrase.old')} />
            <Field name="newPassphrase" label={t('passphrase.new')} isNew />
            <Field name="again" label={t('passphrase.again')} isNew />
            <EvidenceFields view={view} />
          </ActForm>
        </>
      )}
    </Shown>
  )
}
