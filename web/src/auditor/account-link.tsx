/** An account by its name. */
import type { JSX } from 'preact'
import { useContext } from 'preact/hooks'
import { hrefOf } from '../frame/router.ts'
import { Names } from './names.ts'

/** A name of an account, or the begin of its code where the directory has none; it leads to the account. */
export function AccountLink(props: { account: string }): JSX.Element {
  const name = useContext(Names).get(props.account)
  return (
    <a href={hrefOf(['explorer', 'account', props.account])} title={props.account}>
      {name === undefined ? <code class="short">{props.account.slice(0, 12)}…</code> : <bdi>{name}</bdi>}
    </a>
  )
}
