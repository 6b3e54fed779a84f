/** The witnesses of a node, joined to its log and its metrics. */

import type { ChainName } from '@healthblock/chain/chains'
import { chainOrigin, type NoteKey, signatureTypes } from '@healthblock/chain/checkpoint'
import type { PolicyTrail } from '@healthblock/chain/policy-trail'
import type { Registry } from 'prom-client'
import type { AccountingConfig } from '../config.ts'
import type { Clock } from '../core/ports.ts'
import { backgroundFailed, witnessFailed, witnessRecovered } from '../events.ts'
import type { Logger } from '../logger.ts'
import { createWitnessMetrics } from '../metrics.ts'
import type { ChainReader } from '../reading/chain-reader.ts'
import { Witnesses } from './witnesses.ts'

/** Makes them; nobody is asked before `start`. */
export function openWitnesses(parts: {
  readonly config: AccountingConfig
  readonly readers: Readonly<Record<ChainName, ChainReader>>
  readonly trail: PolicyTrail
  readonly clock: Clock
  readonly logger: Logger
  readonly metrics: Registry
}): Witnesses {
  const { config, readers, clock, logger } = parts
  const { ledgerId } = config.genesis
  const logKey = (chain: ChainName): NoteKey => {
    const { publicKey } = config.secrets.chains[chain].log
    return { name: chainOrigin({ ledgerId, chain }), type: signatureTypes.log, publicKey }
  }
  const metrics = createWitnessMetrics(parts.metrics, () => {
    const sizes = { userchain: readers.userchain.published?.size, docchain: readers.docchain.published?.size }
    return { witnesses: witnesses.list(), sizes, nowMs: clock.nowMs() }
  })
  const witnesses: Witnesses = new Witnesses({
    dir: config.settings.dir,
    readers,
    trail: parts.trail,
    logKeys: { userchain: logKey('userchain'), docchain: logKey('docchain') },
    clock,
    observer: {
      failed(chain, witness, fault, said, isNew) {
        metrics.refused.inc({ chain, witness, reason: fault })
        if (isNew) witnessFailed(logger, { chain, witness, fault, said })
      },
      recovered: (chain, witness) => witnessRecovered(logger, { chain, witness }),
      broke: (error) => backgroundFailed(logger, 'witnesses', error),
    },
  })
  return witnesses
}
