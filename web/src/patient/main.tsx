import '../frame/theme.css'
import './patient.css'
import type { JSX } from 'preact'
import { useEffect, useMemo } from 'preact/hooks'
import type { SessionView } from '../frame/api.ts'
import type { FactorView } from '../frame/evidence.tsx'
import { Live } from '../frame/live.ts'
import { NoSuchPlace, StaleBanner } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { type Place, usePlace } from '../frame/router.ts'
import { Shell, startPortal } from '../frame/shell.tsx'
import { StandingBanner } from '../frame/standing.tsx'
import { t } from '../frame/texts.ts'
import { AccessScreen } from './access.tsx'
import { lazy } from './lazy.tsx'
import type { Alarm, Contact, Directory, Security } from './model.ts'
import { type Patient, PatientContext } from './node.ts'
import { EndedScreen } from './revoke.tsx'
import { isolated } from './words.ts'

const GiveScreen = lazy(async () => (await import('./give.tsx')).GiveScreen)
const LooksScreen = lazy(async () => (await import('./looks.tsx')).LooksScreen)
const SafetyScreen = lazy(async () => (await import('./safety.tsx')).SafetyScreen)
const DevicesScreen = lazy(async () => (await import('./devices.tsx')).DevicesScreen)
const TimelineScreen = lazy(async () => (await import('./timeline.tsx')).TimelineScreen)
const HeartScreen = lazy(async () => (await import('./heart.tsx')).HeartScreen)
const FindingsScreen = lazy(async () => (await import('./findings.tsx')).FindingsScreen)
const FindingPaper = lazy(async () => (await import('./findings.tsx')).FindingPaper)
const MyDataScreen = lazy(async () => (await import('./my-data.tsx')).MyDataScreen)
const EraseScreen = lazy(async () => (await import('./erase.tsx')).EraseScreen)
const ErasedScreen = lazy(async () => (await import('./erased.tsx')).ErasedScreen)
const ReceiptScreen = lazy(async () => (await import('./receipt.tsx')).ReceiptScreen)

const eventTypes = ['reading', 'diagnosis', 'alarm', 'revocation', 'grant', 'look']

function Screen({ path, query }: Place): JSX.Element {
  const [name, id] = path
  switch (name) {
    case undefined:
      return <AccessScreen />
    case 'ended':
      return <EndedScreen key={id} transactionId={id ?? ''} />
    case 'receipt':
      return <ReceiptScreen key={id} transactionId={id ?? ''} />
    case 'looks':
      return <LooksScreen key={id} reader={id} />
    case 'give':
      return <GiveScreen />
    case 'heart':
      return <HeartScreen />
    case 'findings':
      return <FindingsScreen />
    case 'finding':
      return <FindingPaper key={`${id} ${query.key}`} transactionId={id ?? ''} episodeKey={query.key ?? ''} />
    case 'devices':
      return <DevicesScreen />
    case 'timeline':
      return <TimelineScreen />
    case 'data':
      return <MyDataScreen />
    case 'erase':
      return <EraseScreen />
    case 'erased':
      return <ErasedScreen key={id} transactionId={id ?? ''} isRepeated={query.again === '1'} />
    case 'safety':
      return <SafetyScreen />
    default:
      return <NoSuchPlace />
  }
}

/** Names of people: her own first, then what the organisations' cards say. */
function useNames(base: string): Pick<Patient, 'nameOf' | 'contactOf' | 'reloadNames'> {
  const own = useResource<readonly { account: string; name: string }[]>(`${base}/contacts`)
  const directory = useResource<Directory>(`${base}/directory`)
  return useMemo(() => {
    const names = new Map(own.value?.map(({ account, name }) => [account, name]))
    const contacts = new Map<string, Contact>(directory.value?.found.map((contact) => [contact.account, contact]))
    return {
      nameOf: (account) => isolated(names.get(account) ?? contacts.get(account)?.name ?? t('patient.unnamed')),
      contactOf: (account) => contacts.get(account),
      reloadNames: () => {
        void own.reload()
        void directory.reload()
      },
    }
  }, [own.value, directory.value])
}

function PatientPortal(props: { session: SessionView }): JSX.Element {
  const { session } = props
  const place = usePlace()
  const base = `/v1/people/${encodeURIComponent(session.name)}`
  const live = useMemo(() => new Live('/v1/events', eventTypes), [session])
  useEffect(() => {
    live.start()
    return () => live.stop()
  }, [live])
  const names = useNames(base)
  const security = useResource<Security>(`${base}/security`)
  const factor = useResource<FactorView>(`${base}/second-factor`)
  const alarms = useResource<readonly Alarm[]>(`${base}/alarms`, { live, on: ['alarm'], everyMs: 30_000 })
  const open = alarms.value?.filter(({ acknowledged }) => !acknowledged).length ?? 0
  const patient: Patient = { session, live, base, security, factor, alarms, ...names }
  const at = place.path.join('/')
  useEffect(() => window.scrollTo(0, 0), [at])
  return (
    <Shell
      session={session}
      navigation={[
        { path: [], label: t('patient.access') },
        { path: ['heart'], label: t('patient.heart') },
        { path: ['findings'], label: t('patient.findings'), count: open },
        { path: ['devices'], label: t('patient.devices') },
        { path: ['timeline'], label: t('patient.timeline') },
        { path: ['data'], label: t('patient.data') },
        { path: ['safety'], label: t('patient.safety') },
      ]}
      banner={
        <>
          <StaleBanner live={live} />
          <StandingBanner live={live} path={`${base}/standing`} reader="patient" />
        </>
      }
    >
      <PatientContext.Provider value={patient}>
        <Screen {...place} />
      </PatientContext.Provider>
    </Shell>
  )
}

void startPortal({
  title: () => t('title.patient'),
  nameLabel: () => t('login.name'),
  body: (session) => <PatientPortal key={session.name} session={session} />,
})
