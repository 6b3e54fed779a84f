/** Screens that are loaded when they are first looked at. */
import type { FunctionComponent, JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { messageFor } from '../frame/notice.tsx'
import { t } from '../frame/texts.ts'

/** A screen behind an import; one that cannot be loaded says so and can be tried again. */
export function lazy<P extends object>(load: () => Promise<FunctionComponent<P>>): FunctionComponent<P> {
  let loaded: FunctionComponent<P> | undefined
  return function Lazy(props: P): JSX.Element {
    const [, setTurn] = useState(0)
    const [error, setError] = useState<string>()
    const [tries, setTries] = useState(0)
    useEffect(() => {
      if (loaded !== undefined) return
      load().then(
        (component) => {
          loaded = component
          setTurn((turn) => turn + 1)
        },
        (cause: unknown) => setError(messageFor(cause)),
      )
    }, [tries])
    if (loaded !== undefined) {
      const Component = loaded
      return <Component {...props} />
    }
    if (error === undefined) return <p class="waiting">{t('loading')}</p>
    return (
      <div class="notice bad" role="alert">
        <p>{error}</p>
        <button
          type="button"
          onClick={() => {
            setError(undefined)
            setTries(tries + 1)
          }}
        >
          {t('retry')}
        </button>
      </div>
    )
  }
}
