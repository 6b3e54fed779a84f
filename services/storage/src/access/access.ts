import type { Events } from '../events.ts'
import type { StorageNode } from '../node.ts'
import type { Authorizer } from './authorizer.ts'
import type { Members } from './members.ts'

/** Who may call, and who belongs to the network. */
export interface Access {
  readonly members: Members
  readonly createAuthorizer: (self: Uint8Array) => Authorizer
  /** Resolves once the members are known to have this store: at once, unless it follows a ledger that does not name it with its key yet. */
  readonly admitted: (events: Events) => Promise<void>
  readonly close: () => Promise<void>
  /** Begins to carry out what Userchain erases. */
  readonly follow: (node: StorageNode, events: Events) => void
}
