/** One node from its environment: with a ledger that it follows, or standing alone with members and tokens from files. */
import { createLogger, type Logger } from '@healthblock/runtime/logger'
import { restOfProcess } from '@healthblock/runtime/rest'
import type { Access } from './access/access.ts'
import { readTokenFile, StandaloneAuthorizer, type TokenFile } from './access/authorizer.ts'
import { FileMembers, type Members } from './access/members.ts'
import { type Config, readConfig, type Secrets } from './config.ts'
import { Events } from './events.ts'
import { collectGarbage, trimAllocator } from './memory.ts'
import { StorageNode } from './node.ts'

const stopTimeoutMs = 20_000
/** Bursts come again after seconds, and what they use is warm then: memory is given back after a longer pause. */
const restMs = 15_000

/**
 * Starts a node and stops it on SIGTERM or SIGINT.
 *
 * A store that its ledger does not name with its key yet waits until it does; until then it serves nobody.
 *
 * @throws {StorageError} `ERR_CONFIG_INVALID`, `ERR_MEMBERS_INVALID` if it cannot start as it is set up.
 */
export async function run(environment: Record<string, string | undefined>): Promise<void> {
  const { config, secrets } = readConfig(environment)
  const logger = createLogger({ name: 'storage', level: config.logLevel })
  const events = new Events(logger)
  const members = new FileMembers(config.membersFile, (error) => events.membersInvalid(error))
  const now = Date.now
  const access = await createAccess({ config, secrets, located: members, logger, now })
  let endNode = async (): Promise<void> => {}
  let isStopping = false
  const stop = (): void => {
    if (isStopping) return
    isStopping = true
    setTimeout(() => process.exit(1), stopTimeoutMs).unref()
    members.close()
    Promise.all([endNode(), access.close()]).then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  await access.admitted(events)
  if (isStopping) return
  const node = new StorageNode({
    config,
    secrets,
    members: access.members,
    createAuthorizer: access.createAuthorizer,
    events,
    now,
    onFatal: () => process.exit(1),
  })
  const giveBack = (): void => {
    node.store.giveBack()
    collectGarbage()
    trimAllocator()
  }
  const rest = restOfProcess(giveBack, restMs)
  endNode = () => {
    rest.stop()
    return node.stop()
  }
  await node.start()
  access.follow(node, events)
  rest.start()
}

/** With a ledger: its accounts and its members. Alone: tokens and members from files. */
async function createAccess(options: {
  config: Config
  secrets: Secrets
  located: Members
  logger: Logger
  now: () => number
}): Promise<Access> {
  const { config, located, now } = options
  if (config.ledger === undefined) {
    const none: TokenFile = { tokens: new Map(), erasureKeys: new Map() }
    const file = config.tokensFile ? readTokenFile(config.tokensFile) : none
    return {
      members: located,
      createAuthorizer: (self) => new StandaloneAuthorizer({ file, members: located, self, now }),
      admitted: async () => {},
      close: async () => {},
      follow: () => {},
    }
  }
  const { followLedger } = await import('./access/followed.ts')
  return followLedger({ ...options, ledger: config.ledger })
}
