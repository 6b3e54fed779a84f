import type { Events } from '../events.ts'
import type { StorageNode } from '../node.ts'
import type { Authorizer } from './authorizer.ts'
import type { Members } from './members.ts'

/** Who may call, and who belongs to the network. */
export interface Access {
  readonly members: Members
  readonly createAuthorizer: (self: Uint8Array) => Authorizer
  readonly close: () => Promise<void>
  /** Begins to carry out what Userchain erases. */
  readonly follow: (node: StorageNode, events: Events) => void
}
