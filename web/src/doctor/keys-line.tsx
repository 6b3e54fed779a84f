/** Says which keys a screen has, and lets the reader turn them off. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { type TextKey, t } from '../frame/texts.ts'
import { areKeysOn, setKeysOn } from './keys.ts'

/** The foot of a screen with keys. */
export function KeysLine(props: { words: TextKey }): JSX.Element {
  const [isOn, setOn] = useState(areKeysOn())
  return (
    <p class="soft keys">
      {isOn ? t(props.words) : t('doctor.keys.off')}{' '}
      <button
        type="button"
        class="link"
        onClick={() => {
          setKeysOn(!isOn)
          setOn(!isOn)
        }}
      >
        {t(isOn ? 'doctor.keys.turnoff' : 'doctor.keys.turnon')}
      </button>
    </p>
  )
}
