/** What a patient may grant: the request is checked here, once, and becomes a grant with an id of its own. */
import type { LiveGrant } from '@healthblock/crypto/hot-store'
import { randomBytes } from '@healthblock/crypto/random'
import { equalBytes, toHex } from '@healthblock/encoding/bytes'
import { UserNodeError } from '../errors.ts'
import { epochOf, type LedgerView } from '../ledger-view.ts'
import type { Person } from '../store/person.ts'
import { grantEpochs } from './compose.ts'

const rightsDefault = 1 | 2
/** Roles that may be given access (packages/chain SPEC.md §6). */
export const rolesThatRead: readonly number[] = [2, 5, 6, 7, 8]

/** What a patient asks for. */
export interface GrantRequest {
  /** Account of the recipient. */
  readonly to: Uint8Array
  readonly streams: readonly Uint8Array[]
  /** Unix ms; rounded down to an epoch. */
  readonly fromMs: number
  /** Unix ms; `noEnd` = without end. */
  readonly untilMs: number
  readonly rights?: number | undefined
  readonly purpose?: number | undefined
}

/**
 * The grant that a request asks for.
 *
 * @throws {UserNodeError} `ERR_DOCTOR_UNKNOWN`, `ERR_GRANT_INVALID` with the field.
 */
export function checkRequest(
  person: Person,
  request: GrantRequest,
  { ledger, nowMs }: { ledger: LedgerView; nowMs: () => number },
): LiveGrant {
  const invalid = (field: string, message: string): UserNodeError =>
    new UserNodeError(message, { code: 'ERR_GRANT_INVALID', field })
  const recipient = ledger.account(request.to)
  if (recipient === undefined || !rolesThatRead.includes(recipient.role)) {
    throw new UserNodeError('nobody with that account can be given access', {
      code: 'ERR_DOCTOR_UNKNOWN',
      account: toHex(request.to),
    })
  }
  if (recipient.role === 2 && !recipient.isLicensed) {
    throw new UserNodeError("this doctor's licence is not in force", {
      code: 'ERR_DOCTOR_UNKNOWN',
      account: toHex(request.to),
    })
  }
  if (request.streams.length === 0) throw invalid('streams', 'name at least one stream')
  if (request.untilMs <= nowMs()) throw invalid('until', 'the end of the access lies in the past')
  if (request.untilMs <= request.fromMs) throw invalid('until', 'the end of the access lies before its begin')
  const rights = request.rights ?? rightsDefault
  if (!Number.isInteger(rights) || rights < 1 || rights > 15)
    throw invalid('rights', 'rights are a sum of 1, 2, 4 and 8')
  const from = epochOf(Math.max(0, request.fromMs), ledger.epochLengthMs)
  const grant: LiveGrant = {
    grantId: randomBytes(16),
    recipient: request.to,
    suite: recipient.suite,
    kemKey: recipient.kemKey,
    streams: request.streams,
    from,
    until: request.untilMs,
    rights,
  }
  const { until } = grantEpochs(grant, ledger.epochLengthMs)
  if (until !== undefined && until <= from) {
    const hours = ledger.epochLengthMs / 3_600_000
    throw invalid('until', `the window holds no whole period of ${hours} h: keys are given by such periods`)
  }
  if (person.hot.grants.some((other) => isSame(other, grant)))
    throw invalid('doctor', 'this access is granted already: to change it, end it first')
  return grant
}

function isSame(a: LiveGrant, b: LiveGrant): boolean {
  const streamsOf = ({ streams }: LiveGrant): string => streams.map(toHex).sort().join()
  return (
    equalBytes(a.recipient, b.recipient) && a.until === b.until && a.from === b.from && streamsOf(a) === streamsOf(b)
  )
}
