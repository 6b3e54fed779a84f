/** What an audit says: what was not checked stands beside what was found, and is as large. */
import type { JSX } from 'preact'
import { hrefOf } from '../frame/router.ts'
import { currentLanguage, t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { type Audit, chainNames, type Finding } from './model.ts'
import { saidUnchecked } from './unchecked.ts'
import { chainWords, count, findingTitle, placeWords } from './words.ts'

function FindingCard(props: { finding: Finding }): JSX.Element {
  const { finding } = props
  const { chain, index } = finding
  return (
    <li class="finding">
      <h3>{findingTitle(finding)}</h3>
      <p class="finding-place">
        {placeWords(finding).map((words) => (
          <span class="tag" key={words}>
            {words}
          </span>
        ))}
      </p>
      <p>
        {currentLanguage() !== 'en' && <span class="soft">{t('auditor.finding.sentence')} </span>}
        <span lang="en">
          <Sentence words={finding.message} />
        </span>
      </p>
      <p class="row soft">
        <code>{finding.code}</code>
        {finding.found !== undefined && <span>{formatMoment(finding.found)}</span>}
        {chain !== null && index !== null && (
          <a href={hrefOf(['explorer', chain, 'entry', String(index)])}>{t('auditor.finding.open')}</a>
        )}
      </p>
    </li>
  )
}

/** Findings, each with its place. */
export function Findings(props: { findings: readonly Finding[]; title: string; none: string }): JSX.Element {
  const { findings, title, none } = props
  return (
    <section class={findings.length === 0 ? 'card' : 'card has-findings'} aria-label={title}>
      <h2>
        {title} <span class="figure">{count(findings.length)}</span>
      </h2>
      {findings.length === 0 ? (
        <p class="none">{none}</p>
      ) : (
        <ul class="plain">
          {findings.map((finding, at) => (
            <FindingCard finding={finding} key={`${finding.code} ${at}`} />
          ))}
        </ul>
      )}
    </section>
  )
}

/** A sentence with long hashes cut short: whoever wants one whole points at it. */
function Sentence(props: { words: string }): JSX.Element {
  const parts = props.words.split(/([0-9a-f]{64})/)
  return (
    <>
      {parts.map((part, at) =>
        at % 2 === 1 ? (
          <abbr title={part} key={part}>
            {part.slice(0, 8)}…
          </abbr>
        ) : (
          part
        ),
      )}
    </>
  )
}

/** What nobody looked at; what has no words in the reader's language is told in the engine's own, in English. */
export function NotChecked(props: { sentences: readonly string[] }): JSX.Element {
  return (
    <section class="card not-checked" aria-label={t('auditor.notchecked')}>
      <h2>
        {t('auditor.notchecked')} <span class="figure">{count(props.sentences.length)}</span>
      </h2>
      <ul>
        {props.sentences.map((words) => {
          const said = saidUnchecked(words)
          return (
            <li key={words} lang={said === undefined ? 'en' : undefined}>
              <Sentence words={said ?? words} />
            </li>
          )
        })}
      </ul>
    </section>
  )
}

/** How far both ledgers were replayed. */
export function Replayed(props: { audit: Audit }): JSX.Element | null {
  const { report } = props.audit
  if (report === null) return null
  return (
    <section class="card" aria-label={t('auditor.replayed')}>
      <h2>{t('auditor.replayed')}</h2>
      <ul class="plain">
        {chainNames.map((chain) => {
          const { height, size } = report.chains[chain]
          return (
            <li key={chain}>
              {chainWords(chain)}: {t('auditor.replayed.to', { height: count(height), size: count(size) })}
            </li>
          )
        })}
      </ul>
      <details class="replayed">
        <summary>{t('details')}</summary>
        <dl class="facts">
          {chainNames.map((chain) => {
            const { root, stateRoot } = report.chains[chain]
            return (
              <div key={chain}>
                <dt>{chainWords(chain)}</dt>
                <dd>
                  <code>
                    {t('auditor.root')} {root}
                  </code>
                  <code>
                    {t('auditor.stateroot')} {stateRoot}
                  </code>
                </dd>
              </div>
            )
          })}
        </dl>
      </details>
    </section>
  )
}

/** Report of one audit: two columns where there is room. */
export function AuditResult(props: { audit: Audit }): JSX.Element {
  const { audit } = props
  const findings = audit.report?.findings ?? audit.findings
  return (
    <div class="beside">
      <div>
        <Findings findings={findings} title={t('auditor.findings')} none={t('auditor.findings.none')} />
        <Replayed audit={audit} />
      </div>
      {audit.report !== null && <NotChecked sentences={audit.report.notChecked} />}
    </div>
  )
}
