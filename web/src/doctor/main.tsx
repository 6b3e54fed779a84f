import '../frame/theme.css'
import './doctor.css'
import type { JSX } from 'preact'
import { useEffect } from 'preact/hooks'
import type { SessionView } from '../frame/api.ts'
import { Live } from '../frame/live.ts'
import { NoSuchPlace, StaleBanner } from '../frame/notice.tsx'
import { useNow } from '../frame/now.ts'
import { type Resource, useResource } from '../frame/resource.ts'
import { usePlace } from '../frame/router.ts'
import { SecondFactorScreen } from '../frame/second-factor.tsx'
import { type NavigationItem, Shell, startPortal } from '../frame/shell.tsx'
import { StandingBanner } from '../frame/standing.tsx'
import { t } from '../frame/texts.ts'
import { type Alarm, eventTypes, type PatientSummary } from './model.ts'
import { waitingCount } from './order.ts'
import { PatientScreen } from './patient.tsx'
import { Patients } from './patients.tsx'
import { PrintScreen } from './print.tsx'
import { RefusedScreen, UnreadScreen } from './refused.tsx'
import { Worklist } from './worklist.tsx'

const live = new Live('/v1/events', eventTypes)

function Screen(props: {
  session: SessionView
  alarms: Resource<readonly Alarm[]>
  patients: Resource<readonly PatientSummary[]>
}): JSX.Element {
  const { session, alarms, patients } = props
  const [first, second, third, fourth] = usePlace().path
  if (first === undefined) return <Worklist {...{ doctor: session.name, live, alarms, patients }} />
  if (first === 'patients' && second === undefined) return <Patients patients={patients} />
  if (first === 'patients' && second !== undefined && third === 'print' && fourth !== undefined) {
    const summary = patients.value?.find(({ patient }) => patient === second)
    return <PrintScreen {...{ patient: second, id: fourth, doctor: session.name, summary }} />
  }
  if (first === 'patients' && second !== undefined)
    return <PatientScreen key={second} {...{ patient: second, doctor: session.name, live, alarms, patients }} />
  if (first === 'refused') return <RefusedScreen {...{ live, patients }} />
  if (first === 'unread') return <UnreadScreen {...{ live, patients }} />
  if (first === 'security') return <SecondFactorScreen />
  return <NoSuchPlace />
}

function Portal(props: { session: SessionView }): JSX.Element {
  const { session } = props
  useEffect(() => {
    live.start()
    return () => live.stop()
  }, [])
  const nowMs = useNow()
  const alarms = useResource<readonly Alarm[]>('/v1/alarms?open=true', { live, on: ['alarm'], everyMs: 60_000 })
  const patients = useResource<readonly PatientSummary[]>('/v1/patients/summary', {
    ...{ live, on: ['grant', 'alarm', 'diagnosis'], everyMs: 30_000 },
  })
  const navigation: NavigationItem[] = [
    { path: [], label: t('doctor.worklist'), count: waitingCount(alarms.value ?? [], nowMs) },
    { path: ['patients'], label: t('doctor.patients') },
    { path: ['refused'], label: t('doctor.refused') },
    { path: ['unread'], label: t('doctor.unread') },
    { path: ['security'], label: t('doctor.login') },
  ]
  return (
    <Shell
      session={session}
      navigation={navigation}
      banner={
        <>
          <StaleBanner live={live} />
          <StandingBanner live={live} path="/v1/standing" reader="doctor" />
        </>
      }
    >
      <Screen {...{ session, alarms, patients }} />
    </Shell>
  )
}

void startPortal({
  title: () => t('title.doctor'),
  nameLabel: () => t('login.name'),
  body: (session) => <Portal session={session} />,
})
