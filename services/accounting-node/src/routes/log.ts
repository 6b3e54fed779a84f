/** The public log: checkpoint, tiles; and, with a token, entry bundles (SPEC.md §1; C2SP tlog-tiles). */

import { type ChainName, chainNames } from '@healthblock/chain/chains'
import { chainOrigin, cosignerName, encodeVkey, signatureTypes } from '@healthblock/chain/checkpoint'
import { ChainError } from '@healthblock/chain/errors'
import { logPolicyOf } from '@healthblock/chain/policy'
import { encodeTrail } from '@healthblock/chain/receipt'
import { parseSealLeaf, type Seal } from '@healthblock/chain/seal'
import { parseTilePath, tileWidth } from '@healthblock/chain/tile'
import { toHex } from '@healthblock/encoding/bytes'
import type { FastifyInstance, FastifyReply } from '@healthblock/runtime/http-app'
import { AccountingError } from '../errors.ts'
import type { AccountingNode } from '../node.ts'
import type { ChainReader } from '../reading/chain-reader.ts'
import type { Access } from './access.ts'

const forEver = 'max-age=31536000, immutable'

/** A full tile or bundle never changes. A partial one is of use until the log grows, so nobody need keep it. */
function tileCaching(scope: 'public' | 'private', width: number): string {
  return width === tileWidth ? `${scope}, ${forEver}` : 'no-store'
}

function absent(path: string): AccountingError {
  return new AccountingError('the published log has no such tile', { code: 'ERR_TILE_ABSENT', path })
}

function notPublished(words: string): AccountingError {
  return new AccountingError(words, { code: 'ERR_NOT_PUBLISHED', what: 'checkpoint' })
}

function sendNote(reply: FastifyReply, note: string): FastifyReply {
  return reply.type('text/plain; charset=utf-8').header('cache-control', 'no-store').send(note)
}

function tileOf(path: string) {
  try {
    return parseTilePath(path)
  } catch (error) {
    if (error instanceof ChainError) throw absent(path)
    throw error
  }
}

function vkeys(node: AccountingNode, chain: ChainName): { logKey: string; cosignerKeys: string[]; quorum: number } {
  const origin = chainOrigin({ ledgerId: node.genesis.ledgerId, chain })
  const { q, cosigners } = logPolicyOf(node.chains[chain].core.ledger.policy(chain), chain)
  return {
    logKey: encodeVkey({ name: origin, type: signatureTypes.log, publicKey: node.logKeys[chain] }),
    cosignerKeys: cosigners.flatMap((publicKey, rank) =>
      publicKey === undefined
        ? []
        : [encodeVkey({ name: cosignerName(origin, rank), type: signatureTypes.cosigner, publicKey })],
    ),
    quorum: q,
  }
}

/** Adds the two checkpoints of a chain. */
function addCheckpointRoutes(app: FastifyInstance, node: AccountingNode, chain: ChainName): void {
  const { reader } = node.chains[chain]
  app.get(`/${chain}/checkpoint`, { schema: { tags: ['log'], summary: 'newest published checkpoint' } }, (_, reply) => {
    const { published } = reader
    if (published === undefined) throw notPublished('nothing is published yet')
    return sendNote(reply, node.witnesses.noteOf(chain, published))
  })
  app.get(
    `/${chain}/witnessed`,
    { schema: { tags: ['log'], summary: 'newest checkpoint that a witness cosigned' } },
    (_, reply) => {
      const witnessed = node.witnesses.newest(chain)
      if (witnessed === undefined) throw notPublished('no witness has cosigned a checkpoint here')
      return sendNote(reply, witnessed.checkpoint)
    },
  )
}

/** The SEAL at the end of what is published: read once, and not for each of all who may ask. */
function newestSeal(reader: ChainReader): () => Promise<Seal | undefined> {
  let kept: { readonly size: number; readonly seal: Promise<Seal> } | undefined
  return () => {
    const size = reader.published?.size
    if (size === undefined) return Promise.resolve(undefined)
    if (kept?.size !== size) {
      const seal = reader.entry(size - 1).then(parseSealLeaf)
      kept = { size, seal }
      // What could not be read is read again.
      seal.catch(() => {
        if (kept?.seal === seal) kept = undefined
      })
    }
    return kept.seal
  }
}

/** Adds `/<chain>/checkpoint`, `/<chain>/witnessed`, `/<chain>/tile/…`, `/v1/genesis`, `/v1/trail`, `/v1/<chain>/head`. */
export function addLogRoutes(app: FastifyInstance, node: AccountingNode, access: Access): void {
  for (const chain of chainNames) {
    const { reader, core } = node.chains[chain]
    addCheckpointRoutes(app, node, chain)
    app.get<{ Params: { '*': string } }>(
      `/${chain}/tile/entries/*`,
      { schema: { tags: ['log'], summary: 'entry bundle' }, onRequest: access.member },
      async (request, reply) => {
        const path = `tile/entries/${request.params['*']}`
        const { index, width } = tileOf(path)
        const bytes = await reader.entryBundle(index, width)
        if (bytes === undefined) throw absent(path)
        return reply
          .type('application/octet-stream')
          .header('cache-control', tileCaching('private', width))
          .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
      },
    )
    app.get<{ Params: { '*': string } }>(
      `/${chain}/tile/*`,
      { schema: { tags: ['log'], summary: 'hash tile' } },
      (request, reply) => {
        const path = `tile/${request.params['*']}`
        const tile = tileOf(path)
        const bytes = tile.kind === 'hashes' ? reader.tile(tile) : undefined
        if (bytes === undefined) throw absent(path)
        return reply
          .type('application/octet-stream')
          .header('cache-control', tileCaching('public', tile.width))
          .send(Buffer.from(bytes))
      },
    )
    const origin = chainOrigin({ ledgerId: node.genesis.ledgerId, chain })
    const sealNow = newestSeal(reader)
    app.get(
      `/v1/${chain}/head`,
      { schema: { tags: ['log'], summary: 'where this chain stands' } },
      async (_, reply) => {
        const { published } = reader
        const seal = await sealNow()
        const applied = core.head()
        const { term, leader } = core.term()
        void reply.header('cache-control', 'no-store')
        return {
          origin,
          height: published?.height ?? null,
          size: published?.size ?? null,
          root: published === undefined ? null : toHex(published.root),
          stateRoot: seal === undefined ? null : toHex(seal.st),
          applied: { height: applied.height, size: applied.size },
          term,
          leader: leader ?? null,
          ...vkeys(node, chain),
        }
      },
    )
  }
  addLedgerRoutes(app, node)
}

/** What is one for both chains. */
function addLedgerRoutes(app: FastifyInstance, node: AccountingNode): void {
  app.get('/v1/trail', { schema: { tags: ['log'], summary: 'the policy trail' } }, (_, reply) => {
    const bytes = encodeTrail(node.trail.steps)
    return reply
      .type('application/json')
      .header('cache-control', 'no-store')
      .send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  })
  const genesis = Buffer.from(node.genesis.bytes)
  app.get('/v1/genesis', { schema: { tags: ['log'], summary: 'the genesis file' } }, (_, reply) =>
    reply.type('application/cbor').header('cache-control', `public, ${forEver}`).send(genesis),
  )
}
