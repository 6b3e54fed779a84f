/** Questions that are asked once, in words that say what will happen. */
import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useId, useRef } from 'preact/hooks'
import { Failure, useAct } from './act.tsx'
import { t } from './texts.ts'

/** A modal dialog (native: focus is kept inside, Escape closes it). */
export function Dialog(props: {
  title: string
  onClose: () => void
  children: ComponentChildren
  isWide?: boolean
}): JSX.Element {
  const element = useRef<HTMLDialogElement>(null)
  const titleId = useId()
  useEffect(() => {
    const dialog = element.current
    const before = document.activeElement
    dialog?.showModal()
    return () => {
      dialog?.close()
      if (before instanceof HTMLElement) before.focus()
    }
  }, [])
  return (
    <dialog
      ref={element}
      class={props.isWide === true ? 'dialog wide' : 'dialog'}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault()
        props.onClose()
      }}
    >
      <header class="dialog-head">
        <h2 id={titleId}>{props.title}</h2>
        <button type="button" class="icon" aria-label={t('close')} onClick={props.onClose}>
          ×
        </button>
      </header>
      {props.children}
    </dialog>
  )
}

/** Asks before something that matters; while it is done the button says so and cannot be pressed twice. */
export function ConfirmDialog(props: {
  title: string
  action: string
  isDanger?: boolean
  onConfirm: () => Promise<void>
  onClose: () => void
  children: ComponentChildren
}): JSX.Element {
  const { isBusy, error, act } = useAct(props.onConfirm)
  return (
    <Dialog title={props.title} onClose={() => !isBusy && props.onClose()}>
      <div class="dialog-body">{props.children}</div>
      <Failure error={error} />
      <footer class="dialog-foot">
        <button type="button" onClick={props.onClose} disabled={isBusy}>
          {t('cancel')}
        </button>
        <button
          type="button"
          class={props.isDanger === true ? 'danger' : 'primary'}
          onClick={() => void act()}
          aria-disabled={isBusy}
        >
          {isBusy ? t('working') : props.action}
        </button>
      </footer>
    </Dialog>
  )
}
