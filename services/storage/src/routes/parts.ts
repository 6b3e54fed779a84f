/** What the routes work with. */
import type { BlockBackend } from '../backend.ts'
import type { Files } from '../files.ts'
import type { PayloadReader } from '../ownership.ts'
import type { Replicator } from '../replication/replicator.ts'
import type { Scrubber } from '../replication/scrub.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { FetchLog } from '../store/fetch-log.ts'
import type { BlockBodies } from './block-body.ts'
import type { Paces } from './pace.ts'

/** What the routes under `/api/v0` work with. */
export interface KuboRouteParts {
  backend: BlockBackend
  store: BlockStore
  replicator: Replicator
  files: Files
  scrubber: Scrubber
  paces: Paces
  readHeader: PayloadReader
  fetchLog: FetchLog
  /** True for a peer of the member list. */
  isMemberPeer: (peer: string) => boolean
  /** Bodies of single blocks that are read. */
  bodies: BlockBodies
  /** Bytes that this node may hold. */
  bytesMax: number
  now: () => number
}
