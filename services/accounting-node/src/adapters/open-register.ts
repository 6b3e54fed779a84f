import type { AccountingConfig } from '../config.ts'
import type { HeadRegister } from '../core/ports.ts'
import { openEtcdRegister } from './etcd-register.ts'
import { openSqliteRegister } from './sqlite-register.ts'

/** A register that holds files or connections. */
export interface OpenRegister extends HeadRegister {
  close(): void
}

/** Opens the register that `ACCOUNTING_REGISTER` names: `sqlite:PATH`, or `etcd:` and the members' URLs with commas between. */
export function openRegister({ settings, secrets, genesis }: AccountingConfig): OpenRegister {
  const at = settings.register.indexOf(':')
  const place = settings.register.slice(at + 1)
  if (settings.register.startsWith('sqlite:')) return openSqliteRegister(place)
  const { etcd } = secrets
  const user = settings.etcdUser ?? `accounting-${settings.rank ?? 'node'}`
  return openEtcdRegister({
    ledgerId: genesis.ledgerId,
    endpoints: place.split(','),
    ...(etcd.password === undefined ? {} : { credentials: { user, password: etcd.password } }),
    ...(etcd.tls === undefined ? {} : { tls: etcd.tls }),
  })
}
