/** Access by a ledger that this node follows: loaded by nodes that do, because its rules are a third of a node's code. */
import { join } from 'node:path'
import { parseGenesis } from '@healthblock/chain/genesis'
import { signingKeyFromSeed } from '@healthblock/crypto/signature'
import { LedgerFollower } from '@healthblock/runtime/follower'
import type { Logger } from '@healthblock/runtime/logger'
import { createTokenSource } from '@healthblock/runtime/token-guard'
import type { Config, Secrets } from '../config.ts'
import type { ErasedRange } from '../store/operations.ts'
import type { Access } from './access.ts'
import { LedgerAuthorizer, LedgerMembers } from './ledger.ts'
import { followErasures } from './ledger-erasures.ts'
import { findSelf, type Members } from './members.ts'

/**
 * The accounts and members of Userchain, and what it erases.
 *
 * @throws {StorageError} `ERR_MEMBERS_INVALID` if the file of members does not have this store's key.
 */
export function followLedger(options: {
  ledger: NonNullable<Config['ledger']>
  config: Config
  secrets: Secrets
  located: Members
  logger: Logger
  now: () => number
}): Access {
  const { config, secrets, located, logger, now } = options
  const { genesis, accounting } = options.ledger
  const { ledgerId } = parseGenesis(genesis)
  const signingKey = signingKeyFromSeed(secrets.storeSeed)
  // Of a store whose key was replaced, the account follows from its first one: the file says it, and the ledger whether that is so.
  const { account } = findSelf(located, signingKey.publicKey)
  const follower = LedgerFollower.open({
    dir: join(config.dir, 'ledger'),
    genesis,
    urls: accounting,
    docchain: false,
    logger,
    token: createTokenSource({ ledgerId, account, keyNumber: 2, signingKey, scope: 'ledger', now }),
  })
  follower.start()
  const ending = new AbortController()
  const members = new LedgerMembers({ located, follower })
  const isAdmitted = (): boolean => members.find(account) !== undefined
  return {
    members,
    createAuthorizer: (self) => new LedgerAuthorizer({ follower, self, now }),
    admitted: async (events) => {
      if (isAdmitted()) return
      events.awaitsAdmission(account)
      await new Promise<void>((resolve) => {
        const end = members.onChange(() => {
          if (!isAdmitted()) return
          end()
          resolve()
        })
      })
    },
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
