/** What stores ask of each other. Only tokens of member stores are taken; bodies and answers are canonical CBOR. */
import { toHex } from '@healthblock/encoding/bytes'
import { type CborValue, decodeCbor, encodeCbor } from '@healthblock/encoding/cbor'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Authorizer } from '../access/authorizer.ts'
import type { BlockBackend } from '../backend.ts'
import { StorageError } from '../errors.ts'
import type { PayloadHeader } from '../ownership.ts'
import { answerInTime } from '../replication/answer-in-time.ts'
import type { Erasure } from '../replication/erasure.ts'
import { wordBytesMax } from '../replication/erasure-word.ts'
import {
  parseDigests,
  type ReplicaRequest,
  referencesPerCopyMax,
  replicasBodyBytesMax,
  retractForce,
} from '../replication/node-client.ts'
import { nonceBytes, proofsPerQuestionMax } from '../replication/possession.ts'
import { answerSignatureHeader, receiptToCbor } from '../replication/receipt.ts'
import { assertReleaser, type Replicator } from '../replication/replicator.ts'
import { type BlockId, encodeBlockId, hashBlock, isCodec, parseBlockId } from '../store/block-id.ts'
import type { BlockStore } from '../store/block-store.ts'
import type { Reference } from '../store/operations.ts'
import { isSame, stampsOf } from '../store/pin-stamps.ts'
import { blockBytesMax } from './blocks.ts'

const smallBodyBytesMax = 64 * 1024
/** Most copies of one request: they share the writer's queue with everybody else's. */
const replicasMax = 256
const consumes = ['application/octet-stream']
const pinsPageSize = 1000
/** Most pins that are told at once. */
const pinsToldMax = 256
/** Most words of one request, and of one page. */
const wordsMax = 256
const wordsPageSize = 1000
/** Each word may have a file walked. Whoever told them waits for an answer for 5 s. */
const wordTimes = { headStartMs: 100, answerMs: 4_000 }
/** Most digests of one page of what a word took. */
const givenUpPageSize = 4096
/** 0 no pin, 1 direct, 2 recursive. */
const pinModes = new Set([0, 1, 2])
/** As {@link pinModes}, and 3 kept without a pin. */
const pinsAsked = new Set([...pinModes, 3])

/** Of a release: 0 not of what is pinned, 1 of that, too, and {@link retractForce}. */
const releaseForces = new Set([0, 1, retractForce])

/** What the routes work with. */
export interface ReplicaRouteParts {
  backend: BlockBackend
  store: BlockStore
  replicator: Replicator
  erasure: Erasure
  authorizer: Pick<Authorizer, 'signsErasures' | 'releaserOf'>
}

function invalid(field: string, reason: string): StorageError {
  return new StorageError(`${field}: ${reason}`, { code: 'ERR_ARGUMENT_INVALID', field, reason })
}

function decode(field: string, bytes: Uint8Array): CborValue {
  try {
    return decodeCbor(bytes)
  } catch {
    throw invalid(field, 'not canonical CBOR')
  }
}

function bodyOf(request: FastifyRequest): Buffer {
  if (!Buffer.isBuffer(request.body)) throw invalid('body', 'not application/octet-stream')
  return request.body
}

function sendCbor(reply: FastifyReply, value: CborValue): FastifyReply {
  return reply.type('application/cbor').send(Buffer.from(encodeCbor(value)))
}

function isAccount(value: CborValue | undefined): value is Uint8Array {
  return value instanceof Uint8Array && value.length === 32
}

/** A copy as it came. */
type Replica = ReplicaRequest & { enforceQuota: boolean }

function parseReference(value: CborValue, modes: ReadonlySet<number> = pinModes): Reference {
  const [account, at, pin, ...stamps] = Array.isArray(value) ? value : []
  if (!isAccount(account) || typeof at !== 'number' || typeof pin !== 'number' || !modes.has(pin)) {
    throw invalid('reference', `not [account, ms, 0..${modes.size - 1}]`)
  }
  const [direct, recursive, removed, again] = stamps.map((ms) => (typeof ms === 'number' ? ms : 0))
  const reference = { account: account.slice(), at, pin, ...(again === undefined ? {} : { again }) }
  if (direct === undefined || recursive === undefined || removed === undefined) return reference
  const pins = { direct, recursive, removed }
  // Nothing that the reference does not say without them.
  return isSame(pins, stampsOf(reference)) ? reference : { ...reference, pins }
}

function parsePin(value: CborValue): { id: BlockId; reference: Reference } {
  const [digest, codec, reference] = Array.isArray(value) ? value : []
  if (!isAccount(digest) || !isCodec(codec) || reference === undefined)
    throw invalid('body', 'not [digest, codec, ref]')
  return { id: { digest: digest.slice(), codec }, reference: parseReference(reference) }
}

function parseReplica(value: CborValue): Replica {
  const [digest, codec, refs, handoff, quota, bytes, owned] = Array.isArray(value) ? value : []
  if (!isAccount(digest) || !isCodec(codec) || !(bytes instanceof Uint8Array)) {
    throw invalid('body', 'not [digest, codec, refs, handoff, quota, bytes, header]')
  }
  if (!Array.isArray(refs) || refs.length > referencesPerCopyMax || !Array.isArray(handoff) || handoff.length > 256) {
    throw invalid('body', 'refs or handoff')
  }
  if (bytes.length > blockBytesMax) throw invalid('body', 'a block is too large')
  const id = { digest: digest.slice(), codec }
  if (Buffer.compare(hashBlock(bytes), id.digest) !== 0) {
    const detail = { code: 'ERR_BLOCK_MISMATCH', cid: encodeBlockId(id) } as const
    throw new StorageError('the bytes do not hash to the CID', detail)
  }
  const header = parseOwner(owned)
  return {
    id,
    bytes,
    ...(header ? { header } : {}),
    references: refs.map((ref) => parseReference(ref)),
    handoff: handoff.filter(isAccount).map((account) => account.slice()),
    enforceQuota: quota === 1,
  }
}

function parseOwner(value: CborValue | undefined): PayloadHeader | undefined {
  const [owner, writer, stream, sequence] = Array.isArray(value) ? value : []
  if (!isAccount(owner) || !isAccount(writer) || !(stream instanceof Uint8Array) || stream.length !== 8)
    return undefined
  if (typeof sequence !== 'number') return undefined
  return { owner: owner.slice(), writer: writer.slice(), stream: stream.slice(), sequence }
}

type CidParams = { Params: { cid: string } }
const params = { type: 'object', properties: { cid: { type: 'string', maxLength: 128 } }, required: ['cid'] } as const

/**
 * The receipt of one copy that an account puts, 1 for another one, or the code of its refusal, so that one refused copy
 * leaves the others alone.
 */
async function keepOrRefuse(replicator: Replicator, replica: Replica, from: Uint8Array): Promise<CborValue> {
  try {
    if (replica.enforceQuota) return receiptToCbor(await replicator.keep(replica))
    await replicator.keepUnsigned(replica, from)
    return 1
  } catch (error) {
    if (error instanceof StorageError) return error.detail.code.toLowerCase()
    throw error
  }
}

/** What a store is asked to prove. */
function parseQuestion(value: CborValue): { nonce: Uint8Array; digests: Uint8Array[] } {
  const [nonce, list] = Array.isArray(value) ? value : []
  if (!(nonce instanceof Uint8Array) || nonce.length !== nonceBytes) throw invalid('body', 'no nonce')
  const digests = parseDigests(list ?? 0)
  const isOnce = new Set(digests.map(toHex)).size === digests.length
  if (digests.length > proofsPerQuestionMax || !isOnce) {
    throw invalid('body', `not ${proofsPerQuestionMax} digests at most, each once`)
  }
  return { nonce, digests }
}

function addCopies(scope: FastifyInstance, replicator: Replicator): void {
  const options = { bodyLimit: replicasBodyBytesMax, schema: { consumes } }
  scope.post('/v1/replicas', options, async (request, reply) => {
    const bytes = bodyOf(request)
    const body = decode('body', bytes)
    if (!Array.isArray(body) || body.length > replicasMax) throw invalid('body', `no array of at most ${replicasMax}`)
    const replicas = body.map(parseReplica)
    const { account } = request.principal
    const kept = replicas.map((replica) => keepOrRefuse(replicator, replica, account))
    return sendSigned(reply, replicator, { request: bytes, value: await Promise.all(kept) })
  })
}

/** An answer that is the store's word: signed together with what was asked. */
function sendSigned(
  reply: FastifyReply,
  replicator: Replicator,
  { request, value }: { request: Uint8Array; value: CborValue },
): FastifyReply {
  const answer = encodeCbor(value)
  const signature = Buffer.from(replicator.signAnswer(request, answer)).toString('base64url')
  return reply.type('application/cbor').header(answerSignatureHeader, signature).send(Buffer.from(answer.buffer))
}

/** 1 for a word that is carried out, or the code of its refusal, so that one refused word leaves the others alone. */
async function acceptOrRefuse(erasure: Erasure, word: CborValue): Promise<CborValue> {
  if (!(word instanceof Uint8Array)) throw invalid('body', 'not an array of byte strings')
  try {
    await erasure.accept(word)
    return 1
  } catch (error) {
    if (error instanceof StorageError) return error.detail.code.toLowerCase()
    throw error
  }
}

/** What is erased: as another store tells it, and as one asks that was away. */
function addWords(scope: FastifyInstance, { erasure, store, replicator }: ReplicaRouteParts): void {
  const small = { bodyLimit: wordsMax * (wordBytesMax + 3), schema: { consumes } }
  scope.post('/v1/replicas/words', small, async (request, reply) => {
    const body = decode('body', bodyOf(request))
    if (!Array.isArray(body) || body.length > wordsMax) throw invalid('body', `no array of at most ${wordsMax}`)
    const answers = await answerInTime(body, (word) => acceptOrRefuse(erasure, word), wordTimes)
    return sendCbor(
      reply,
      answers.map((answer) => answer ?? 'err_store_busy'),
    )
  })
  scope.post('/v1/replicas/given-up', small, async (request, reply) => {
    const bytes = bodyOf(request)
    const body = decode('body', bytes)
    const [digest, account, at, after] = Array.isArray(body) ? body : []
    if (!isAccount(digest) || !isAccount(account) || typeof at !== 'number' || !(after instanceof Uint8Array)) {
      throw invalid('body', 'not [digest, account, ms, digest]')
    }
    const digests = await erasure.givenUp({ digest, account, at }, after, givenUpPageSize)
    return sendSigned(reply, replicator, { request: bytes, value: digests ?? 0 })
  })
  const pageOf = (request: FastifyRequest): { after: number; isTimed: boolean } => {
    const body = decode('body', bodyOf(request))
    const [after, timed] = Array.isArray(body) ? body : []
    if (typeof after !== 'number') throw invalid('body', 'not [number]')
    return { after, isTimed: timed === 1 }
  }
  scope.post('/v1/replicas/words/list', small, async (request, reply) => {
    const page = store.words(pageOf(request).after, wordsPageSize)
    return sendCbor(
      reply,
      page.map(({ id, bytes }) => [id, bytes]),
    )
  })
  scope.post('/v1/replicas/tombstones/list', small, async (request, reply) => {
    const { after, isTimed } = pageOf(request)
    const page = store.below('tombstones', after, wordsPageSize)
    return sendCbor(
      reply,
      page.map(({ id, digest, root, owner, at }) => {
        return [id, digest, root, ...(owner ? [owner] : []), ...(isTimed && at !== undefined ? [at] : [])]
      }),
    )
  })
  scope.post('/v1/replicas/below/list', small, async (request, reply) => {
    const { after, isTimed } = pageOf(request)
    const page = store.below('below', after, wordsPageSize)
    return sendCbor(
      reply,
      page.map(({ id, digest, root, owner, writer, at }) => {
        return [id, digest, root, owner ?? 0, writer ?? 0, ...(isTimed && at !== undefined ? [at] : [])]
      }),
    )
  })
}

/** A reference that its account gives up, or that is taken back. */
function addRelease(scope: FastifyInstance, { replicator, authorizer }: ReplicaRouteParts): void {
  const one = { bodyLimit: smallBodyBytesMax, schema: { params, consumes } }
  scope.post<CidParams>('/v1/replicas/:cid/release', one, async (request, reply) => {
    const id = parseBlockId(request.params.cid)
    const body = decode('body', bodyOf(request))
    const [account, at, force, , since, pinnedAt] = Array.isArray(body) ? body : []
    if (!isAccount(account) || typeof at !== 'number' || !releaseForces.has(force as number)) {
      throw invalid('body', 'not [account, ms, 0, 1 or 4]')
    }
    if (authorizer.signsErasures(account)) {
      const token = (body as CborValue[])[3]
      const text = token instanceof Uint8Array ? Buffer.from(token).toString('latin1') : undefined
      assertReleaser(authorizer, { account, token: text, cid: encodeBlockId(id) })
    }
    const isWindow = typeof since === 'number' && typeof pinnedAt === 'number'
    const window = isWindow ? { since, pinnedAt } : {}
    const isChanged =
      force === retractForce
        ? await replicator.retractHere(id, { account, at, ...window })
        : await replicator.releaseHere(id, { account, at, force: force === 1 })
    return sendCbor(reply, isChanged ? 1 : 0)
  })
}

/** Adds the routes under `/v1/replicas`. */
export function addReplicaRoutes(app: FastifyInstance, parts: ReplicaRouteParts): void {
  const { backend, store, replicator } = parts
  app.register(async (scope) => {
    scope.addHook('onRequest', async (request) => {
      if (request.principal.role === 'store') return
      throw new StorageError('only member stores may do this', { code: 'ERR_ROLE_FORBIDDEN', needed: 'store' })
    })
    addCopies(scope, replicator)
    const small = { bodyLimit: smallBodyBytesMax, schema: { consumes } }
    scope.post('/v1/replicas/check', small, async (request, reply) => {
      const digests = parseDigests(decode('body', bodyOf(request)))
      const states = digests.map((digest) => (store.tombstone(digest) !== undefined ? 2 : backend.has(digest) ? 1 : 0))
      // Whoever asks relies on what is here.
      await store.settled()
      return sendCbor(reply, states)
    })
    scope.post('/v1/replicas/kept', small, async (request, reply) => {
      const body = decode('body', bodyOf(request))
      const [account, list = 0] = Array.isArray(body) ? body : []
      if (!isAccount(account)) throw invalid('body', 'not [account, [digest]]')
      const kept = parseDigests(list).map((digest) => store.keptSince(digest, account) !== undefined)
      return sendCbor(
        reply,
        kept.map((isKept) => (isKept ? 1 : 0)),
      )
    })
    scope.post('/v1/replicas/prove', small, async (request, reply) => {
      const { nonce, digests } = parseQuestion(decode('body', bodyOf(request)))
      const proofs = await replicator.prove(digests, nonce)
      return sendCbor(
        reply,
        proofs.map((proof) => proof ?? 0),
      )
    })
    scope.post('/v1/replicas/pins', small, async (request, reply) => {
      const body = decode('body', bodyOf(request))
      const [account, after, kind = 0] = Array.isArray(body) ? body : []
      if (!isAccount(account) || !(after instanceof Uint8Array)) throw invalid('body', 'not [account, digest, kind]')
      const pins = backend.pins(account, after, pinsPageSize, kind === 2 ? 'recursive' : 'all')
      return sendCbor(
        reply,
        pins.map(({ digest, codec, pin }) => [digest, codec, pin]),
      )
    })
    scope.post('/v1/replicas/pins/tell', small, async (request, reply) => {
      const body = decode('body', bodyOf(request))
      if (!Array.isArray(body) || body.length > pinsToldMax) throw invalid('body', `no array of at most ${pinsToldMax}`)
      await Promise.all(body.map(parsePin).map(({ id, reference }) => replicator.pins.note(id, reference)))
      return sendCbor(reply, 1)
    })
    addWords(scope, parts)
    const one = { bodyLimit: smallBodyBytesMax, schema: { params, consumes } }
    scope.post<CidParams>('/v1/replicas/:cid/receipt', one, async (request, reply) => {
      const id = parseBlockId(request.params.cid)
      const receipt = await replicator.ownReceipt(id)
      if (receipt) return sendCbor(reply, receiptToCbor(receipt))
      const cid = encodeBlockId(id)
      throw new StorageError(`ipld: could not find ${cid}`, { code: 'ERR_BLOCK_NOT_FOUND', cid })
    })
    addRelease(scope, parts)
    scope.post<CidParams>('/v1/replicas/:cid/pin', one, async (request, reply) => {
      const id = parseBlockId(request.params.cid)
      const body = decode('body', bodyOf(request))
      const enforceQuota = (body as CborValue[])[3] !== 0
      return sendCbor(reply, await replicator.pins.setHere(id, parseReference(body, pinsAsked), enforceQuota))
    })
  })
}
