/**
 * The head register in etcd, for clusters of several hosts. Reads are linearizable (etcd's default: a quorum of members confirms
 * them), compare-and-set is one transaction on the whole value. No locks and no leases: a decision never depends on a clock of etcd's.
 * A request that is not answered in time is unknown; the core reads again before it does anything.
 */
import type { ChainName } from '@healthblock/chain/chains'
import { toHex } from '@healthblock/encoding/bytes'
import { messageOf } from '@healthblock/runtime/errors'
import { EtcdClient, type EtcdOptions, etcdBytes } from '@healthblock/runtime/etcd'
import type { HeadRegister } from '../core/ports.ts'
import { AccountingError } from '../errors.ts'

/** How long one member may take: a leader's election takes etcd about a second. */
const timeoutMs = 1_500

/** A register and its connections. */
export interface EtcdRegister extends HeadRegister {
  close(): void
}

/** Prefix of all keys of a ledger: what a node's role at etcd must be allowed to read and write. */
export function registerPrefix(ledgerId: Uint8Array): string {
  return `/healthblock/${toHex(ledgerId)}/`
}

interface RangeAnswer {
  readonly kvs?: readonly { readonly value?: string }[]
}

/** Opens the register; nothing is sent before the first call. */
export function openEtcdRegister(options: Omit<EtcdOptions, 'timeoutMs'> & { ledgerId: Uint8Array }): EtcdRegister {
  const client = new EtcdClient({ ...options, timeoutMs })
  const prefix = registerPrefix(options.ledgerId)
  const keyOf = (chain: ChainName): string => etcdBytes(`${prefix}${chain}`)
  const call = async <T>(path: string, message: Record<string, unknown>, repeatable: boolean): Promise<T> => {
    try {
      return (await client.call(path, message, { repeatable })) as T
    } catch (cause) {
      const reason = messageOf(cause)
      throw new AccountingError(`head register: ${reason}`, { code: 'ERR_REGISTER_FAILED', reason }, { cause })
    }
  }
  return {
    async read(chain) {
      const { kvs } = await call<RangeAnswer>('/v3/kv/range', { key: keyOf(chain) }, true)
      const [found] = kvs ?? []
      return found === undefined ? undefined : new Uint8Array(Buffer.from(found.value ?? '', 'base64'))
    },
    async cas(chain, expected, next) {
      const key = keyOf(chain)
      // An absent key was never created; a value that is compared makes a key that is absent unequal.
      const condition =
        expected === undefined
          ? { target: 'CREATE', create_revision: '0' }
          : { target: 'VALUE', value: etcdBytes(expected) }
      const transaction = {
        compare: [{ key, result: 'EQUAL', ...condition }],
        success: [{ request_put: { key, value: etcdBytes(next) } }],
      }
      const { succeeded } = await call<{ succeeded?: boolean }>('/v3/kv/txn', transaction, false)
      return succeeded === true
    },
    close() {
      client.close()
    },
  }
}
