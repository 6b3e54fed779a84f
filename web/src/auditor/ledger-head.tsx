/** How far a ledger goes, and who signed that: checked in the browser each time. */
import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { t } from '../frame/texts.ts'
import { formatInstant } from '../frame/time.ts'
import type { ChainName } from './model.ts'
import { useAsked } from './use-asked.ts'
import { chainWords, count } from './words.ts'

/** New blocks come in a bunch: it is asked again at most so often. */
const everyMs = 3_000

/** The newest summary of a ledger. */
export function LedgerHead(props: { chain: ChainName; live: Live }): JSX.Element {
  const { chain, live } = props
  const head = useAsked(chain, async () => (await import('./ledger-read.ts')).verifiedHead(chain))
  const { reload } = head
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined
    const stop = live.listen((event) => {
      if (timer !== undefined || (event !== undefined && (event.type !== 'head' || event.chain !== chain))) return
      timer = setTimeout(() => {
        timer = undefined
        void reload()
      }, everyMs)
    })
    return () => {
      clearTimeout(timer)
      stop()
    }
  }, [chain, live, reload])
  return (
    <section class="card" aria-label={t('auditor.head', { chain: chainWords(chain) })}>
      <Shown resource={head}>
        {({ size, root, signedBy, nodes, signedAtMs }) => (
          <>
            <dl class="figures">
              <div>
                <dt>{t('auditor.head.entries')}</dt>
                <dd>{count(size)}</dd>
              </div>
              <div>
                <dt>{t('auditor.head.signed')}</dt>
                <dd>{t('auditor.head.nodes', { signedBy, nodes })}</dd>
              </div>
              <div>
                <dt>{t('auditor.head.at')}</dt>
                <dd>{formatInstant(signedAtMs)}</dd>
              </div>
            </dl>
            <details>
              <summary>{t('auditor.head.checked')}</summary>
              <code>
                {t('auditor.root')} {root}
              </code>
            </details>
          </>
        )}
      </Shown>
    </section>
  )
}
