/** What is switched on, and when it was last heard. */
import type { JSX } from 'preact'
import { Failure, useAct } from '../frame/act.tsx'
import { call } from '../frame/api.ts'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { t } from '../frame/texts.ts'
import { formatAgo, formatMoment } from '../frame/time.ts'
import { LedgerDevices } from './ledger-devices.tsx'
import { usePatient } from './node.ts'
import { streamName } from './words.ts'

interface DeviceState {
  readonly streams: Readonly<Record<string, string>>
  readonly switchedOn: readonly { stream: string; since: string; heardAt: string; silent: boolean }[]
}

interface Extent {
  readonly kind: string
  readonly firstAt: string | null
  readonly lastAt: string | null
}

const switched = ['ecg', 'vitals'] as const
const refreshMs = 5_000

function DeviceCard(props: {
  kind: string
  on: DeviceState['switchedOn'][number] | undefined
  extent: Extent | undefined
  onTurned: () => Promise<void>
}): JSX.Element {
  const { base } = usePatient()
  const { kind, on, extent, onTurned } = props
  const { isBusy, error, act } = useAct(async () => {
    await call(`${base}/switches/${kind}`, { method: 'POST', body: { on: on === undefined } })
    await onTurned()
  })
  const lastAt = extent?.lastAt ?? null
  return (
    <li class="card">
      <div class="row">
        <h2>{streamName(kind)}</h2>
        <button
          type="button"
          role="switch"
          aria-checked={on !== undefined}
          aria-disabled={isBusy}
          onClick={() => void act()}
        >
          <span class="hidden">{streamName(kind)}: </span>
          {t(on === undefined ? 'patient.device.off' : 'patient.device.on')}
        </button>
      </div>
      {on === undefined ? (
        <p>{t('patient.device.offWords')}</p>
      ) : (
        <p>
          {t('patient.device.since', { since: formatMoment(on.since) })}{' '}
          {t('patient.device.heard', { ago: formatAgo(on.heardAt) })}
        </p>
      )}
      {on?.silent === true && <p class="notice bad">{t('patient.device.silent')}</p>}
      <p class="soft">
        {lastAt === null ? t('patient.device.never') : t('patient.device.last', { at: formatMoment(lastAt) })}
      </p>
      <Failure error={error} />
    </li>
  )
}

/** The devices of the person. */
export function DevicesScreen(): JSX.Element {
  const { base, live } = usePatient()
  const device = useResource<DeviceState>(`${base}/device`, { live, on: ['alarm'], everyMs: refreshMs })
  const extents = useResource<readonly Extent[]>(`${base}/streams`, { everyMs: refreshMs })
  return (
    <div class="narrow">
      <h1>{t('patient.devices')}</h1>
      <p>{t('patient.device.words')}</p>
      <Shown resource={device}>
        {(state) => (
          <ul class="plain">
            {switched.map((kind) => (
              <DeviceCard
                key={kind}
                kind={kind}
                on={state.switchedOn.find(({ stream }) => stream === kind)}
                extent={extents.value?.find((one) => one.kind === kind)}
                onTurned={device.reload}
              />
            ))}
          </ul>
        )}
      </Shown>
      <LedgerDevices />
    </div>
  )
}
