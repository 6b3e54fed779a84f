/** The standalone node: settings from the environment, members and tokens from files. */
import { readTokenFile, StandaloneAuthorizer } from './access/authorizer.ts'
import { FileMembers } from './access/members.ts'
import { readConfig } from './config.ts'
import { Events } from './events.ts'
import { createLogger } from './logger.ts'
import { StorageNode } from './node.ts'

const stopTimeoutMs = 20_000

/**
 * Starts a node and stops it on SIGTERM or SIGINT.
 *
 * @throws {StorageError} `ERR_CONFIG_INVALID`, `ERR_MEMBERS_INVALID` if it cannot start as it is set up.
 */
export async function run(environment: Record<string, string | undefined>): Promise<void> {
  const { config, secrets } = readConfig(environment)
  const events = new Events(createLogger(config.logLevel))
  const members = new FileMembers(config.membersFile, (error) => events.membersInvalid(error))
  const tokens = config.tokensFile ? readTokenFile(config.tokensFile) : new Map<string, Uint8Array>()
  const now = Date.now
  const node = new StorageNode({
    config,
    secrets,
    members,
    createAuthorizer: (self) => new StandaloneAuthorizer({ tokens, members, self, now }),
    events,
    now,
    onFatal: () => process.exit(1),
  })
  let isStopping = false
  const stop = (): void => {
    if (isStopping) return
    isStopping = true
    setTimeout(() => process.exit(1), stopTimeoutMs).unref()
    members.close()
    node.stop().then(
      () => process.exit(0),
      () => process.exit(1),
    )
  }
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
  await node.start()
}
