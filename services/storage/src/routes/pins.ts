/** Commands on pins: an account sees and changes its own. */
import type { FastifyInstance } from 'fastify'
import { callerOf } from '../access/bearer.ts'
import { StorageError } from '../errors.ts'
import { type BlockId, encodeBlockId, encodeLike } from '../store/block-id.ts'
import type { PinEntry } from '../store/entries.ts'
import type { KuboRouteParts } from './parts.ts'
import {
  addCommand,
  argumentInvalid,
  argumentsOf,
  flagOf,
  type KuboRequest,
  optionOf,
  rootOf,
  sendLines,
  signalOf,
} from './query.ts'

const pinNames = ['none', 'direct', 'recursive', 'indirect']
const [recursive, indirect] = [2, 3]
const pinTypes = new Set(['direct', 'indirect', 'recursive', 'all'])

/** Adds `pin/{add,rm,ls,verify}`. */
export function addPinCommands(app: FastifyInstance, parts: KuboRouteParts): void {
  const { replicator, files } = parts
  addCommand(app, 'pin/add', async (request, reply) => {
    if ((optionOf(request, 'name') ?? '') !== '') throw argumentInvalid('name', 'pins have no names here')
    const named = await namedOf(parts, request)
    const { account } = request.principal
    const isRecursive = flagOf(request, 'recursive', true)
    const signal = signalOf(request)
    let count = 0
    for (const { id, name } of named) {
      if (isRecursive) count += 1 + (await files.pinTree(id, callerOf(request), signal)).made.length
      else if ((await pinHere(parts, id, account)) === recursive) throw pinnedRecursively(`pin: ${name} already`, name)
      else await replicator.pins.add(id, callerOf(request), 1)
    }
    const Pins = named.map(({ name }) => name)
    if (!flagOf(request, 'progress')) return { Pins }
    return await sendLines(
      reply,
      (async function* () {
        yield { Progress: count }
        yield { Pins }
      })(),
    )
  })
  addCommand(app, 'pin/rm', async (request) => {
    const named = await namedOf(parts, request)
    const { account } = request.principal
    // Who takes back what is pinned by itself alone does not mean what lies below.
    const kept = flagOf(request, 'recursive', true) ? [] : await files.pinsOf(account)
    for (const { id, name } of named) {
      const pin = kept.find(({ digest }) => Buffer.compare(digest, id.digest) === 0)?.pin
      if (pin === recursive) throw pinnedRecursively(`${name} is`, name)
    }
    for (const { id } of named) await replicator.pins.remove(id, account)
    return { Pins: named.map(({ name }) => name) }
  })
  addListing(app, parts)
}

/** How a block is pinned that is here; of one that is not, how other stores have it. */
async function pinHere({ store, files }: KuboRouteParts, id: BlockId, account: Uint8Array): Promise<number> {
  if (store.has(id.digest)) return store.pinOf(id.digest, account)
  const pins = await files.pinsOf(account)
  return pins.find(({ digest }) => Buffer.compare(digest, id.digest) === 0)?.pin ?? 0
}

function addListing(app: FastifyInstance, parts: KuboRouteParts): void {
  const { files } = parts
  addCommand(app, 'pin/ls', async (request, reply) => {
    const type = optionOf(request, 'type') ?? 'all'
    if (!pinTypes.has(type)) throw argumentInvalid('type', `'${type}' is none of ${[...pinTypes].join(', ')}`)
    const { account } = request.principal
    const pins = await files.pinsOf(account, type === 'recursive' ? 'recursive' : 'all')
    const isWalked = type === 'all' || type === 'indirect'
    if (isWalked) for (const id of await files.belowPins(pins, signalOf(request))) pins.push({ ...id, pin: indirect })
    const wanted = request.query.arg === undefined ? [] : await namedOf(parts, request)
    const listed = pins.filter((pin) => type === 'all' || pinNames[pin.pin] === type)
    const chosen =
      wanted.length === 0
        ? listed.map((pin) => ({ pin, name: encodeBlockId(pin) }))
        : wanted.map(({ id, name }) => ({ pin: findPin(listed, { id, name }), name }))
    if (flagOf(request, 'stream')) {
      return await sendLines(
        reply,
        (async function* () {
          for (const { pin, name } of chosen) yield { Cid: name, Type: pinNames[pin.pin], Name: '' }
        })(),
      )
    }
    return {
      Keys: Object.fromEntries(chosen.map(({ pin, name }) => [name, { Type: pinNames[pin.pin], Name: '' }])),
    }
  })
  addCommand(app, 'pin/verify', async (request, reply) => {
    const pins = await files.pinsOf(request.principal.account)
    const isVerbose = flagOf(request, 'verbose')
    const signal = signalOf(request)
    async function* lines(): AsyncGenerator<object> {
      for await (const { pin, bad } of files.missing(pins, signal)) {
        const Cid = encodeBlockId(pin)
        if (bad.length === 0 && isVerbose) yield { Cid, Ok: true }
        if (bad.length > 0) yield { Cid, Ok: false, BadNodes: bad.map((node) => ({ Cid: node.cid, Err: node.reason })) }
      }
    }
    return await sendLines(reply, lines())
  })
}

/** What the arguments name, paths into directories included, and how it is called in the answer. */
async function namedOf(parts: KuboRouteParts, request: KuboRequest): Promise<{ id: BlockId; name: string }[]> {
  const named: { id: BlockId; name: string }[] = []
  for (const text of argumentsOf(request, 'ipfs-path')) {
    const id = await rootOf(parts, request, text)
    named.push({ id, name: encodeLike(text, id) })
  }
  return named
}

function pinnedRecursively(what: string, cid: string): StorageError {
  return new StorageError(`${what} pinned recursively`, { code: 'ERR_BLOCK_PINNED', cid })
}

function findPin(pins: readonly PinEntry[], { id, name }: { id: BlockId; name: string }): PinEntry {
  const pin = pins.find((one) => Buffer.compare(one.digest, id.digest) === 0)
  if (pin) return pin
  throw new StorageError(`path '${name}' is not pinned`, { code: 'ERR_NOT_PINNED', cid: name })
}
