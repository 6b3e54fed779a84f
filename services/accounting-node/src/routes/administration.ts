/** What the organisation's administrators do, and the lists that members read (SPEC.md §1). */

import { isEvidenceSettled } from '@healthblock/audit/governance'
import { chainNames } from '@healthblock/chain/chains'
import { ChainError } from '@healthblock/chain/errors'
import { evidenceKinds } from '@healthblock/chain/misconduct'
import { rankedNodes } from '@healthblock/chain/policy'
import { parseStatement } from '@healthblock/chain/statement'
import { userTables } from '@healthblock/chain/tables'
import {
  encodeTransactionLeaf,
  parseBody,
  parseTransactionLeaf,
  type RegisterBody,
  signingMessage,
  signTransaction,
  type TransactionBody,
} from '@healthblock/chain/transaction'
import { sha256 } from '@healthblock/crypto/hash'
import { equalBytes, fromBase64, fromHex, toBase64, toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance } from '@healthblock/runtime/http-app'
import { AccountingError } from '../errors.ts'
import { administered } from '../events.ts'
import type { Incident } from '../incidents/incident-log.ts'
import type { AccountingNode } from '../node.ts'
import type { Access } from './access.ts'

/** How long a consent transaction that is signed here stays valid. */
const consentMs = 3_600_000

function refused(field: string, reason: string): AccountingError {
  return new AccountingError(`${field} ${reason}`, { code: 'ERR_NOT_SPONSORED', field, reason })
}

/** The `register` in a body, meant for this organisation. */
function parseRegister(node: AccountingNode, bodyBytes: Uint8Array): RegisterBody {
  let body: TransactionBody
  try {
    body = parseBody(bodyBytes)
  } catch (error) {
    if (!(error instanceof ChainError)) throw error
    throw refused('body', 'is not the body of a transaction')
  }
  if (body.t !== 'register') throw refused('body', 'is not a register')
  if (!equalBytes(body.sponsor, node.organisation.account)) throw refused('sponsor', 'is not this organisation')
  return body
}

/** Signs with the organisation's key and submits through the own gateway. */
class Administrator {
  readonly #node: AccountingNode
  /** The last consent counter given out, so that two requests of one millisecond do not share one. */
  #counter = 0

  constructor(node: AccountingNode) {
    this.#node = node
  }

  /** Fields of a consent transaction: the next counter, and when it expires. */
  consent(): { n: number; x: number } {
    const { chains, organisation, nowMs } = this.#node
    const { ledger } = chains.userchain.core
    const onRecord = userTables.counter.get(ledger.state('userchain'), organisation.account) ?? 0
    const now = nowMs()
    this.#counter = Math.max(this.#counter + 1, onRecord + 1, now)
    return { n: this.#counter, x: now + consentMs }
  }

  async submit(act: string, body: TransactionBody): Promise<{ transactionId: string }> {
    const { genesis, organisation, chains, logger } = this.#node
    const { account, op } = organisation
    const { leaf, bodyBytes } = signTransaction({
      ledgerId: genesis.ledgerId,
      chain: 'userchain',
      body,
      signers: [{ account, key: 1, signingKey: op }],
    })
    const id = chains.userchain.core.ledger.transactionId('userchain', parseTransactionLeaf(leaf))
    const answer = await chains.userchain.gateway.submit(leaf)
    const [refusal] = answer.refused
    if (refusal !== undefined) {
      const { rule } = parseStatement('refused', refusal.statement)
      throw refused(act, `of ${bodyBytes.length} bytes is refused by the rule ${rule}`)
    }
    administered(logger, { act, transactionId: toHex(id) })
    return { transactionId: toHex(id) }
  }
}

function incidentJson(incident: Incident): Record<string, unknown> {
  const { signed, foundMs, isHealed, acknowledgedMs, ...place } = incident
  return {
    ...place,
    found: foundMs,
    healed: isHealed,
    acknowledged: acknowledgedMs ?? null,
    statement: toBase64(signed.statement),
    signature: toBase64(signed.signature),
  }
}

const evidenceNames: Readonly<Record<number, string>> = {
  [evidenceKinds.equivocation]: 'equivocation',
  [evidenceKinds.conflict]: 'conflict',
  [evidenceKinds.brokenPromise]: 'broken-promise',
  [evidenceKinds.falseRefusal]: 'false-refusal',
}

/** What both chains have on record, then what waits to be put there. */
function evidenceJson(node: AccountingNode): Record<string, unknown>[] {
  const members = rankedNodes(node.chains.userchain.core.ledger.policy('userchain'))
  const onRecord = chainNames.flatMap((chain) =>
    node.evidence.onRecord(chain).map((record) => {
      const { kind, node: account, o, size, tx } = record
      const { core } = node.chains[chain]
      const { body } = parseTransactionLeaf(core.entry(o))
      // What is on record at this index is evidence: the table says so.
      const settled = body.t === 'evidence' && isEvidenceSettled({ ledger: core.ledger, chain }, record, body)
      return {
        ...{ chain, kind: evidenceNames[kind], node: toHex(account), index: o, size: size ?? null },
        rank: members.find((member) => equalBytes(member.account, account))?.rank ?? null,
        ...{ transactionId: tx === undefined ? null : toHex(tx), settled, notes: null },
      }
    }),
  )
  const kept = node.evidence.kept().map(({ chain, kind, notes }) => ({
    ...{ chain, kind: evidenceNames[kind], node: null, index: null, size: null, transactionId: null },
    rank: null,
    settled: false,
    notes: notes.map(toBase64),
  }))
  return [...onRecord, ...kept]
}

const hex32 = { type: 'string', pattern: '^[0-9a-f]{64}$' }
const milliseconds = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }
const sponsorBody = {
  type: 'object',
  properties: {
    body: { type: 'string', minLength: 4, maxLength: 8_192 },
    name: { type: 'string', minLength: 1, maxLength: 128 },
  },
  required: ['body'],
  additionalProperties: false,
}
const licenceBody = {
  type: 'object',
  properties: { doctor: hex32, state: { type: 'integer', enum: [1, 2, 3] }, from: milliseconds, to: milliseconds },
  required: ['doctor', 'state', 'from', 'to'],
  additionalProperties: false,
}
const algorithmBody = {
  type: 'object',
  properties: {
    id: { type: 'string', pattern: '^[a-z0-9._-]{1,64}$' },
    version: { type: 'string', pattern: '^[a-z0-9._-]{1,64}$' },
    hash: hex32,
    act: { type: 'integer', enum: [1, 2] },
  },
  required: ['id', 'version', 'hash', 'act'],
  additionalProperties: false,
}

function addSigningRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  const administrator = new Administrator(node)
  const { account, op } = node.organisation
  const hooks = { onRequest: access.administrator }
  app.post<{ Body: { body: string; name?: string } }>(
    '/v1/sponsor',
    { ...hooks, schema: { tags: ['administration'], summary: 'sponsor a registration', body: sponsorBody } },
    async (request) => {
      const bodyBytes = fromBase64(request.body.body)
      const register = parseRegister(node, bodyBytes)
      const place = { ledgerId: node.genesis.ledgerId, chain: 'userchain', bodyBytes } as const
      const message = signingMessage(place)
      const parsed = parseTransactionLeaf(encodeTransactionLeaf({ bodyBytes, signatures: [] }))
      const id = node.chains.userchain.core.ledger.transactionId('userchain', parsed)
      const { name } = request.body
      if (name !== undefined) {
        node.directory.put({ name, account: id, role: register.role, kemHash: sha256(register.kem) })
      }
      administered(node.logger, { act: 'sponsor', transactionId: toHex(id) })
      return { account: toHex(id), signature: toBase64(op.sign(message)) }
    },
  )
  app.post<{ Body: { doctor: string; state: 1 | 2 | 3; from: number; to: number } }>(
    '/v1/licence',
    { ...hooks, schema: { tags: ['administration'], summary: 'license a doctor', body: licenceBody } },
    async (request) => {
      const { doctor, state, from, to } = request.body
      const body = {
        v: 1,
        t: 'licence',
        a: account,
        ...administrator.consent(),
        doctor: fromHex(doctor),
        state,
        from,
        to,
      } as const
      return administrator.submit('licence', body)
    },
  )
  app.post<{ Body: { id: string; version: string; hash: string; act: 1 | 2 } }>(
    '/v1/algorithm',
    { ...hooks, schema: { tags: ['administration'], summary: 'register an algorithm', body: algorithmBody } },
    async (request) => {
      const { id, version, hash, act } = request.body
      const body = { v: 1, t: 'algorithm', a: account, id, version, hash: fromHex(hash), act } as const
      return administrator.submit('algorithm', body)
    },
  )
}

/** Adds `/v1/sponsor`, `/v1/licence`, `/v1/algorithm`, `/v1/directory`, `/v1/incidents…`. */
export function addAdministrationRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  addSigningRoutes(app, node, access)
  app.get(
    '/v1/directory',
    { schema: { tags: ['administration'], summary: 'cards' }, onRequest: access.memberOrAdministrator },
    async () =>
      node.directory
        .list()
        .map(({ name, account, role, kemHash }) => ({ name, account: toHex(account), role, kemHash: toHex(kemHash) })),
  )
  app.get(
    '/v1/incidents',
    { schema: { tags: ['administration'], summary: 'faults found' }, onRequest: access.memberOrAdministrator },
    async () => node.incidents.list().map(incidentJson),
  )
  app.get(
    '/v1/evidence',
    { schema: { tags: ['administration'], summary: 'what nodes did wrong' }, onRequest: access.memberOrAdministrator },
    async () => evidenceJson(node),
  )
  const params = {
    type: 'object',
    properties: { number: { type: 'integer', minimum: 0, maximum: 1_000_000 } },
    required: ['number'],
  }
  app.post<{ Params: { number: number } }>(
    '/v1/incidents/:number/acknowledge',
    { schema: { tags: ['administration'], summary: 'acknowledge a fault', params }, onRequest: access.administrator },
    async (request) => incidentJson(node.incidents.acknowledge(request.params.number)),
  )
}
