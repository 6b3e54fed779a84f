/** Access by a ledger that this node follows: loaded by nodes that do, because its rules are a third of a node's code. */
import { join } from 'node:path'
import { genesisAccount, parseGenesis } from '@healthblock/chain/genesis'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { LedgerFollower } from '@healthblock/runtime/follower'
import { createLogger } from '@healthblock/runtime/logger'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import type { Config, Secrets } from '../config.ts'
import type { ErasedRange } from '../store/operations.ts'
import type { Access } from './access.ts'
import { LedgerAuthorizer, LedgerMembers } from './ledger.ts'
import { followErasures } from './ledger-erasures.ts'
import type { Members } from './members.ts'

/** The accounts and members of Userchain, and what it erases. */
export function followLedger(options: {
  ledger: NonNullable<Config['ledger']>
  config: Config
  secrets: Secrets
  located: Members
  now: () => number
}): Access {
  const { config, secrets, located, now } = options
  const { genesis, accounting } = options.ledger
  const { ledgerId } = parseGenesis(genesis)
  const signingKey = signingKeyFromSeed(secrets.storeSeed)
  const account = genesisAccount(ledgerId, signingKey.publicKey)
  const follower = LedgerFollower.open({
    dir: join(config.dir, 'ledger'),
    genesis,
    urls: accounting,
    docchain: false,
    logger: createLogger({ name: 'storage', level: config.logLevel }),
    token: createTokenSource({ ledgerId, account, keyNumber: 2, signingKey, scope: 'ledger', now }),
  })
  follower.start()
  const ending = new AbortController()
  return {
    members: new LedgerMembers({ located, follower }),
    createAuthorizer: (self) => new LedgerAuthorizer({ follower, self, now }),
    close: async () => {
      ending.abort()
      await follower.close()
    },
    follow: (node, events) => {
      const { store, erasure } = node
      const delayMs = config.eraseDelaySeconds * 1000
      const erase = (range: ErasedRange): Promise<void> => erasure.eraseRecords(range)
      const { signal } = ending
      const onFailure = (error: unknown): void => events.requestFailed('erasures', error)
      followErasures({ follower, store, erase, delayMs, onFailure, signal }).catch((error: unknown) => {
        if (!signal.aborted) onFailure(error)
      })
    },
  }
}
