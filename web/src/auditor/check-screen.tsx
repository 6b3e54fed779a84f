/** A receipt or a dispute bundle that somebody was given: dropped here, checked in this browser, sent nowhere. */
import type { JSX } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { messageFor } from '../frame/notice.tsx'
import { SaidError } from '../frame/said-error.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { checkFile, loadVerifier, type VerifiedFile } from '../proof/check.ts'
import { ProofLines } from '../proof/proof.tsx'

/** Larger files are for the command line: a browser would hold them several times over. */
const fileBytesMax = 32 * 1024 * 1024

type Checked =
  | { readonly state: 'checking'; readonly name: string }
  | { readonly state: 'holds'; readonly name: string; readonly file: VerifiedFile }
  | { readonly state: 'fails'; readonly name: string; readonly why: string }
  /** It could not be looked at: that says nothing about the file. */
  | { readonly state: 'unchecked'; readonly name: string; readonly why: string }

async function check(file: File): Promise<Checked> {
  const { name } = file
  let state: 'unchecked' | 'fails' = 'unchecked'
  try {
    if (file.size > fileBytesMax) throw new SaidError(t('auditor.check.large', { count: fileBytesMax / 1024 / 1024 }))
    const { genesisBytes } = await import('./ledger-read.ts')
    const [genesis, bytes] = await Promise.all([genesisBytes(), file.arrayBuffer(), loadVerifier()])
    state = 'fails'
    return { state: 'holds', name, file: await checkFile(new Uint8Array(bytes), genesis) }
  } catch (error) {
    return { state, name, why: messageFor(error) }
  }
}

function linesOf(file: VerifiedFile): string[] {
  const lines = [t(`auditor.check.kind.${file.kind}`)]
  for (const { at, answer, licence } of file.answers) {
    const when = formatMoment(new Date(at).toISOString())
    lines.push(t(`auditor.check.answer.${answer.replaceAll(' ', '-')}` as 'auditor.check.answer.closed', { when }))
    if (licence === undefined) continue
    lines.push(t(`auditor.check.licence.${licence.replaceAll(' ', '-')}` as 'auditor.check.licence.active'))
  }
  if (file.opened.length > 0) lines.push(t('auditor.check.opened', { count: file.opened.length }))
  lines.push(t(`auditor.check.${file.attested}`))
  return lines
}

function Outcome(props: { checked: Checked }): JSX.Element {
  const { checked } = props
  const { name } = checked
  if (checked.state === 'checking') return <p class="soft">{t('auditor.check.checking', { name })}</p>
  if (checked.state === 'fails' || checked.state === 'unchecked') {
    return (
      <section class={checked.state === 'fails' ? 'notice bad' : 'notice warn'} role="alert">
        <h2>{t(`auditor.check.${checked.state}`)}</h2>
        <p class="file-name">{name}</p>
        <p>{checked.why}</p>
      </section>
    )
  }
  return (
    <section class="notice good">
      <h2>{t('auditor.check.holds')}</h2>
      <p class="file-name">{name}</p>
      <ProofLines lines={linesOf(checked.file)} steps={checked.file.steps} />
    </section>
  )
}

/** Checks files. */
export function CheckScreen(): JSX.Element {
  const [checked, setChecked] = useState<Checked>()
  const [isOver, setOver] = useState(false)
  const turn = useRef(0)
  const take = async (file: File | undefined): Promise<void> => {
    if (file === undefined) return
    const mine = ++turn.current
    setChecked({ state: 'checking', name: file.name })
    const result = await check(file)
    if (mine === turn.current) setChecked(result)
  }
  return (
    <div class="narrow">
      <h1>{t('auditor.check')}</h1>
      <p>{t('auditor.check.what')}</p>
      <section
        class={`card drop ${isOver ? 'over' : ''}`}
        aria-label={t('auditor.check.file')}
        onDragOver={(event) => {
          event.preventDefault()
          setOver(true)
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault()
          setOver(false)
          void take(event.dataTransfer?.files[0])
        }}
      >
        <label>
          {t('auditor.check.file')}
          <input
            type="file"
            onChange={(event) => {
              void take(event.currentTarget.files?.[0])
              // The same file again is a change, too.
              event.currentTarget.value = ''
            }}
          />
        </label>
        <p class="soft">{t('auditor.check.drop')}</p>
      </section>
      <div aria-live="polite">{checked !== undefined && <Outcome checked={checked} />}</div>
    </div>
  )
}
