import '../frame/theme.css'
import './auditor.css'
import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import type { SessionView } from '../frame/api.ts'
import { Live } from '../frame/live.ts'
import { NoSuchPlace, StaleBanner } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf, usePlace } from '../frame/router.ts'
import { loginFactorPath, SecondFactorScreen } from '../frame/second-factor.tsx'
import { type NavigationItem, Shell, startPortal } from '../frame/shell.tsx'
import { t } from '../frame/texts.ts'
import { AuditPage, AuditScreen } from './audit-screen.tsx'
import { CheckScreen } from './check-screen.tsx'
import { ExplorerScreen } from './explorer-screen.tsx'
import { IncidentsScreen } from './incidents-screen.tsx'
import type { Incident } from './model.ts'
import { NodesScreen } from './nodes-screen.tsx'
import { PeopleScreen } from './people-screen.tsx'

const live = new Live('/v1/events', ['head', 'incident', 'audit'])

function Screen(props: {
  session: SessionView
  incidents: ReturnType<typeof useResource<readonly Incident[]>>
}): JSX.Element {
  const { path } = usePlace()
  const [first, second] = path
  if (first === undefined) return <AuditScreen live={live} />
  if (first === 'audits' && second !== undefined) return <AuditPage number={second} live={live} />
  if (first === 'nodes') return <NodesScreen live={live} />
  if (first === 'people') return <PeopleScreen live={live} role={props.session.role} owner={props.session.name} />
  if (first === 'check') return <CheckScreen />
  if (first === 'login') return <SecondFactorScreen />
  if (first === 'explorer') return <ExplorerScreen live={live} />
  if (first === 'incidents') return <IncidentsScreen incidents={props.incidents} role={props.session.role} />
  return <NoSuchPlace />
}

function Portal(props: { session: SessionView }): JSX.Element {
  const { session } = props
  const { path } = usePlace()
  useEffect(() => {
    live.start()
    return () => live.stop()
  }, [])
  const incidents = useResource<readonly Incident[]>('/v1/incidents', { live, on: ['incident'], everyMs: 60_000 })
  const open = incidents.value?.filter(({ acknowledged }) => acknowledged === null).length ?? 0
  const isAdministrator = session.role === 'administrator'
  const factor = useResource<{ on: boolean }>(isAdministrator ? loginFactorPath : undefined, {
    live,
    on: [],
  })
  const banner = (
    <>
      <StaleBanner live={live} />
      {factor.value?.on === false && path[0] !== 'login' && (
        <aside class="banner late" aria-label={t('factor.title')}>
          {t('auditor.factor.nag')} <a href={hrefOf(['login'])}>{t('factor.begin')}</a>
        </aside>
      )}
    </>
  )
  const navigation: NavigationItem[] = [
    { path: [], label: t('auditor.nav.audit') },
    { path: ['nodes'], label: t('auditor.nav.nodes') },
    { path: ['explorer'], label: t('auditor.nav.explorer') },
    { path: ['check'], label: t('auditor.nav.check') },
    { path: ['incidents'], label: t('auditor.nav.incidents'), count: open },
    ...(isAdministrator ? [{ path: ['people'], label: t('auditor.nav.people') }] : []),
    { path: ['login'], label: t('auditor.nav.security') },
  ]
  return (
    <Shell session={session} navigation={navigation} banner={banner}>
      <Screen session={session} incidents={incidents} />
    </Shell>
  )
}

void startPortal({
  title: () => t('title.auditor'),
  nameLabel: () => t('login.name'),
  body: (session) => <Portal session={session} />,
})
