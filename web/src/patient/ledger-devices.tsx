/** Her devices as the ledger has them: one that her node did not add is somebody else's, who has its key. */
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { call } from '../frame/api.ts'
import { ConfirmDialog } from '../frame/dialog.tsx'
import { Shown } from '../frame/notice.tsx'
import { useResource } from '../frame/resource.ts'
import { hrefOf } from '../frame/router.ts'
import { t } from '../frame/texts.ts'
import { formatMoment } from '../frame/time.ts'
import { onLedger } from './ledger-act.ts'
import { usePatient } from './node.ts'

interface LedgerDevice {
  readonly device: string
  readonly isOwn: boolean
  readonly state: 'in force' | 'removing' | 'removed'
  readonly addedAt: string
  readonly streams: readonly { readonly records: number }[]
}

const refreshMs = 30_000

function RemoveDialog(props: {
  device: LedgerDevice
  onClose: () => void
  onRemoved: () => Promise<void>
}): JSX.Element {
  const { base } = usePatient()
  const { device, onClose, onRemoved } = props
  return (
    <ConfirmDialog
      title={t('patient.devices.removeTitle')}
      action={t('patient.devices.removeAction')}
      isDanger
      onClose={onClose}
      onConfirm={async () => {
        await onLedger(base, 'device.counter', async () => {
          const path = `${base}/devices/${device.device}`
          return (await call<{ transactionId: string }>(path, { method: 'DELETE' })).transactionId
        })
        await onRemoved()
        onClose()
      }}
    >
      <p>{t('patient.devices.removeWhat')}</p>
      <p>{t('patient.devices.removeForever')}</p>
    </ConfirmDialog>
  )
}

function Row(props: { device: LedgerDevice; onAsk: () => void }): JSX.Element {
  const { device, onAsk } = props
  const at = formatMoment(device.addedAt)
  const count = device.streams.reduce((sum, { records }) => sum + records, 0)
  if (device.isOwn)
    return (
      <li>
        <p>{t('patient.devices.own', { at })}</p>
        {device.state === 'removed' && <p class="notice bad">{t('patient.devices.ownRemoved')}</p>}
      </li>
    )
  return (
    <li class="row">
      <p class="notice bad">{t('patient.devices.foreign', { at, count })}</p>
      {device.state === 'removing' ? (
        <span class="soft">{t('patient.devices.removing')}</span>
      ) : (
        <button type="button" class="danger" onClick={onAsk}>
          {t('patient.devices.remove')}
        </button>
      )}
    </li>
  )
}

/** The list, and the way to end what is not hers. */
export function LedgerDevices(): JSX.Element {
  const { base, live } = usePatient()
  const devices = useResource<readonly LedgerDevice[]>(`${base}/devices`, { live, on: ['alarm'], everyMs: refreshMs })
  const [asked, setAsked] = useState<LedgerDevice>()
  return (
    <section class="card">
      <h2>{t('patient.devices.ledger')}</h2>
      <Shown resource={devices}>
        {(list) => (
          <>
            {list.some(({ isOwn }) => !isOwn) && (
              <p>
                {t('patient.devices.keyFirst')} <a href={hrefOf(['safety'])}>{t('patient.key.title')}</a>
              </p>
            )}
            <ul class="plain">
              {list.map((device) => (
                <Row key={device.device} device={device} onAsk={() => setAsked(device)} />
              ))}
            </ul>
          </>
        )}
      </Shown>
      {asked !== undefined && (
        <RemoveDialog device={asked} onClose={() => setAsked(undefined)} onRemoved={devices.reload} />
      )}
    </section>
  )
}
