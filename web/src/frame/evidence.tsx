/** Showing that it is oneself, for one act: a security key that signs it, or a code of the app. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { textOf } from './act.tsx'
import { call } from './api.ts'
import { askKey, hasSecurityKeys, type KeyQuestion } from './security-key.ts'
import { t } from './texts.ts'

/** What somebody has set up. */
export interface FactorView {
  readonly on: boolean
  readonly code: boolean
  readonly keys: readonly {
    readonly id: string
    readonly name: string
    readonly addedAt: string
    readonly isHere: boolean
  }[]
  readonly isKeyPossible: boolean
}

type Way = 'key' | 'code' | 'phrase'

function waysOf({ code, keys }: FactorView, hasPhrase: boolean): Way[] {
  const ways: Way[] = []
  if (keys.some(({ isHere }) => isHere) && hasSecurityKeys()) ways.push('key')
  if (code) ways.push('code')
  if (hasPhrase) ways.push('phrase')
  return ways
}

/** The field for a code of the app. */
export function CodeField(): JSX.Element {
  return (
    <label class="code">
      {t('login.code')}
      <input name="code" inputMode="numeric" autocomplete="one-time-code" pattern="\d{6}" maxLength={6} required />
    </label>
  )
}

/** The fields of a form for whichever way the reader takes; nothing while no factor is on. */
export function EvidenceFields(props: { view: FactorView; hasPhrase?: boolean }): JSX.Element | null {
  const [chosen, setChosen] = useState<Way>()
  const { view, hasPhrase = false } = props
  if (!view.on) return null
  const ways = waysOf(view, hasPhrase)
  const way = chosen !== undefined && ways.includes(chosen) ? chosen : ways[0]
  if (way === undefined) return <p class="notice late">{t('evidence.none')}</p>
  return (
    <div class="evidence">
      <input type="hidden" name="evidence" value={way} />
      {way === 'key' && <p>{t('evidence.key')}</p>}
      {way === 'code' && <CodeField />}
      {way === 'phrase' && (
        <label>
          {t('evidence.phrase')}
          <textarea name="phrase" rows={4} required maxLength={1024} autocomplete="off" spellcheck={false} />
        </label>
      )}
      {ways
        .filter((other) => other !== way)
        .map((other) => (
          <button key={other} type="button" class="link" onClick={() => setChosen(other)}>
            {t(`evidence.use.${other}`)}
          </button>
        ))}
    </div>
  )
}

/** Posts an act with what the form's fields show. `base`: where the second factor's routes are. */
export async function postWithEvidence<T>(
  base: string,
  act: { readonly path: string; readonly body?: object; readonly fields: FormData; readonly timeoutMs?: number },
): Promise<T> {
  const { path, body = {}, fields, timeoutMs } = act
  const options = { method: 'POST', ...(timeoutMs === undefined ? {} : { timeoutMs }) } as const
  const way = textOf(fields, 'evidence')
  if (way !== 'key')
    return call<T>(path, { ...options, body: way === '' ? body : { ...body, [way]: textOf(fields, way) } })
  const question = await call<KeyQuestion>(`${base}/challenge`, { method: 'POST', body: { path, body } })
  return call<T>(path, { ...options, body: { ...body, key: await askKey(question) } })
}
