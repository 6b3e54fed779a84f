/** A notification of the browser for a new alarm: only for who asked for it, and without a name, a value or a diagnosis. */
import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Live } from '../frame/live.ts'
import { t } from '../frame/texts.ts'

const storageKey = 'healthblock.doctor.notify'
const toldSteps: readonly unknown[] = ['began', 'rose', 'escalated']

function isWanted(): boolean {
  return 'Notification' in window && Notification.permission === 'granted' && localStorage.getItem(storageKey) === '1'
}

/** A button that turns it on and off. */
export function NotifyButton(props: { live: Live }): JSX.Element | null {
  const [isOn, setOn] = useState(isWanted())
  const [isDenied, setDenied] = useState(false)
  useEffect(() => {
    if (!isOn) return undefined
    return props.live.listen((event) => {
      if (event?.type !== 'alarm' || !toldSteps.includes(event.step) || document.visibilityState === 'visible') return
      new Notification('HealthBlock', { body: t('doctor.notify.body'), tag: 'healthblock-alarm' })
    })
  }, [isOn, props.live])
  if (!('Notification' in window)) return null
  const toggle = async (): Promise<void> => {
    const next = !isOn && (await Notification.requestPermission()) === 'granted'
    setDenied(!isOn && !next)
    localStorage.setItem(storageKey, next ? '1' : '0')
    setOn(next)
  }
  return (
    <>
      <button type="button" aria-pressed={isOn} onClick={() => void toggle()}>
        {t(isOn ? 'doctor.notify.on' : 'doctor.notify.off')}
      </button>
      {isDenied && <span class="soft">{t('doctor.notify.denied')}</span>}
    </>
  )
}
