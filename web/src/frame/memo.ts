/** Draws a part again only when one of its properties changed: for long lists. */
import { Component, type ComponentChild, type FunctionComponent } from 'preact'

/** A component that is drawn anew when a property is another one than before (`Object.is`). */
export function memo<P extends object>(draw: (props: P) => ComponentChild): FunctionComponent<P> {
  class Memo extends Component<P> {
    override shouldComponentUpdate(next: Readonly<P>): boolean {
      const [before, after] = [this.props as Record<string, unknown>, next as Record<string, unknown>]
      const names = new Set([...Object.keys(before), ...Object.keys(after)])
      return [...names].some((name) => !Object.is(before[name], after[name]))
    }

    override render(): ComponentChild {
      return draw(this.props)
    }
  }
  return Memo as unknown as FunctionComponent<P>
}
