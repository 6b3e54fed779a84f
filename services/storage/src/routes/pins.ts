/** Commands on pins: an account sees and changes its own. */
import type { FastifyInstance } from 'fastify'
import { StorageError } from '../errors.ts'
import { encodeBlockId, parseBlockId } from '../store/block-id.ts'
import type { PinEntry } from '../store/block-store.ts'
import type { KuboRouteParts } from './parts.ts'
import { addCommand, flagOf, idsOf, optionOf, sendLines, signalOf } from './query.ts'

const pinNames = ['none', 'direct', 'recursive', 'indirect']
const indirect = 3

/** Adds `pin/{add,rm,ls,verify}`. */
export function addPinCommands(app: FastifyInstance, parts: KuboRouteParts): void {
  const { replicator, files } = parts
  addCommand(app, 'pin/add', async (request, reply) => {
    const ids = idsOf(request)
    const { account } = request.principal
    const isRecursive = flagOf(request, 'recursive', true)
    const signal = signalOf(request)
    let count = 0
    for (const id of ids) {
      if (isRecursive) count += await files.pinTree(id, account, signal)
      else await replicator.pin(id, account, 1)
    }
    const Pins = ids.map(encodeBlockId)
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
    const ids = idsOf(request)
    for (const id of ids) await replicator.unpin(id, request.principal.account)
    return { Pins: ids.map(encodeBlockId) }
  })
  addCommand(app, 'pin/ls', async (request, reply) => {
    const type = optionOf(request, 'type') ?? 'all'
    const { account } = request.principal
    const pins = await replicator.pins(account)
    if (type === 'all' || type === 'indirect') await addIndirect(parts, pins)
    const wanted = (request.query.arg ?? []).map(parseBlockId)
    const listed = pins.filter((pin) => type === 'all' || pinNames[pin.pin] === type)
    const chosen = wanted.length === 0 ? listed : wanted.map((id) => findPin(listed, id))
    if (flagOf(request, 'stream')) {
      return await sendLines(
        reply,
        (async function* () {
          for (const pin of chosen) yield { Cid: encodeBlockId(pin), Type: pinNames[pin.pin], Name: '' }
        })(),
      )
    }
    return {
      Keys: Object.fromEntries(chosen.map((pin) => [encodeBlockId(pin), { Type: pinNames[pin.pin], Name: '' }])),
    }
  })
  addCommand(app, 'pin/verify', async (request, reply) => {
    const pins = await replicator.pins(request.principal.account)
    const isVerbose = flagOf(request, 'verbose')
    async function* lines(): AsyncGenerator<object> {
      for (const pin of pins) {
        const bad = await files.missing(pin, pin.pin === 2, signalOf(request))
        const Cid = encodeBlockId(pin)
        if (bad.length === 0 && isVerbose) yield { Cid, Ok: true }
        if (bad.length > 0) yield { Cid, Ok: false, BadNodes: bad.map((node) => ({ Cid: node.cid, Err: node.reason })) }
      }
    }
    return await sendLines(reply, lines())
  })
}

/** What recursive pins hold below their roots. */
async function addIndirect(parts: KuboRouteParts, pins: PinEntry[]): Promise<void> {
  const known = new Set(pins.map(({ digest }) => Buffer.from(digest).toString('hex')))
  for (const pin of pins.filter((one) => one.pin === 2)) {
    for await (const id of parts.files.descendants(pin, AbortSignal.timeout(30_000))) {
      const key = Buffer.from(id.digest).toString('hex')
      if (known.has(key)) continue
      known.add(key)
      pins.push({ ...id, pin: indirect })
    }
  }
}

function findPin(pins: readonly PinEntry[], id: { digest: Uint8Array; codec: number }): PinEntry {
  const pin = pins.find((one) => Buffer.compare(one.digest, id.digest) === 0)
  if (pin) return pin
  const cid = encodeBlockId(id)
  throw new StorageError(`path '${cid}' is not pinned`, { code: 'ERR_NOT_PINNED', cid })
}
