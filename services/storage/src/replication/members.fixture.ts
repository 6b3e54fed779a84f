/** For tests: a list of members that stays as it is. */
import { equalBytes } from '@healthblock/encoding/bytes'
import type { Member, Members } from '../access/members.ts'

/** Those of `peers`, also when more are added to it. */
export function membersOf(peers: readonly Member[]): Members {
  return {
    ledgerId: new Uint8Array(32),
    list: () => peers,
    find: (account) => peers.find((peer) => equalBytes(peer.account, account)),
    findPeer: () => undefined,
    onChange: () => () => {},
  }
}
