/** How every node of the consortium stands, each with the age of what is known of it. */
import type { JSX } from 'preact'
import type { Live } from '../frame/live.ts'
import { Shown } from '../frame/notice.tsx'
import { type Resource, useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatAgo } from '../frame/time.ts'
import { type ChainName, chainNames, type Evidence, type NodesView, type NodeView, type StoreView } from './model.ts'
import { accusedRanks, needAttention } from './verdict.ts'
import { chainWords, count, secondsWords } from './words.ts'

/** How often the nodes are asked while somebody looks. */
const everyMs = 3_000

function numberOr(value: number | null): string {
  return value === null ? '–' : count(value)
}

/** The answer: who is not well, or did wrong. */
function Verdict(props: { view: NodesView; accused: ReadonlySet<number> }): JSX.Element {
  const names = needAttention(props.view, props.accused)
  const isGood = names.length === 0
  const members = props.view.nodes.filter(({ isMember }) => isMember)
  return (
    <div class={`verdict ${isGood ? 'good' : 'bad'}`}>
      <h1>
        {isGood
          ? t('auditor.nodes.well', { count: members.length })
          : t('auditor.nodes.unwell', { count: names.length, names: names.join(', ') })}
      </h1>
    </div>
  )
}

/** One ledger across the nodes: its leader as most see it, and where it stands. */
function ChainCard(props: { chain: ChainName; nodes: readonly NodeView[] }): JSX.Element {
  const { chain, nodes } = props
  const members = nodes.filter(({ isMember }) => isMember)
  const figures = members.flatMap(({ chains, fault }) => (chains === null || fault !== null ? [] : [chains[chain]]))
  const leader = members.find(({ chains, fault }) => fault === null && chains?.[chain].leads === true)
  const heights = figures.flatMap(({ height }) => (height === null ? [] : [height]))
  const top = Math.max(-1, ...heights)
  const behind = heights.filter((height) => top - height > 2).length
  const [first] = figures
  const lag = Math.max(0, ...figures.map(({ anchorLagSeconds }) => anchorLagSeconds ?? 0))
  const queue = Math.max(0, ...figures.map(({ queue: jobs }) => jobs ?? 0))
  return (
    <section class="card" aria-label={chainWords(chain)}>
      <h2>{chainWords(chain)}</h2>
      <dl class="figures">
        <div>
          <dt>{t('auditor.leader')}</dt>
          <dd>{leader?.name ?? t('auditor.leader.none')}</dd>
        </div>
        <div>
          <dt>{t('auditor.term')}</dt>
          <dd>{numberOr(first === undefined ? null : Math.max(...figures.map(({ term }) => term ?? 0)))}</dd>
        </div>
        <div>
          <dt>{t('auditor.height')}</dt>
          <dd>{numberOr(top < 0 ? null : top)}</dd>
        </div>
        <div>
          <dt>{t('auditor.behind')}</dt>
          <dd>{count(behind)}</dd>
        </div>
        <div>
          <dt>{t('auditor.queue')}</dt>
          <dd>{count(queue)}</dd>
        </div>
        {chain === 'docchain' && (
          <div>
            <dt>{t('auditor.anchorlag')}</dt>
            <dd>{secondsWords(lag)}</dd>
          </div>
        )}
      </dl>
    </section>
  )
}

/** Why somebody does not answer, and how old the figures are that are shown all the same, if there are any. */
function faultWords(fault: string, heard: number | null): string {
  return heard === null ? t('auditor.node.fault.never', { fault }) : t('auditor.node.fault', { fault })
}

function heardWords(heard: number | null): string {
  return heard === null ? t('auditor.heard.never') : t('auditor.heard', { ago: formatAgo(heard) })
}

function NodeFigures(props: { node: NodeView }): JSX.Element | null {
  const { chains } = props.node
  if (chains === null) return null
  const rows = [
    ['auditor.height', (chain: ChainName) => numberOr(chains[chain].height)],
    ['auditor.role', (chain: ChainName) => t(chains[chain].leads ? 'auditor.role.leads' : 'auditor.role.follows')],
    ['auditor.promised', (chain: ChainName) => numberOr(chains[chain].promised)],
    ['auditor.cosigned', (chain: ChainName) => secondsWords(chains[chain].cosignedAgeSeconds)],
  ] as const
  return (
    <table class="compact">
      <thead>
        <tr>
          <th scope="col">
            <span class="hidden">{t('auditor.figure')}</span>
          </th>
          {chainNames.map((chain) => (
            <th scope="col" key={chain}>
              {chainWords(chain)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map(([key, of]) => (
          <tr key={key}>
            <th scope="row">{t(key)}</th>
            {chainNames.map((chain) => (
              <td key={chain}>{of(chain)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function NodeCard(props: { node: NodeView; isAccused: boolean }): JSX.Element {
  const { node, isAccused } = props
  const state = node.fault !== null ? 'away' : node.ready === true ? 'ready' : 'notready'
  const failing = node.checks.filter(({ ready }) => !ready)
  return (
    <section class={`card node ${state}`} aria-label={node.name}>
      <div class="row">
        <h3>{node.name}</h3>
        {node.isMember ? (
          <span class={`tag ${state === 'ready' ? 'good' : 'bad'}`}>{t(`auditor.node.${state}`)}</span>
        ) : (
          <span class="tag">{t('auditor.node.apart')}</span>
        )}
      </div>
      <p class="soft">
        {heardWords(node.heard)}
        {node.isSelf && ` · ${t('auditor.node.self')}`}
      </p>
      {isAccused && <p class="notice bad">{t('auditor.node.accused')}</p>}
      {node.fault !== null && <p class={node.isMember ? 'notice bad' : 'soft'}>{faultWords(node.fault, node.heard)}</p>}
      {failing.map(({ name, reason }) => (
        <p class="notice late" key={name} lang="en">
          {name}: {reason}
        </p>
      ))}
      <NodeFigures node={node} />
      {(node.openIncidents ?? 0) > 0 && (
        <p>
          {node.isSelf ? (
            <a href={hrefOf(['incidents'])}>{t('auditor.node.incidents', { count: node.openIncidents ?? 0 })}</a>
          ) : (
            t('auditor.node.incidents.there', { count: node.openIncidents ?? 0 })
          )}
        </p>
      )}
      {node.checks.length > 0 && (
        <details>
          <summary>
            {t('auditor.checks', { count: node.checks.length, good: node.checks.length - failing.length })}
          </summary>
          <ul class="checks" lang="en">
            {node.checks.map(({ name, ready }) => (
              <li key={name}>
                {ready ? '✓' : '✗'} {name}
              </li>
            ))}
          </ul>
        </details>
      )}
    </section>
  )
}

function StoreCard(props: { store: StoreView }): JSX.Element {
  const { store } = props
  const isBad = store.fault !== null || (store.below ?? 0) > 0
  return (
    <section class="card node" aria-label={store.name}>
      <div class="row">
        <h3>{store.name}</h3>
        <span class={`tag ${isBad ? 'bad' : 'good'}`}>
          {t(store.fault !== null ? 'auditor.node.away' : isBad ? 'auditor.store.below' : 'auditor.store.well')}
        </span>
      </div>
      <p class="soft">{heardWords(store.heard)}</p>
      {store.fault !== null && <p class="notice bad">{faultWords(store.fault, store.heard)}</p>}
      <dl class="figures">
        <div>
          <dt>{t('auditor.store.blocks')}</dt>
          <dd>{numberOr(store.blocks)}</dd>
        </div>
        <div>
          <dt>{t('auditor.store.few', { replicas: numberOr(store.replicas) })}</dt>
          <dd>{store.below === null ? t('auditor.store.notcompared') : count(store.below)}</dd>
        </div>
        <div>
          <dt>{t('auditor.store.handoffs')}</dt>
          <dd>{numberOr(store.handoffs)}</dd>
        </div>
        <div>
          <dt>{t('auditor.store.peers')}</dt>
          <dd>{numberOr(store.peers)}</dd>
        </div>
      </dl>
    </section>
  )
}

/** Who did it: by the name that the node has here, its account one look away; of a removed one the account. */
function Culprit(props: { evidence: Evidence; nodes: readonly NodeView[] }): JSX.Element {
  const { node, rank } = props.evidence
  if (node === null) return <>{t('auditor.evidence.waiting')}</>
  const name = props.nodes.find((one) => one.rank === rank)?.name
  return name === undefined ? <code>{node}</code> : <abbr title={node}>{name}</abbr>
}

function EvidenceCard(props: { resource: Resource<readonly Evidence[]>; nodes: readonly NodeView[] }): JSX.Element {
  const { resource, nodes } = props
  return (
    <section class="card" aria-label={t('auditor.evidence')}>
      <h2>{t('auditor.evidence')}</h2>
      <Shown resource={resource} isEmpty={(list) => list.length === 0} empty={t('auditor.evidence.none')}>
        {(list) => (
          <ul>
            {list.map((evidence, at) => {
              const { chain, kind, index, settled } = evidence
              return (
                <li key={`${kind} ${at}`}>
                  <strong>{t(`auditor.evidence.${kind}` as 'auditor.evidence.equivocation')}</strong> ·{' '}
                  <Culprit evidence={evidence} nodes={nodes} /> · {chainWords(chain)}{' '}
                  {index !== null && (
                    <a href={hrefOf(['explorer', chain, 'entry', String(index)])}>
                      {t('auditor.place.entry', { index: count(index) })}
                    </a>
                  )}
                  {settled && <> · {t('auditor.evidence.settled')}</>}
                </li>
              )
            })}
          </ul>
        )}
      </Shown>
    </section>
  )
}

/** The nodes screen. */
export function NodesScreen(props: { live: Live }): JSX.Element {
  const { live } = props
  const resource = useResource<NodesView>('/v1/nodes', { live, on: ['incident'], everyMs })
  const evidence = useResource<readonly Evidence[]>('/v1/evidence', { live, on: [], everyMs: 30_000 })
  const accused = accusedRanks(evidence.value ?? [])
  return (
    <Shown resource={resource}>
      {(view) => (
        <>
          <Verdict view={view} accused={accused} />
          <div class="beside">
            {chainNames.map((chain) => (
              <ChainCard chain={chain} nodes={view.nodes} key={chain} />
            ))}
          </div>
          <h2>{t('auditor.nodes')}</h2>
          <div class="cards">
            {view.nodes.map((node) => (
              <NodeCard node={node} isAccused={accused.has(node.rank)} key={node.rank} />
            ))}
          </div>
          <h2>{t('auditor.storage')}</h2>
          {view.stores === null ? (
            <p class="notice late">{t('auditor.storage.unknown')}</p>
          ) : (
            <div class="cards">
              {view.stores.map((store) => (
                <StoreCard store={store} key={store.name} />
              ))}
            </div>
          )}
          <EvidenceCard resource={evidence} nodes={view.nodes} />
        </>
      )}
    </Shown>
  )
}
